//! The history of a file's edits.

use std::time::{Instant, SystemTime};

use crate::config::Report;
use crate::files::Pending;

/// What became of the edits of a file: the last outcome, and counts since the start.
#[derive(Clone, Debug)]
pub struct History {
    /// When a text was last judged, or read at the start.
    pub at: SystemTime,
    /// The outcome then.
    pub last: Judged,
    /// Edits that were applied since the start.
    pub succeeded: u64,
    /// Edits that were refused since the start.
    pub refused: u64,
    /// Edits that were carried out and rolled back since the start.
    pub rolled_back: u64,
}

/// The outcome of judging a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It was read at the start.
    Started,
    /// It was applied; what it has changed, in one line.
    Reloaded(String),
    /// It is what runs already.
    Unchanged,
    /// It was refused.
    Refused,
    /// It was applied, and undone.
    RolledBack,
}

impl History {
    /// The history of a file that was just read at the start.
    pub(super) fn new() -> Self {
        History { at: SystemTime::now(), last: Judged::Started, succeeded: 0, refused: 0, rolled_back: 0 }
    }

    /// Counts edits of included files.
    pub(super) fn count(&mut self, succeeded: u64, refused: u64) {
        self.succeeded += succeeded;
        self.refused += refused;
    }

    pub(super) fn note(&mut self, judged: Judged) {
        match judged {
            Judged::Reloaded(_) => self.succeeded += 1,
            Judged::Refused => self.refused += 1,
            Judged::RolledBack => self.rolled_back += 1,
            Judged::Started | Judged::Unchanged => {}
        }
        (self.at, self.last) = (SystemTime::now(), judged);
    }
}

/// The state of the routes' file, for a view of what runs.
#[derive(Clone, Debug)]
pub struct FileView {
    /// Its path, as it was given at the start.
    pub name: String,
    /// What became of its edits.
    pub history: History,
    /// Why it is not what runs. `None`: it is.
    pub pending: Option<Pending>,
    /// It was replaced outside of its mount, where that cannot be seen.
    pub stale: bool,
    /// When the probation of its last edits is over. `None`: none is on probation.
    pub probation: Option<Instant>,
}

/// The outcome of a reload that somebody asked for, with the generation that runs.
#[derive(Clone, Debug)]
pub enum Reloaded {
    /// The file runs; what has changed, in one line. `None`: it is what ran before.
    Taken(u64, Option<String>),
    /// A file was refused, with this report; what other files have changed, in one line.
    Refused(u64, Report, Option<String>),
    /// There is no file.
    NoFile(u64),
}
