//! Layer 3: where log lines go. Handing a line over never blocks: each sink writes on a thread of its own.
//!
//! The queue is bounded in bytes. Lines that do not fit are dropped and counted: a stopped terminal, a pipe that nobody
//! reads or a full disk must not hold up a connection. Does not log: it reports to its owner ([`Event`]), who does.

mod queue;
mod writer;

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

pub use queue::{Event, EventHandler, Target};
use queue::{Queue, count};
use writer::Writer;

/// Most bytes that may wait to be written: some 5,000 lines.
const QUEUE: usize = 1 << 20;

/// Writes lines on a thread of its own. Once dropped, the thread writes what is queued, and ends.
#[derive(Debug)]
pub struct Sink {
    queue: Arc<Queue>,
}

impl Sink {
    /// Starts the thread, which opens the target. Fails only if the thread cannot start.
    pub fn open(target: Target, tell: EventHandler) -> io::Result<Sink> {
        let queue = Arc::new(Queue::default());
        // The thread opens the target before it looks at the queue.
        queue.lock().busy = true;
        let writer = Writer::new(queue.clone(), target, tell);
        std::thread::Builder::new().name("log".into()).spawn(move || writer.run())?;
        Ok(Sink { queue })
    }

    /// Queues lines, each with its line feed. Never blocks: drops and counts them if they do not fit.
    pub fn write(&self, lines: &[u8]) {
        let mut waiting = self.queue.lock();
        if waiting.lines.len() + lines.len() > QUEUE {
            waiting.refused += count(lines);
            self.queue.lost.fetch_add(count(lines), Ordering::Relaxed);
            return;
        }
        waiting.lines.extend_from_slice(lines);
        if !waiting.busy {
            self.queue.work.notify_one();
        }
    }

    /// Opens a file target again, after a log rotation has renamed the file.
    pub fn reopen(&self) {
        self.queue.lock().reopen = true;
        self.queue.work.notify_one();
    }

    /// Waits until everything is written, for `at_most`. Returns whether it is.
    pub fn flush(&self, at_most: Duration) -> bool {
        let waiting = self.queue.lock();
        let waited = self
            .queue
            .idle
            .wait_timeout_while(waiting, at_most, |waiting| waiting.busy || !waiting.lines.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        !waited.1.timed_out()
    }

    /// Number of lines dropped since the start, for lack of space or because a write failed.
    pub fn lost(&self) -> u64 {
        self.queue.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.work.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, read_to_string};
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn sink(path: &Path) -> (Sink, Receiver<String>) {
        let (said, events) = channel();
        let tell = Box::new(move |event: Event<'_>| {
            drop(said.send(format!("{event:?}")));
            match event {
                Event::Failing(_) | Event::Told(_) => None,
                Event::Lost(lines) => Some(format!("lost {lines}\n")),
            }
        });
        (Sink::open(Target::File(path.into()), tell).unwrap(), events)
    }

    #[test]
    fn lines_arrive_whole_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (sink, _) = sink(&path);
        let lines: String = (0..10_000).map(|i| format!("line {i}\n")).collect();
        for line in lines.split_inclusive('\n') {
            sink.write(line.as_bytes());
        }
        assert!(sink.flush(PATIENCE));
        assert_eq!(read_to_string(path).unwrap(), lines);
    }

    #[test]
    fn dropping_writes_what_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (sink, events) = sink(&path);
        sink.write(b"last\n");
        drop(sink);
        assert!(events.recv_timeout(PATIENCE).is_err(), "the thread has ended, and had nothing to say");
        assert_eq!(read_to_string(path).unwrap(), "last\n");
    }

    #[test]
    fn reopen_follows_a_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
        let (sink, _) = sink(&path);
        sink.write(b"one\n");
        assert!(sink.flush(PATIENCE));
        std::fs::rename(&path, &old).unwrap();
        sink.write(b"two\n");
        assert!(sink.flush(PATIENCE));
        sink.reopen();
        sink.write(b"three\n");
        assert!(sink.flush(PATIENCE));
        assert_eq!(read_to_string(old).unwrap(), "one\ntwo\n");
        assert_eq!(read_to_string(path).unwrap(), "three\n");
    }

    #[test]
    fn a_deleted_file_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (sink, _) = sink(&path);
        sink.write(b"one\n");
        assert!(sink.flush(PATIENCE));
        std::fs::remove_file(&path).unwrap();
        sink.write(b"two\n");
        assert!(sink.flush(PATIENCE));
        assert_eq!(read_to_string(path).unwrap(), "two\n");
    }

    /// A full disk: `/dev/full` fails every write with ENOSPC.
    #[test]
    fn what_a_full_disk_loses_is_counted_and_told_when_it_heals() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        symlink("/dev/full", &path).unwrap();
        let (sink, events) = sink(&path);
        sink.write(b"one\ntwo\n");
        let failing = events.recv_timeout(PATIENCE).unwrap();
        assert!(failing.contains("Failing") && failing.contains("No space"), "{failing}");
        // It is tried, and not said to have worked.
        for _ in 0..3 {
            assert_eq!(events.recv_timeout(PATIENCE).unwrap(), "Lost(2)");
        }
        std::fs::remove_file(&path).unwrap();
        while events.recv_timeout(PATIENCE).unwrap() != "Told(2)" {}
        sink.write(b"three\n");
        assert!(sink.flush(PATIENCE));
        assert!(events.try_recv().is_err(), "it is said once");
        assert_eq!(read_to_string(path).unwrap(), "lost 2\nthree\n");
        assert_eq!(sink.lost(), 2);
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_no_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let (sink, events) = sink(&path);
        // Opening it waits for a reader. The queue takes what fits.
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        for _ in 0..5_000 {
            sink.write(&line);
        }
        assert!(!sink.flush(Duration::from_millis(10)));
        let kept = (QUEUE / line.len()) as u64;
        assert_eq!(sink.lost(), 5_000 - kept);
        let mut reader = std::io::BufReader::new(File::open(&path).unwrap());
        let mut whole = vec![0; (QUEUE / line.len()) * line.len()];
        reader.read_exact(&mut whole).unwrap();
        assert_eq!(count(&whole), kept);
        let lost = format!("lost {}\n", 5_000 - kept);
        let mut said = vec![0; lost.len()];
        reader.read_exact(&mut said).unwrap();
        assert_eq!(String::from_utf8(said).unwrap(), lost);
        assert!(events.recv_timeout(PATIENCE).unwrap().contains("Lost"));
        assert!(events.recv_timeout(PATIENCE).unwrap().contains("Told"));
        sink.write(b"again\n");
        let mut again = [0; 6];
        reader.read_exact(&mut again).unwrap();
        assert_eq!(&again, b"again\n");
    }
}
