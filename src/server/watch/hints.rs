//! Events of the file system, as hints to look soon. They say nothing that is relied on, and may fail to come at all.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::{Config, ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use rustix::io::Errno;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tracing::{info, warn};

use super::folders::Folder;

/// A hint to look, or the end of hints.
type Hint = Result<(), String>;

/// What hints at changes.
#[derive(Debug)]
pub(super) struct Hints {
    watcher: Option<RecommendedWatcher>,
    /// What the watcher watches.
    folders: Vec<Folder>,
    /// Something happened to a folder itself: its watch may be dead.
    shaken: Arc<AtomicBool>,
    sender: Sender<Hint>,
    hints: Receiver<Hint>,
    /// The fault that was told of last, until there is none.
    told: Option<String>,
}

impl Hints {
    pub fn new() -> Self {
        // One hint is as good as a hundred: what does not fit is not missed.
        let (sender, hints) = channel(1);
        Hints { watcher: None, folders: Vec::new(), shaken: Arc::default(), sender, hints, told: None }
    }

    /// Resolves when there is reason to look.
    pub async fn next(&mut self) {
        if let Some(Err(error)) = self.hints.recv().await {
            self.failed(&error);
        }
    }

    /// Forgets the hints so far: a look is about to be made.
    pub fn clear(&mut self) {
        while let Ok(hint) = self.hints.try_recv() {
            if let Err(error) = hint {
                self.failed(&error);
            }
        }
    }

    /// Watches these folders. A watch dies with its folder, so one that was made again needs another. Whether they were
    /// watched already.
    pub fn watch(&mut self, folders: Vec<Folder>) -> bool {
        let shaken = self.shaken.swap(false, Ordering::Relaxed);
        if self.watcher.is_some() && folders == self.folders && !shaken {
            return true;
        }
        self.watcher = None;
        match watcher(&folders, self.sender.clone(), self.shaken.clone()) {
            Ok(watcher) => {
                self.watcher = Some(watcher);
                self.folders = folders;
                if self.told.take().is_some() {
                    info!("the file system tells of changes again");
                }
            }
            Err(error) => self.failed(&error),
        }
        false
    }

    fn failed(&mut self, error: &str) {
        self.watcher = None;
        if self.told.as_deref() != Some(error) {
            warn!(error, "the file system cannot tell of changes: the file is looked at every 2 s instead");
            self.told = Some(error.to_owned());
        }
    }
}

fn watcher(
    folders: &[Folder],
    sender: Sender<Hint>,
    shaken: Arc<AtomicBool>,
) -> Result<RecommendedWatcher, String> {
    let watched: Vec<PathBuf> = folders.iter().map(|folder| folder.path.clone()).collect();
    let on_event = move |event: notify::Result<Event>| {
        let hint = match event {
            // Reading the file is an event too. Never act on those, or every look causes the next one.
            Ok(event) if matches!(event.kind, EventKind::Access(_)) => return,
            Ok(event) => {
                if event.paths.iter().any(|path| watched.contains(path)) {
                    shaken.store(true, Ordering::Relaxed);
                }
                Ok(())
            }
            Err(error) => Err(why(&error)),
        };
        // A full channel holds a hint already.
        drop(sender.try_send(hint));
    };
    let mut watcher = RecommendedWatcher::new(on_event, Config::default()).map_err(|error| why(&error))?;
    for folder in folders {
        match watcher.watch(&folder.path, RecursiveMode::NonRecursive) {
            Ok(()) => {}
            // Gone since it was seen: the next look sees other folders.
            Err(error) if matches!(error.kind, ErrorKind::PathNotFound) => {}
            Err(error) => return Err(why(&error)),
        }
    }
    Ok(watcher)
}

/// What a person can do about it, where something can be done (inotify(7)).
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
