//! The thread of a sink.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::queue::{Event, EventHandler, Queue, Target, Waiting, count};

/// Time between a failed write and the next attempt, so that a long failure costs next to nothing.
const RETRY: Duration = Duration::from_secs(1);

/// What the thread has to do besides writing lines.
struct News {
    refused: u64,
    reopen: bool,
}

/// Writes the queued lines to the target.
pub(super) struct Writer {
    queue: Arc<Queue>,
    target: Target,
    file: Option<File>,
    /// The last line was written without its end.
    cut: bool,
    /// Lost lines that are not reported in the target yet.
    owed: u64,
    failing: bool,
    tell: EventHandler,
}

impl Writer {
    pub fn new(queue: Arc<Queue>, target: Target, tell: EventHandler) -> Self {
        Writer { queue, target, file: None, cut: false, owed: 0, failing: false, tell }
    }

    /// Writes until the sink is closed and its queue is empty.
    pub fn run(mut self) {
        let mut batch = Vec::new();
        self.put(&[]);
        while let Some(news) = self.next(&mut batch) {
            if news.reopen {
                self.reopen();
            }
            self.settle();
            self.put(&batch);
            // These lines arrived after the batch.
            self.owed += news.refused;
            self.settle();
            self.failing |= self.owed > 0;
            batch.clear();
        }
    }

    /// Waits for work and takes all of it. `None` when the sink is closed and empty.
    fn next(&self, batch: &mut Vec<u8>) -> Option<News> {
        let mut waiting = self.queue.lock();
        if self.failing {
            let nothing_new = |waiting: &mut Waiting| !waiting.closed && !waiting.reopen;
            let waited = self.queue.work.wait_timeout_while(waiting, RETRY, nothing_new);
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        } else {
            while waiting.lines.is_empty() && waiting.refused == 0 && !waiting.reopen && !waiting.closed {
                waiting.busy = false;
                self.queue.idle.notify_all();
                waiting = self.queue.work.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
        }
        if waiting.closed && waiting.lines.is_empty() && waiting.refused == 0 {
            return None;
        }
        waiting.busy = true;
        std::mem::swap(&mut waiting.lines, batch);
        let Waiting { refused, reopen, .. } = &mut *waiting;
        Some(News { refused: std::mem::take(refused), reopen: std::mem::take(reopen) })
    }

    /// Opens the target again. If that fails, keeps the old one.
    fn reopen(&mut self) {
        match self.target.open() {
            Ok(file) => self.file = Some(file),
            Err(error) => drop((self.tell)(Event::Failing(&error))),
        }
    }

    /// Reports how many lines are missing, once the target can be written.
    fn settle(&mut self) {
        if self.owed == 0 {
            return;
        }
        let lost = self.owed;
        let line = (self.tell)(Event::Lost(lost)).unwrap_or_default();
        if self.attempt(line.as_bytes()).is_ok() {
            self.owed -= lost;
            (self.tell)(Event::Told(lost));
        }
    }

    /// Writes lines; counts those that cannot be written.
    fn put(&mut self, lines: &[u8]) {
        match self.attempt(lines) {
            Ok(()) => self.failing = false,
            Err((written, error)) => {
                let lost = count(&lines[written..]);
                self.owed += lost;
                self.queue.lost.fetch_add(lost, Ordering::Relaxed);
                if !std::mem::replace(&mut self.failing, true) {
                    (self.tell)(Event::Failing(&error));
                }
            }
        }
    }

    /// Writes as much as it can. On failure, returns how many bytes that was, and the error.
    fn attempt(&mut self, lines: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut file = self
            .file
            .take()
            .filter(still_there)
            .map_or_else(|| self.target.open(), Ok)
            .map_err(|e| (0, e))?;
        if self.cut && !lines.is_empty() {
            write_some(&mut file, b"\n").map_err(|error| (0, error))?;
            self.cut = false;
        }
        let mut written = 0;
        while written < lines.len() {
            match write_some(&mut file, &lines[written..]) {
                Ok(n) => written += n,
                Err(error) => {
                    self.cut = written > 0 && lines[written - 1] != b'\n';
                    // The next attempt opens the file again.
                    return Err((written, error));
                }
            }
        }
        self.file = Some(file);
        Ok(())
    }
}

impl Target {
    fn open(&self) -> io::Result<File> {
        // Duplicate the standard streams: std's own have a lock, which a stuck write would hold.
        match self {
            Target::Stdout => io::stdout().as_fd().try_clone_to_owned().map(File::from),
            Target::Stderr => io::stderr().as_fd().try_clone_to_owned().map(File::from),
            Target::File(path) => {
                let opened = OpenOptions::new().append(true).create(true).mode(0o640).open(path);
                opened.or_else(|error| inherited(path, error))
            }
        }
    }
}

/// The standard stream that a path leads to, such as `/dev/stdout`. A socket cannot be opened by its path (ENXIO), and with
/// systemd both streams are sockets of the journal; a pipe of another user cannot either (EACCES). `error`: why not.
fn inherited(path: &Path, error: io::Error) -> io::Result<File> {
    let Ok(wanted) = std::fs::metadata(path) else { return Err(error) };
    for stream in [io::stdout().as_fd().try_clone_to_owned()?, io::stderr().as_fd().try_clone_to_owned()?] {
        let stream = File::from(stream);
        let is = stream.metadata()?;
        if (is.dev(), is.ino()) == (wanted.dev(), wanted.ino()) {
            return Ok(stream);
        }
    }
    match wanted.file_type().is_socket() {
        true => Err(io::Error::other(
            "this is a socket, which cannot be opened as a file: write \"stdout\", \"stderr\" or the path of a file",
        )),
        false => Err(error),
    }
}

/// Whether a file still has a name: nobody reads what is written to a deleted one. Always true for pipes and terminals.
fn still_there(file: &File) -> bool {
    file.metadata().is_ok_and(|meta| !meta.is_file() || meta.nlink() > 0)
}

/// Writes at least one byte. Waits as a blocking descriptor would: whoever made it non-blocking, such as another
/// program on the same terminal, did not mean us.
fn write_some(file: &mut File, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(file, PollFlags::OUT)], None)?;
            }
            other => return other,
        }
    }
}
