//! Events of the file system, as hints to look soon. Nothing relies on them: they may fail to come at all.
//!
//! All files share one source: a user has few inotify instances (`fs.inotify.max_user_instances`, often 128), each of
//! them costs a thread of notify's, and a host may have hundreds of certificates.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Config, ErrorKind, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use rustix::io::Errno;
use tokio::sync::mpsc::{Receiver, channel};
use tracing::{info, warn};

use super::folders::{self, Place};
use super::reading::Writer;
use super::watch_table::WatchTable;
use crate::state::lock;

/// The watcher is replaced once it watches more folders than this that nobody needs any more.
const FORGOTTEN: usize = 64;

/// The source of hints for all files.
#[derive(Clone, Debug, Default)]
pub struct FsEventSource {
    /// Locked before the table, and never by notify's thread: it must answer the calls that are made under this lock.
    source: Arc<Mutex<Source>>,
    table: Arc<Mutex<WatchTable>>,
}

#[derive(Debug, Default)]
struct Source {
    watcher: Option<RecommendedWatcher>,
    /// The faults that were logged and are not healed yet, by folder. An empty path stands for the watcher itself.
    told: BTreeMap<PathBuf, String>,
}

/// Receives the hints at changes of one file.
#[derive(Debug)]
pub(super) struct FsEvents {
    events: FsEventSource,
    watcher_id: u64,
    hints: Receiver<()>,
}

impl FsEvents {
    pub fn new(events: &FsEventSource) -> Self {
        // One hint is as good as a hundred: those that do not fit are not missed.
        let (sender, hints) = channel(1);
        let watcher_id = events.table().join(sender);
        FsEvents { events: events.clone(), watcher_id, hints }
    }

    /// Resolves with the next hint to look.
    pub async fn next(&mut self) {
        self.hints.recv().await;
    }

    /// Discards the hints so far. Called before a look.
    pub fn clear(&mut self) {
        while self.hints.try_recv().is_ok() {}
    }

    /// What the last event since the previous call says about the file's writer.
    pub fn writer(&mut self) -> Option<Writer> {
        self.events.table().writer(self.watcher_id)
    }

    /// Watches these places from now on. Returns whether they were watched already.
    pub fn watch(&mut self, places: Vec<Place>) -> bool {
        self.events.watch(self.watcher_id, places)
    }
}

impl Drop for FsEvents {
    fn drop(&mut self) {
        self.events.table().leave(self.watcher_id);
    }
}

impl FsEventSource {
    fn source(&self) -> MutexGuard<'_, Source> {
        lock(&self.source)
    }

    fn table(&self) -> MutexGuard<'_, WatchTable> {
        lock(&self.table)
    }

    /// Whether the file at this path, or a link on the way to it, is open for writing, as far as events tell. May block.
    pub fn is_open(&self, path: &Path) -> bool {
        let places = folders::on_the_way(path);
        self.table().is_open(&places)
    }

    /// Never removes a watch: the watcher answers only once it has read all events, and that may be never if reading
    /// one causes another (strace(1) of this process, written to a watched folder).
    fn watch(&self, watcher_id: u64, places: Vec<Place>) -> bool {
        let mut source = self.source();
        if let Some(error) = self.table().failure() {
            source.watcher = None;
            source.failed(Path::new(""), error);
        }
        if self.table().forgotten() > FORGOTTEN {
            source.watcher = None;
        }
        let Some(new) = self.table().change(watcher_id, places, source.watcher.is_some()) else {
            return true;
        };
        if new.is_empty() {
            return false;
        }
        let Some(watcher) = source.watcher(&self.table) else {
            self.table().forget_all();
            return false;
        };
        let watch = |path| watcher.watch(path, RecursiveMode::NonRecursive);
        let watched: Vec<_> = new.iter().map(PathBuf::as_path).map(watch).collect();
        for (path, result) in new.iter().zip(watched) {
            match result {
                Ok(()) => {
                    source.healed(path);
                    // A look from before the watch may have missed a change: look once more.
                    self.table().hint_of(path);
                }
                Err(error) => {
                    self.table().strike(path);
                    // The folder is gone since the look: the next look finds other folders.
                    if !matches!(error.kind, ErrorKind::PathNotFound) {
                        source.failed(path, why(&error));
                    }
                }
            }
        }
        false
    }
}

impl Source {
    fn watcher(&mut self, table: &Arc<Mutex<WatchTable>>) -> Option<&mut RecommendedWatcher> {
        if self.watcher.is_none() {
            match watcher(table.clone()) {
                Ok(watcher) => {
                    self.watcher = Some(watcher);
                    self.healed(Path::new(""));
                }
                Err(error) => self.failed(Path::new(""), why(&error)),
            }
        }
        self.watcher.as_mut()
    }

    fn failed(&mut self, folder: &Path, error: String) {
        if !self.told.values().any(|told| *told == error) {
            warn!(error, "the file system cannot report changes: the file is checked every 2 s instead");
        }
        self.told.insert(folder.to_owned(), error);
    }

    fn healed(&mut self, folder: &Path) {
        if self.told.remove(folder).is_some() && self.told.is_empty() {
            info!("the file system reports changes again");
        }
    }
}

fn watcher(table: Arc<Mutex<WatchTable>>) -> notify::Result<RecommendedWatcher> {
    let heard = move |event: notify::Result<notify::Event>| {
        let writer = event.as_ref().ok().and_then(writer);
        // Reading the file is an event too. Never act on that, or every look causes the next one.
        if writer.is_none() && matches!(&event, Ok(event) if matches!(event.kind, EventKind::Access(_))) {
            return;
        }
        let mut table = lock(&table);
        match event {
            // The kernel's queue overflowed.
            Ok(event) if event.need_rescan() => table.hint_all(),
            Ok(event) => event.paths.iter().for_each(|path| table.heard(path, writer)),
            Err(error) => table.fail(why(&error)),
        }
    };
    RecommendedWatcher::new(heard, Config::default())
}

/// What an event tells of the writer of the file (inotify(7)). `None`: nothing.
fn writer(event: &notify::Event) -> Option<Writer> {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Writer::Done),
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Some(Writer::Renamed),
        EventKind::Modify(ModifyKind::Data(_)) => Some(Writer::Busy),
        // A link comes whole.
        EventKind::Create(_) if event.paths.iter().any(|path| path.is_symlink()) => Some(Writer::Renamed),
        EventKind::Create(_) => Some(Writer::Busy),
        _ => None,
    }
}

/// The error in words, with what to do about it if something can be done (inotify(7)).
fn why(error: &notify::Error) -> String {
    match &error.kind {
        ErrorKind::MaxFilesWatch => "no inotify watch is left: raise fs.inotify.max_user_watches".to_owned(),
        ErrorKind::Io(io) if io.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => {
            "no inotify instance is left: raise fs.inotify.max_user_instances (or the limit of open files)"
                .to_owned()
        }
        _ => error.to_string(),
    }
}
