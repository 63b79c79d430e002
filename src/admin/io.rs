//! Sockets for hyper, for the endpoint and for its clients.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

/// The most bytes of one read.
const READ: usize = 8 * 1024;

/// Adapts a stream of tokio's to hyper's traits.
#[derive(Debug)]
pub struct HttpIo<T> {
    stream: T,
    /// The time limits of a client of the endpoint. `None`: there are none, as when Portway itself is the client.
    limits: Option<Limits>,
}

/// The time limits of one client of the endpoint.
#[derive(Debug)]
struct Limits {
    waits: Arc<Waits>,
    times: Times,
    /// When the current read or write times out.
    due: Pin<Box<Sleep>>,
    /// Whether a write is waiting for the client.
    writes: bool,
}

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Between two requests.
    pub idle: Duration,
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// For a write of a part of an answer.
    pub write: Duration,
}

/// Since when a connection has waited for a request, in milliseconds since its endpoint began, plus 1; 0: it has one.
#[derive(Debug)]
pub(super) struct Waits {
    begun: Instant,
    since: AtomicU64,
    /// When the first byte of its head came, in the same unit; 0: none has come.
    head: AtomicU64,
    /// Whether its answer is made, and not sent yet.
    answered: AtomicBool,
    /// Notified when it begins to wait.
    news: Arc<Notify>,
}

impl Waits {
    /// For a connection that was just accepted. `begun`: when the endpoint began.
    pub fn new(begun: Instant, news: Arc<Notify>) -> Self {
        let (since, head, answered) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let waits = Waits { begun, since, head, answered, news };
        waits.begin();
        waits
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Notes that it waits for a request.
    fn begin(&self) {
        self.head.store(0, Ordering::Relaxed);
        self.since.store(self.now(), Ordering::Relaxed);
        self.news.notify_one();
    }

    /// Notes that its answer is made: it waits for the next request once that is sent.
    pub fn answer(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Notes that all that was written is sent.
    fn sent(&self) {
        if self.answered.swap(false, Ordering::Relaxed) {
            self.begin();
        }
    }

    /// Notes that its request has come.
    pub fn end(&self) {
        self.since.store(0, Ordering::Relaxed);
        self.head.store(0, Ordering::Relaxed);
    }

    /// Since when it waits; `None`: it has a request.
    pub fn since(&self) -> Option<u64> {
        Some(self.since.load(Ordering::Relaxed)).filter(|since| *since > 0)
    }

    /// Whether a head has begun to come.
    pub fn has_begun(&self) -> bool {
        self.head.load(Ordering::Relaxed) > 0
    }

    fn read_some(&self) {
        if self.since().is_some() {
            let _ = self.head.compare_exchange(0, self.now(), Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// When a read times out. `None`: it is that of a body, which has its own limit.
    fn due(&self, times: Times) -> Option<Instant> {
        let from = |since: u64, time| self.begun + Duration::from_millis(since) + time;
        match (self.head.load(Ordering::Relaxed), self.since()) {
            (_, None) => None,
            (0, Some(since)) => Some(from(since, times.idle)),
            (head, Some(_)) => Some(from(head, times.head)),
        }
    }
}

impl<T> HttpIo<T> {
    /// Without time limits.
    pub fn new(stream: T) -> Self {
        HttpIo { stream, limits: None }
    }

    /// For a client of the endpoint, with time limits.
    pub(super) fn bounded(stream: T, waits: Arc<Waits>, times: Times) -> Self {
        let due = Box::pin(sleep_until(Instant::now() + times.idle));
        HttpIo { stream, limits: Some(Limits { waits, times, due, writes: false }) }
    }
}

impl Limits {
    /// Fails once `due` has passed.
    fn poll_due(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.due.deadline() != due {
            self.due.as_mut().reset(due);
        }
        self.due.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> Read for HttpIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut room = [0; READ];
        let most = room.len().min(buf.remaining());
        let mut read = ReadBuf::new(&mut room[..most]);
        let HttpIo { stream, limits } = &mut *self;
        let Poll::Ready(result) = Pin::new(stream).poll_read(cx, &mut read) else {
            let Some(limits) = limits else { return Poll::Pending };
            let Some(due) = limits.waits.due(limits.times) else { return Poll::Pending };
            return limits.poll_due(due, cx);
        };
        result?;
        if let Some(limits) = limits
            && !read.filled().is_empty()
        {
            limits.waits.read_some();
        }
        buf.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> Write for HttpIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let HttpIo { stream, limits } = &mut *self;
        let written = Pin::new(stream).poll_write(cx, buf);
        let Some(limits) = limits else { return written };
        if written.is_ready() {
            limits.writes = false;
            return written;
        }
        // The time counts from the first write that has to wait.
        let due = match std::mem::replace(&mut limits.writes, true) {
            true => limits.due.deadline(),
            false => Instant::now() + limits.times.write,
        };
        ready!(limits.poll_due(due, cx))?;
        Poll::Pending
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes once it has written all that it has.
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if let Some(limits) = &self.limits {
            limits.waits.sent();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
