//! One file whose text runs: what of it runs, and what of its edits does not. The same rules for the routes' file, lists of
//! networks, certificates and keys.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::events::FsEventSource;
use super::pending::Pending;
use super::reading::{FileState, How, Reading, Text};
use super::verdict::{Cut, Running, Verdict, verdict};
use super::watch::Watch;
use crate::config::Report;
use crate::model::Fault;

/// A file that is followed, and what its text is put into.
#[derive(Debug)]
pub struct FollowedFile<T> {
    /// What a good text is put into.
    pub target: T,
    name: String,
    watch: Watch,
    running: Running,
    /// What was judged last.
    last: Text,
    /// What was refused last, while the file did not keep still.
    snatched: Option<Text>,
    pending: Option<Pending>,
    /// The last text failed for want of something outside of it, which may come back.
    wanting: bool,
    /// What runs is not what the running text says.
    diverged: bool,
}

/// What a reading means.
#[derive(Debug)]
pub enum Seen {
    /// Nothing: it was judged already.
    Known,
    /// The file says again what runs.
    Runs,
    /// A text to be compiled, and then [`FollowedFile::took`] or [`FollowedFile::refuse`]d.
    Text(Arc<[u8]>),
    /// There is no text, or it looks cut off: to be refused.
    Faulty(Report),
}

/// What becomes of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Nobody hears of it: the text may be half of something. It counts when it is read twice.
    Unsettled,
    /// The same fault as before, tried once more.
    Again,
    /// A fault to be logged.
    New,
}

impl<T> FollowedFile<T> {
    /// A file that was read, and whose text runs now, or will. `state`: what it looked like before.
    pub fn new(path: &Path, text: Arc<[u8]>, state: FileState, events: &FsEventSource, target: T) -> Self {
        FollowedFile {
            target,
            name: path.display().to_string(),
            watch: Watch::new(path, state, events),
            last: Ok(text.clone()),
            running: Running { text, file: state.ok() },
            snatched: None,
            pending: None,
            wanting: false,
            diverged: false,
        }
    }

    /// Its path, as a person reads it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Watches it from now on.
    pub fn begin(&mut self) {
        self.watch.begin();
    }

    /// Resolves when there is a text to be judged. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Reading {
        self.watch.next().await
    }

    /// Asks for a reading now, whatever the file looks like.
    pub fn ask(&mut self) {
        self.watch.ask();
    }

    /// Something was taken out of what runs that the file still has.
    pub fn diverge(&mut self) {
        self.diverged = true;
    }

    /// Why the file is not what runs.
    pub fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    /// Whether it was replaced where that cannot be seen.
    pub fn is_stale(&self) -> bool {
        self.watch.is_stale()
    }

    /// The text that runs.
    pub fn running(&self) -> &Arc<[u8]> {
        &self.running.text
    }

    /// Whether there is something to do, or somebody waits for the outcome. Most readings only confirm the last one.
    pub fn is_news(&self, reading: &Reading) -> bool {
        reading.how == How::Asked || reading.text != self.last
    }

    /// What a reading means. Marks one that was seen twice as settled.
    pub fn see(&mut self, reading: &mut Reading) -> Seen {
        let empty = reading.text.as_ref().is_ok_and(|text| text.is_empty());
        if reading.how == How::Snatched && self.snatched.as_ref() == Some(&reading.text) && !empty {
            // The file is touched again and again, but its text keeps still. (Every save in place empties it first.)
            reading.how = How::Settled;
        }
        match verdict(&reading.text, reading.state, reading.how, &self.running, &self.last) {
            Verdict::Runs if self.diverged => Seen::Text(self.running.text.clone()),
            Verdict::Known => {
                self.judged(reading);
                Seen::Known
            }
            Verdict::Runs => Seen::Runs,
            Verdict::Unreadable(fault) => Seen::Faulty(Report::about_file(&self.name, fault)),
            Verdict::CutOff(cut) => Seen::Faulty(cut_off(&self.name, &reading.text, cut)),
            Verdict::New(text) => Seen::Text(text),
        }
    }

    /// The text runs now, or runs still. Returns the faults that this heals.
    pub fn took(&mut self, reading: &Reading, text: Arc<[u8]>) -> Option<Pending> {
        (self.wanting, self.diverged) = (false, false);
        self.running = Running { text, file: reading.state.ok() };
        self.judged(reading);
        self.pending.take()
    }

    /// The text does not run. `wanting`: for want of something outside of it, so that it is tried again.
    pub fn refuse(&mut self, reading: &Reading, report: Report, wanting: bool) -> Refused {
        if reading.how == How::Snatched {
            self.snatched = Some(reading.text.clone());
            return Refused::Unsettled;
        }
        self.wanting = wanting;
        let told = self.pending.as_ref().is_some_and(|pending| pending.report == report);
        let refused = if told && reading.how == How::Again { Refused::Again } else { Refused::New };
        let since = self.pending.take().map_or_else(SystemTime::now, |pending| pending.since);
        self.pending = Some(Pending { headline: report.headline(), report, since });
        self.judged(reading);
        refused
    }

    fn judged(&mut self, reading: &Reading) {
        let now = Instant::now();
        self.last = reading.text.clone();
        self.snatched = None;
        self.watch.schedule.judged(reading.state, reading.how, now);
        if reading.text.is_err() {
            self.watch.schedule.unreadable(now);
        }
        if self.wanting {
            self.watch.schedule.again(now);
        }
    }
}

/// The fault of a text that looks cut off, shown at its end.
fn cut_off(name: &str, text: &Text, cut: Cut) -> Report {
    let Cut { bytes, lines, in_place } = cut;
    let part = if lines.there < lines.of {
        format!("the first {} of {} lines", lines.there, lines.of)
    } else {
        format!("the first {} of {} bytes", bytes.there, bytes.of)
    };
    let (why, cure) = if in_place {
        ("and was written in place", "put it there by rename (mv)")
    } else {
        ("and its last line has no end", "end the last line with a newline")
    };
    let fault = Fault::new(
        format!("the file is {part} of what runs, {why}: it looks cut off"),
        format!(
            "write the rest; if this is all of it, take it as it is: kill -HUP {}, or {cure}",
            std::process::id()
        ),
    );
    let text = String::from_utf8_lossy(text.as_deref().unwrap_or_default());
    Report::at(name, &text, text.len()..text.len(), fault)
}
