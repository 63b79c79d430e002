//! The queue of a sink: lines that wait for its thread.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Condvar, Mutex, MutexGuard};

use crate::state::lock;

/// What a sink writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file to append to. Created if it is missing (mode 0640).
    File(PathBuf),
}

/// What a sink reports to its owner.
#[derive(Debug)]
pub enum Event<'a> {
    /// Writing fails. Reported once, until it works again.
    Failing(&'a io::Error),
    /// This many lines are missing here. Asked before each try to write what tells so.
    Lost(u64),
    /// Writing works again, and tells of this many lost lines.
    Told(u64),
}

/// Handles events, on the sink's thread. Its answer to [`Event::Lost`] is written in place of the lost lines.
pub type EventHandler = Box<dyn Fn(Event<'_>) -> Option<String> + Send>;

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub waiting: Mutex<Waiting>,
    /// Notified when the thread has something to do.
    pub work: Condvar,
    /// Notified when everything is written.
    pub idle: Condvar,
    pub lost: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub lines: Vec<u8>,
    /// Lines that did not fit since the thread last looked.
    pub refused: u64,
    pub reopen: bool,
    pub closed: bool,
    pub busy: bool,
}

impl Queue {
    pub fn lock(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }
}

pub(super) fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|&&byte| byte == b'\n').count() as u64
}
