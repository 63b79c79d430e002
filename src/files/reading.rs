//! What a look at a file and a reading of it bring.

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
    /// An edit that could not be had, once more.
    Again,
    /// A person asks for it.
    Asked,
}

/// A text that is to be judged.
#[derive(Clone, Debug)]
pub struct Reading {
    /// What was read.
    pub text: Text,
    /// What the file looked like when it was read.
    pub state: FileState,
    /// Why it was read.
    pub how: How,
}
