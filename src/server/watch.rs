//! Notices edits of the file, however it is saved.
//!
//! Events of the file system are hints to look soon ([`hints`]); the truth is a look at the file every 2 s, or every 10 s
//! where a local file system tells of changes. When a change has settled the text is read and handed on ([`Watch::next`]); what it means is told in [`decide`].

pub(super) mod decide;
mod folders;
mod hints;
mod mount;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::file::{self, Identity};
use crate::config::Fault;
use decide::{How, Look, POLL, POLL_TOLD, Pace, QUIET, Step, Text};
use folders::Place;
pub(super) use hints::Events;
use hints::Hints;
use mount::Mounted;

/// How soon after a hint the file is looked at: events come in swarms.
const SOON: Duration = Duration::from_millis(20);

/// A text that is to be judged.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub text: Text,
    /// What the file looked like when it was read.
    pub look: Look,
    pub how: How,
}

/// Watches one path.
#[derive(Debug)]
pub(super) struct Watch {
    path: PathBuf,
    /// When to read.
    pub pace: Pace,
    hints: Hints,
    /// When to look if no hint comes before.
    wake: Instant,
    asked: bool,
    /// What was mounted at the file at the start.
    mounted: Option<Mounted>,
    told_stale: bool,
}

impl Watch {
    /// Will watch; `look` is what the file looked like when it was read for the start.
    pub fn new(path: &Path, look: Look, events: &Events) -> Self {
        let now = Instant::now();
        Watch {
            path: path.to_owned(),
            pace: Pace::new(look, now),
            hints: Hints::new(events),
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
            let step = if asked { Step::Read(How::Asked) } else { self.pace.saw(view.look, now) };
            self.wake = now
                + match step {
                    Step::LookAgain => QUIET,
                    Step::Rest if was_told && self.pace.is_at_rest() => POLL_TOLD,
                    Step::Rest | Step::Read(_) => POLL,
                };
            let Step::Read(how) = step else { continue };
            // Until the text is handed on, a dropped future must not put it off.
            self.wake = now;
            let (text, after) = read(self.path.clone()).await;
            self.wake = Instant::now() + QUIET;
            if how != How::Asked && after != view.look {
                continue;
            }
            if how == How::Asked {
                self.asked = false;
            }
            return Reading { text, look: view.look, how };
        }
    }

    /// Waits for the next look: until it is time, or a hint has come. While a change settles hints say nothing new.
    async fn wait(&mut self) {
        while !self.asked {
            tokio::select! {
                biased;
                () = sleep_until(self.wake) => return,
                () = self.hints.next(), if !self.pace.is_restless() => {
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
    look: Look,
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
pub(super) async fn read(path: PathBuf) -> (Text, Look) {
    let read = blocking(move || (file::read(&path).map(|file| file.bytes.into()), look(&path))).await;
    let gone =
        || Fault::new("the file could not be read: reading it failed inside Portway", "report this as a bug");
    read.unwrap_or_else(|| (Err(gone()), Err(std::io::ErrorKind::Other)))
}

/// One look at the file that the path leads to.
pub(super) fn look(path: &Path) -> Look {
    Identity::of(path).map_err(|error| error.kind())
}

/// Calls what may block for long, on a file system that has gone away, off the threads that serve connections.
async fn blocking<R: Send + 'static>(call: impl FnOnce() -> R + Send + 'static) -> Option<R> {
    tokio::task::spawn_blocking(call).await.ok()
}
