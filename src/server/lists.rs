//! Lists of networks in files of their own: read with the edit that names them, and watched as long as a route needs
//! them. A list that cannot be read is never put into force: the one before stays.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};

use super::edit::cut_off;
use super::file;
use super::followed::Followed;
use super::watch::decide::{How, Look, Running, Text, Verdict, verdict};
use super::watch::{self, Events, Reading, Watch};
use crate::config::{Compiled, Fault, Report, network_list};
use crate::model::{NetworkSet, Table};
use crate::proxy::{Lists, LiveList};
use crate::tasks::Scope;

/// A list that was read.
#[derive(Debug)]
pub struct ReadList {
    /// As the routes' file has it.
    written: PathBuf,
    path: PathBuf,
    text: Arc<[u8]>,
    look: Look,
    set: NetworkSet,
}

/// Why one was not.
enum Wrong {
    File(PathBuf, Fault),
    Lines(Report),
}

/// The files that a table needs.
fn needed(table: &Table) -> BTreeSet<PathBuf> {
    table.routes.values().flat_map(|route| route.policy.clients.files().cloned()).collect()
}

/// Reads the lists that a file names, and shows the faults of those that it cannot have. May block.
pub fn read(compiled: &Compiled) -> Result<Vec<ReadList>, Report> {
    read_all(compiled, needed(&compiled.table))
}

fn read_all(compiled: &Compiled, files: BTreeSet<PathBuf>) -> Result<Vec<ReadList>, Report> {
    let (mut lists, mut faults, mut reports) = (Vec::new(), Vec::new(), Vec::new());
    for written in files {
        match read_one(written, compiled.folder()) {
            Ok(list) => lists.push(list),
            Err(Wrong::File(written, fault)) => faults.push((written, fault)),
            Err(Wrong::Lines(report)) => reports.push(report),
        }
    }
    match reports.pop() {
        _ if !faults.is_empty() => Err(compiled.file_faults(&faults)),
        Some(report) => Err(report),
        None => Ok(lists),
    }
}

fn read_one(written: PathBuf, folder: &Path) -> Result<ReadList, Wrong> {
    let path = folder.join(&written);
    let look = watch::look(&path);
    let text = match file::read(&path) {
        Ok(reading) => reading.bytes,
        Err(fault) => {
            let message = format!("the list {}: {}", path.display(), fault.message);
            return Err(Wrong::File(written, Fault::new(message, fault.help)));
        }
    };
    let set = network_list(&path.display().to_string(), &text).map_err(Wrong::Lines)?;
    Ok(ReadList { written, path, text: text.into(), look, set })
}

/// The lists that are in force.
#[derive(Debug)]
pub(super) struct ListFiles {
    followed: Followed<PathBuf>,
    events: Events,
}

impl ListFiles {
    /// None yet.
    pub fn new(events: Events) -> Self {
        ListFiles { followed: Followed::default(), events }
    }

    /// Reads the lists that the file names and that are not in force yet. Changes nothing.
    pub async fn prepare(&self, compiled: &Compiled) -> Result<Vec<ReadList>, Report> {
        self.followed.read_new(needed(&compiled.table), compiled, ("the lists", read_all)).await
    }

    /// Puts lists into force, and watches them from now on.
    pub fn begin(&mut self, read: Vec<ReadList>, lists: &mut Lists, owner: &Scope) {
        for ReadList { written, path, text, look, set } in read {
            let list = Arc::new(LiveList::from_pointee(set));
            let running = Running { text, file: look.ok() };
            let mut watch = Watch::new(&path, look, &self.events);
            watch.begin();
            let follower = Follower {
                name: path.display().to_string(),
                last: Ok(running.text.clone()),
                running,
                refused: false,
                snatched: None,
                list: list.clone(),
            };
            lists.insert(written.clone(), list);
            self.followed.begin(written, owner, |asked| follow(watch, follower, asked));
        }
    }

    /// Forgets the lists that no route needs any more.
    pub fn forget_unused(&mut self, table: &Table, lists: &mut Lists) {
        if self.followed.is_empty() {
            return;
        }
        let needed = needed(table);
        lists.retain(|path, _| needed.contains(path));
        self.followed.keep(&needed);
    }

    /// Reads every list again, whatever it looks like.
    pub fn ask(&self) {
        self.followed.ask();
    }
}

/// Watches one list.
async fn follow(mut watch: Watch, mut follower: Follower, asked: Arc<Notify>) {
    loop {
        let reading = tokio::select! {
            reading = watch.next() => reading,
            () = asked.notified() => {
                watch.ask();
                continue;
            }
        };
        let now = Instant::now();
        watch.pace.judged(reading.look, reading.how, now);
        if reading.text.is_err() {
            watch.pace.unreadable(now);
        }
        follower.take_in(reading);
    }
}

/// What of one list is in force, and what was last seen of its file.
struct Follower {
    name: String,
    running: Running,
    last: Text,
    refused: bool,
    snatched: Option<Text>,
    list: Arc<LiveList>,
}

impl Follower {
    /// The rules of the routes' file hold here too: what looks cut off does not count, and what is wrong changes nothing.
    fn take_in(&mut self, mut reading: Reading) {
        if reading.how == How::Snatched && self.snatched.as_ref() == Some(&reading.text) {
            reading.how = How::Settled;
        }
        let emptied =
            reading.text.as_ref().is_ok_and(|text| text.is_empty()) && !self.running.text.is_empty();
        let report = match verdict(&reading.text, reading.look, reading.how, &self.running, &self.last) {
            Verdict::Known => return,
            Verdict::Runs => return self.took(&reading, None),
            Verdict::Unreadable(fault) => Report::about_file(&self.name, fault),
            Verdict::CutOff(cut) => cut_off(&self.name, &reading.text, cut),
            Verdict::New(_) if emptied && reading.how != How::Asked => Report::about_file(
                &self.name,
                Fault::new("the list is empty", "if nobody is meant, write a line with a comment: # nobody"),
            ),
            Verdict::New(text) => match network_list(&self.name, &text) {
                Ok(set) => return self.took(&reading, Some((text, set))),
                Err(report) => report,
            },
        };
        if reading.how == How::Snatched {
            self.snatched = Some(reading.text);
            return;
        }
        self.snatched = None;
        self.refused = true;
        self.last = reading.text;
        warn!(
            headline = report.headline(),
            report = %report,
            "list refused: the one before stays in force, until the file is mended"
        );
    }

    /// A new list is in force, or the file says again what is.
    fn took(&mut self, reading: &Reading, new: Option<(Arc<[u8]>, NetworkSet)>) {
        self.snatched = None;
        self.last = reading.text.clone();
        self.running.file = reading.look.ok();
        let changed = new.is_some();
        if let Some((text, set)) = new {
            let ranges = set.len();
            self.list.store(Arc::new(set));
            self.running.text = text;
            info!(file = self.name, ranges, "list taken over");
        }
        if std::mem::take(&mut self.refused) && !changed {
            info!(file = self.name, "list healed: what is in force is what the file says");
        }
    }
}
