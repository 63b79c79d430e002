//! The lines that wait for the thread of a sink.

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
    /// A file, made if need be (mode 0640), and appended to.
    File(PathBuf),
}

/// What the owner of a sink is told.
#[derive(Debug)]
pub enum Event<'a> {
    /// Writing fails, for the first time since it worked.
    Failing(&'a io::Error),
    /// Writing works again. So many lines are missing here.
    Lost(u64),
}

/// Hears of events, on the sink's thread. What it answers is written into the sink, at the place of the lost lines.
pub type Tell = Box<dyn Fn(Event<'_>) -> Option<String> + Send>;

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub waiting: Mutex<Waiting>,
    /// There is something to do for the thread.
    pub work: Condvar,
    /// There is nothing left to do.
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
