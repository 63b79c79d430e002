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
use crate::net::deadline::LAST_LOOK;

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
    due: Instant,
    timer: Pin<Box<Sleep>>,
    /// Whether it has, and the socket is looked at once more.
    looks: bool,
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
        let due = Instant::now() + times.idle;
        let timer = Box::pin(sleep_until(due));
        HttpIo { stream, limits: Some(Limits { guest, times, due, timer, looks: false, writes: false }) }
    }
}

impl Limits {
    /// Fails once `due` has passed, and one more look at the socket has found nothing: the process may have stood still
    /// (see `net::deadline`).
    fn poll_due(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.due != due {
            (self.due, self.looks) = (due, false);
            self.timer.as_mut().reset(due);
        }
        ready!(self.timer.as_mut().poll(cx));
        if !self.looks {
            self.looks = true;
            self.timer.as_mut().reset(Instant::now() + LAST_LOOK);
            ready!(self.timer.as_mut().poll(cx));
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
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
            true => limits.due,
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
