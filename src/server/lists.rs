//! Lists of networks in files: read with the edit that names them, and followed as long as a route needs them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Notify;

use super::followed_list::{InForce, ListLink, follow};
use super::named_file::NamedFile;
use crate::config::{Compiled, Report, network_list};
use crate::files::{self, FileState, FollowedFile, Followers, Form, FsEventSource, look};
use crate::model::{Fault, NetworkSet, Table};
use crate::proxy::route::{Lists, LiveList};
use crate::tasks::Scope;

/// A list that was read and parsed, not in force yet.
#[derive(Debug)]
pub struct ReadList {
    /// Its path, as written in the routes' file.
    written: PathBuf,
    path: PathBuf,
    text: Arc<[u8]>,
    state: FileState,
    set: NetworkSet,
}

/// Why a list could not be read.
enum Wrong {
    File(PathBuf, Fault),
    Lines(Report),
}

/// The files that the routes of a table need, as written.
fn needed(table: &Table) -> BTreeSet<PathBuf> {
    table.all_routes().flat_map(|route| route.policy.access.files().cloned()).collect()
}

/// Reads the lists that a file names. The report shows the faults of unusable ones. May block.
pub fn read(compiled: &Compiled) -> Result<Vec<ReadList>, Report> {
    read_all(compiled, needed(&compiled.table))
}

/// The most bytes of lists that are read for one edit: as many as two of the largest. One file may be named in a
/// thousand ways.
const MOST_BYTES: u64 = 2 * files::LARGEST;

fn read_all(compiled: &Compiled, files: BTreeSet<PathBuf>) -> Result<Vec<ReadList>, Report> {
    let (mut lists, mut faults, mut reports) = (Vec::new(), Vec::new(), Vec::new());
    let mut left = MOST_BYTES;
    for written in files {
        match read_one(written, compiled.folder(), &mut left) {
            Ok(list) => lists.push(list),
            Err(Wrong::File(written, fault)) => faults.push((written, fault)),
            Err(Wrong::Lines(report)) => reports.push(report),
        }
        if left == 0 {
            break;
        }
    }
    if !faults.is_empty() {
        reports.insert(0, compiled.file_faults(&faults));
    }
    reports.into_iter().reduce(Report::and).map_or(Ok(lists), Err)
}

/// Reads one list. `left`: how many bytes may still be read; 0 after a list that has more.
fn read_one(written: PathBuf, folder: &Path, left: &mut u64) -> Result<ReadList, Wrong> {
    let path = folder.join(&written);
    let state = look(&path);
    let text = match files::read(&path) {
        Ok(reading) => reading.bytes,
        Err(fault) => {
            let message = format!("the list {}: {}", path.display(), fault.message);
            return Err(Wrong::File(written, Fault::new(message, fault.help)));
        }
    };
    let bytes = text.len() as u64;
    *left = left.saturating_sub(bytes);
    if bytes > 0 && *left == 0 {
        let fault = Fault::new(
            format!("with the list {} the lists of the file have more than 32 MiB", path.display()),
            "join those that say the same, or write networks for addresses",
        );
        return Err(Wrong::File(written, fault));
    }
    let set = network_list(&path.display().to_string(), &text).map_err(Wrong::Lines)?;
    Ok(ReadList { written, path, text: text.into(), state, set })
}

/// The lists in force, and the tasks that follow their files.
#[derive(Debug)]
pub(super) struct ListFiles {
    pub followers: Followers<PathBuf, Option<NamedFile>>,
    links: BTreeMap<PathBuf, Arc<ListLink>>,
    events: FsEventSource,
}

impl ListFiles {
    /// Starts without lists. `news`: as [`Followers::new`] has it.
    pub fn new(events: FsEventSource, news: Arc<Notify>) -> Self {
        ListFiles { followers: Followers::new("the lists", news), links: BTreeMap::new(), events }
    }

    /// Reads the lists that the file names and that are not in force yet. Changes nothing.
    pub async fn prepare(&self, compiled: &Compiled) -> Result<Vec<ReadList>, Report> {
        self.followers.read_new(needed(&compiled.table), compiled, read_all).await
    }

    /// The lists that a table names and that are not in force, as written. Reads none.
    pub fn missing(&self, table: &Table) -> Vec<PathBuf> {
        self.followers.missing(needed(table)).into_iter().collect()
    }

    /// Puts lists into force, and follows their files from now on.
    pub fn begin(&mut self, read: Vec<ReadList>, lists: &mut Lists, owner: &Scope) {
        for ReadList { written, path, text, state, set } in read {
            let list = Arc::new(LiveList::from_pointee(set));
            lists.insert(written.clone(), list.clone());
            let of = Arc::new(ListLink::new(text.clone(), list));
            self.links.insert(written.clone(), of.clone());
            let events = self.events.clone();
            self.followers.begin(written, owner, move |link| {
                let file = FollowedFile::new(&path, text.clone(), state, &events, of.clone());
                let mut file = file.of_form(Form::Lines);
                file.begin();
                follow(file, link)
            });
        }
    }

    /// Forgets the lists that no route needs any more.
    pub fn forget_unused(&mut self, table: &Table, lists: &mut Lists) {
        if self.followers.is_empty() {
            return;
        }
        let needed = needed(table);
        lists.retain(|path, _| needed.contains(path));
        self.links.retain(|path, _| needed.contains(path));
        self.followers.keep(&needed);
    }

    /// What is in force of each, as written.
    pub fn in_force(&self) -> BTreeMap<PathBuf, InForce> {
        self.links.iter().map(|(path, link)| (path.clone(), link.in_force())).collect()
    }

    /// Puts into force again what was before, for this reason.
    pub fn undo(&self, path: &Path, former: InForce, why: Fault) {
        self.links.get(path).into_iter().for_each(|link| link.undo(former.clone(), why.clone()));
    }

    /// Takes the files as they are when they are asked for next, also those that were rolled back.
    pub fn keep(&self) {
        self.links.values().for_each(|link| link.keep());
    }

    /// The files, as the tasks that follow them see them.
    pub fn shown(&self) -> impl Iterator<Item = NamedFile> {
        self.followers.shown().flatten()
    }
}
