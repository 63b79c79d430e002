//! Long work: a person at a terminal sees that it goes on.

use std::io::{IsTerminal, Write, stderr};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use tokio::time::Instant;

use super::table;

/// Work that takes no longer is not worth a line.
const SOON: Duration = Duration::from_millis(500);

/// One line on a terminal that is written again and again.
pub struct Progress {
    width: usize,
    shows: bool,
}

impl Progress {
    /// Where a person looks; nothing is shown where it is piped, or `silent`.
    pub fn new(silent: bool) -> Progress {
        Progress { width: 0, shows: stderr().is_terminal() && !silent }
    }

    /// Writes the line anew.
    pub fn show(&mut self, line: &str) {
        if self.shows {
            // Where standard error is gone nobody looks.
            drop(write!(stderr().lock(), "\r{line:<width$}", width = self.width));
            self.width = line.chars().count();
        }
    }

    /// Takes it away.
    pub fn clear(&mut self) {
        if self.width > 0 {
            drop(write!(stderr().lock(), "\r{:width$}\r", "", width = self.width));
            self.width = 0;
        }
    }
}

/// Does work on a thread of its own, and says meanwhile what it is.
pub fn patiently<T: Send>(what: &str, work: impl FnOnce() -> T + Send) -> T {
    let (ends, ended) = sync_channel::<()>(1);
    let mut progress = Progress::new(false);
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            // Dropped at the end, however that comes.
            let _ends = ends;
            work()
        });
        let begun = Instant::now();
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(SOON) {
            progress.show(&format!("{what}, {} so far", table::span(begun.elapsed().as_secs_f64())));
        }
        progress.clear();
        // Where it has panicked, so does whoever waited.
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
