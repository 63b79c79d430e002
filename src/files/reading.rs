//! The results of looking at a file, and of reading it.

use std::io;
use std::sync::Arc;

use super::disk::Identity;
use crate::model::Fault;

/// One look at the file: its identity, or why there is none.
pub type FileState = Result<Identity, io::ErrorKind>;

/// What was read, or why nothing could be.
pub type Text = Result<Arc<[u8]>, Fault>;

/// Why a text was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The file has changed and is quiet now.
    Settled,
    /// The file has been changing for so long that it is read between two changes.
    Snatched,
    /// An edit failed because of something outside of the file, and is tried again.
    Again,
    /// A person asked for it.
    Asked,
}

/// What is known of the one who wrote a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// No event named it, and the file has changed lately.
    Unknown,
    /// The file is open for writing.
    Busy,
    /// The file was closed, or has not changed for `schedule::STILL`.
    Done,
    /// The file came whole, by rename or by a link.
    Renamed,
}

/// A text to judge.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The text, or why it could not be read.
    pub text: Text,
    /// What the file looked like when it was read.
    pub state: FileState,
    /// Why it was read.
    pub how: How,
    /// What is known of its writer.
    pub writer: Writer,
}
