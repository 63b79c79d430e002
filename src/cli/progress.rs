//! Progress of long work, for a person at a terminal.

use std::io::{IsTerminal, Write, stderr};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use tokio::time::Instant;

use super::table;

/// Work that takes no longer than this is not worth a line.
const SOON: Duration = Duration::from_millis(500);

/// One line on a terminal that is overwritten again and again.
pub struct Progress {
    width: usize,
    shows: bool,
}

impl Progress {
    /// Shows lines only if standard error is a terminal, and not `silent`.
    pub fn new(silent: bool) -> Progress {
        Progress { width: 0, shows: stderr().is_terminal() && !silent }
    }

    /// Overwrites the line.
    pub fn show(&mut self, line: &str) {
        if self.shows {
            // If standard error is gone, nobody looks.
            drop(write!(stderr().lock(), "\r{line:<width$}", width = self.width));
            self.width = line.chars().count();
        }
    }

    /// Erases the line.
    pub fn clear(&mut self) {
        if self.width > 0 {
            drop(write!(stderr().lock(), "\r{:width$}\r", "", width = self.width));
            self.width = 0;
        }
    }
}

/// Runs `work` on a thread of its own. Meanwhile shows `what` it is, and how long it has taken so far.
pub fn patiently<T: Send>(what: &str, work: impl FnOnce() -> T + Send) -> T {
    let (ends, ended) = sync_channel::<()>(1);
    let mut progress = Progress::new(false);
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            // Dropped when the work ends, even by a panic.
            let _ends = ends;
            work()
        });
        let begun = Instant::now();
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(SOON) {
            progress.show(&format!("{what}, {} so far", table::span(begun.elapsed().as_secs_f64())));
        }
        progress.clear();
        // A panic of the work is passed on to the caller.
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
