//! Notices edits of the file, however it is saved.
//!
//! FsEventSource of the file system are hints to look soon ([`hints`]); the truth is a look at the file every 2 s, or every 10 s
//! where a local file system tells of changes. When a change has settled the text is read and handed on ([`Watch::next`]); what it means is told in [`decide`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::disk::{self, Identity};
use super::events::{FsEventSource, FsEvents};
use super::folders::{self, Place};
use super::mount::{self, Mounted};
use super::reading::{FileState, How, Reading, Text};
use super::schedule::{POLL, POLL_TOLD, QUIET, ReadSchedule, Step};
use crate::model::Fault;

/// How soon after a hint the file is looked at: events come in swarms.
const SOON: Duration = Duration::from_millis(20);

/// Watches one path.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    /// When to read.
    pub schedule: ReadSchedule,
    hints: FsEvents,
    /// When to look if no hint comes before.
    wake: Instant,
    asked: bool,
    /// What was mounted at the file at the start.
    mounted: Option<Mounted>,
    told_stale: bool,
}

impl Watch {
    /// Will watch; `look` is what the file looked like when it was read for the start.
    pub fn new(path: &Path, look: FileState, events: &FsEventSource) -> Self {
        let now = Instant::now();
        Watch {
            path: path.to_owned(),
            schedule: ReadSchedule::new(look, now),
            hints: FsEvents::new(events),
            wake: now,
            asked: false,
            mounted: mount::at(path),
            told_stale: false,
        }
    }

    /// Watches from now on, and says so if it will be blind.
    pub fn begin(&mut self) {
        if self.mounted.is_some() {
            warn!(
                file = %self.path.display(),
                "this one file is mounted by itself: if it is replaced outside, as vim and sed -i do, the edit cannot \
                 be seen here; mount its folder instead"
            );
        }
        self.hints.watch(folders::on_the_way(&self.path));
    }

    /// Whether the file was replaced where that cannot be seen.
    pub fn is_stale(&self) -> bool {
        self.told_stale
    }

    /// Asks for a reading now, whatever the file looks like.
    pub fn ask(&mut self) {
        self.asked = true;
    }

    /// Resolves when there is a text to be judged. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Reading {
        loop {
            self.wait().await;
            let asked = self.asked;
            self.hints.clear();
            let view = view(self.path.clone()).await;
            debug!(look = ?view.look, "looked at the file");
            let was_told = self.hints.watch(view.places) && view.local;
            self.notice_stale();
            let now = Instant::now();
            let step = if asked { Step::Read(How::Asked) } else { self.schedule.saw(view.look, now) };
            self.wake = now
                + match step {
                    Step::LookAgain => QUIET,
                    Step::Rest if was_told && self.schedule.is_at_rest() => POLL_TOLD,
                    Step::Rest | Step::Read(_) => POLL,
                };
            let Step::Read(how) = step else { continue };
            // Until the text is handed on, a dropped future must not put it off.
            self.wake = now;
            let (text, after) = read_and_look(self.path.clone()).await;
            self.wake = Instant::now() + QUIET;
            if how != How::Asked && after != view.look {
                continue;
            }
            if how == How::Asked {
                self.asked = false;
            }
            return Reading { text, state: view.look, how };
        }
    }

    /// Waits for the next look: until it is time, or a hint has come. While a change settles hints say nothing new.
    async fn wait(&mut self) {
        while !self.asked {
            tokio::select! {
                biased;
                () = sleep_until(self.wake) => return,
                () = self.hints.next(), if !self.schedule.is_restless() => {
                    self.wake = self.wake.min(Instant::now() + SOON);
                }
            }
        }
    }

    fn notice_stale(&mut self) {
        let Some(start) = &self.mounted else { return };
        let stale = mount::at(&self.path).is_some_and(|now| now.is_stale(start));
        if stale && !self.told_stale {
            warn!(
                file = %self.path.display(),
                "the file was replaced outside, and its mount still shows the old one: edits do not arrive; \
                 restart the container, and mount the folder instead of the file"
            );
        }
        self.told_stale = stale;
    }
}

/// What one look sees.
#[derive(Debug)]
struct View {
    look: FileState,
    places: Vec<Place>,
    /// All of them are on file systems that tell of every change.
    local: bool,
}

async fn view(path: PathBuf) -> View {
    let seen = blocking(move || {
        let places = folders::on_the_way(&path);
        View { look: look(&path), local: places.iter().all(|place| place.folder.is_local()), places }
    });
    let nothing = View { look: Err(std::io::ErrorKind::Other), places: Vec::new(), local: false };
    seen.await.unwrap_or(nothing)
}

/// Reads the file, and looks at it once more afterwards.
pub async fn read_and_look(path: PathBuf) -> (Text, FileState) {
    let read = blocking(move || (disk::read(&path).map(|file| file.bytes.into()), look(&path))).await;
    let gone =
        || Fault::new("the file could not be read: reading it failed inside Portway", "report this as a bug");
    read.unwrap_or_else(|| (Err(gone()), Err(std::io::ErrorKind::Other)))
}

/// One look at the file that the path leads to.
pub fn look(path: &Path) -> FileState {
    Identity::of(path).map_err(|error| error.kind())
}

/// Calls what may block for long, on a file system that has gone away, off the threads that serve connections.
async fn blocking<R: Send + 'static>(call: impl FnOnce() -> R + Send + 'static) -> Option<R> {
    tokio::task::spawn_blocking(call).await.ok()
}
