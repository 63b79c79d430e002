//! Notices edits of the file, however it is saved.
//!
//! Events of the file system are hints to look soon ([`FsEvents`]); the truth is a look at the file every 2 s, or every
//! 10 s where a local file system reports changes. Once a change has settled, [`Watch::next`] reads the text and hands
//! it on; [`verdict`](super::verdict) says what it means.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::blocking::blocking;
use super::disk::{self, Identity};
use super::events::{FsEventSource, FsEvents};
use super::folders::{self, Place};
use super::mount::{self, Mounted};
use super::reading::{FileState, How, Reading, Text, Writer};
use super::schedule::{POLL, POLL_TOLD, QUIET, ReadSchedule, Step};
use crate::model::Fault;

/// How soon after a hint the file is looked at: events come in bursts.
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
    /// What the events since the last judged text say about the writer.
    writer: Writer,
    /// The writer of the text that was read last: of the same text, when it is tried again.
    last_writer: Writer,
    /// What was mounted at the file at the start. `None`: the file is no mount point.
    mounted: Option<Mounted>,
    told_stale: bool,
}

impl Watch {
    /// Prepares a watch, for [`Watch::begin`]. `look`: what the file looked like when it was first read.
    pub fn new(path: &Path, look: FileState, events: &FsEventSource) -> Self {
        let now = Instant::now();
        Watch {
            path: path.to_owned(),
            schedule: ReadSchedule::new(look, now),
            hints: FsEvents::new(events),
            wake: now,
            asked: false,
            writer: Writer::Unknown,
            last_writer: Writer::Unknown,
            mounted: mount::at(path),
            told_stale: false,
        }
    }

    /// Watches from now on. Warns if edits may be invisible here.
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

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file was replaced outside of its mount, where that cannot be seen.
    pub fn is_stale(&self) -> bool {
        self.told_stale
    }

    /// Makes [`Watch::next`] read the file now, even if it looks unchanged.
    pub fn ask(&mut self) {
        self.asked = true;
    }

    /// Makes [`Watch::next`] read a text again that failed for a reason outside of the file.
    pub fn again(&mut self) {
        let now = Instant::now();
        self.schedule.again_now(now);
        self.wake = now;
    }

    /// Resolves with the next text to judge. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Reading {
        loop {
            self.wait().await;
            let asked = self.asked;
            self.hints.clear();
            self.hear_of_writer();
            let view = view(self.path.clone()).await;
            debug!(look = ?view.look, "looked at the file");
            let was_told = self.hints.watch(view.places) && view.local;
            self.notice_stale();
            let now = Instant::now();
            let finished = matches!(self.writer, Writer::Done | Writer::Renamed);
            let step = match asked {
                true => Step::Read(How::Asked),
                false => self.schedule.saw(view.look, finished, now),
            };
            self.wake = now
                + match step {
                    Step::LookAgain => QUIET,
                    Step::Rest if was_told && self.schedule.is_at_rest() => POLL_TOLD,
                    Step::Rest | Step::Read(_) => POLL,
                };
            let Step::Read(how) = step else { continue };
            // Until the text is handed on, dropping the future must not delay it.
            self.wake = now;
            let (text, after) = read_and_look(self.path.clone()).await;
            self.wake = Instant::now() + QUIET;
            if how != How::Asked && after != view.look {
                continue;
            }
            if how == How::Asked {
                self.asked = false;
            }
            // An event of a writer that has begun meanwhile may have come.
            self.hear_of_writer();
            let writer = match self.writer {
                Writer::Unknown if how == How::Again => self.last_writer,
                Writer::Unknown | Writer::Busy if self.schedule.is_still(now) => Writer::Done,
                // Elsewhere the event that the file was closed may never come.
                Writer::Busy if !view.local => Writer::Unknown,
                told => told,
            };
            self.last_writer = writer;
            return Reading { text, state: view.look, how, writer };
        }
    }

    /// Notes that the text behind `look` has been judged. What comes next has another writer.
    pub fn judged(&mut self, look: FileState, how: How, now: Instant) {
        self.writer = Writer::Unknown;
        self.schedule.judged(look, how, now);
    }

    fn hear_of_writer(&mut self) {
        self.writer = self.hints.writer().unwrap_or(self.writer);
    }

    /// Waits until the next look is due, or a hint makes it due. While a change settles, hints say nothing new.
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
    /// Whether all places are on file systems that report every change.
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

/// One look at the file at a path. Follows links.
pub fn look(path: &Path) -> FileState {
    Identity::of(path).map_err(|error| error.kind())
}
