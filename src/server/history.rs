//! What became of the edits of a file, for those who ask.

use std::time::SystemTime;

use crate::config::Report;
use crate::files::Pending;

/// What became of the edits of a file.
#[derive(Clone, Debug)]
pub struct History {
    /// When it was last judged, or read for the start.
    pub at: SystemTime,
    /// What became of it then.
    pub last: Judged,
    /// Edits that were carried out.
    pub succeeded: u64,
    /// Edits that were refused.
    pub refused: u64,
}

/// What became of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It was read for the start.
    Started,
    /// It runs; what it has changed, in one line.
    Reloaded(String),
    /// It says what runs already.
    Unchanged,
    /// It was refused.
    Refused,
}

impl History {
    /// Of a file that was read for the start.
    pub(super) fn new() -> Self {
        History { at: SystemTime::now(), last: Judged::Started, succeeded: 0, refused: 0 }
    }

    pub(super) fn note(&mut self, judged: Judged) {
        match judged {
            Judged::Reloaded(_) => self.succeeded += 1,
            Judged::Refused => self.refused += 1,
            Judged::Started | Judged::Unchanged => {}
        }
        (self.at, self.last) = (SystemTime::now(), judged);
    }
}

/// The file of a running proxy.
#[derive(Clone, Debug)]
pub struct FileView {
    /// Its path.
    pub name: String,
    /// What became of its edits.
    pub history: History,
    /// Why it is not what runs.
    pub pending: Option<Pending>,
    /// It was replaced where that cannot be seen.
    pub stale: bool,
}

/// What became of a file that was read because somebody asked.
#[derive(Clone, Debug)]
pub enum Reloaded {
    /// It runs; what has changed, in one line. None: it says the same as before.
    Taken(u64, Option<String>),
    /// It does not.
    Refused(u64, Report),
    /// There is none.
    NoFile(u64),
}
