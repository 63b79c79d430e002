//! Sockets for hyper, for the endpoint and for its clients.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::guests::{Guest, Times};

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
    guest: Arc<Guest>,
    times: Times,
    /// When the current read or write times out.
    due: Pin<Box<Sleep>>,
    /// Whether a write is waiting for the client.
    writes: bool,
}

impl<T> HttpIo<T> {
    /// Without time limits.
    pub fn new(stream: T) -> Self {
        HttpIo { stream, limits: None }
    }

    /// For a client of the endpoint, with time limits.
    pub(super) fn bounded(stream: T, guest: Arc<Guest>, times: Times) -> Self {
        let due = Box::pin(sleep_until(Instant::now() + times.idle));
        HttpIo { stream, limits: Some(Limits { guest, times, due, writes: false }) }
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
            let Some(due) = limits.guest.due(limits.times) else { return Poll::Pending };
            return limits.poll_due(due, cx);
        };
        result?;
        if let Some(limits) = limits
            && !read.filled().is_empty()
        {
            limits.guest.read();
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
            limits.guest.took_part();
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
            limits.guest.sent();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
