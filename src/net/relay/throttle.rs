//! A relay with a bound on its bandwidth: the copy path, whose reads wait for tokens. What is not read stays in the
//! kernel's queue, and so slows its sender down.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::time::{Instant, Sleep, sleep_until};

use super::copy::{BUFFER, End};
use super::ending::Pair;
use super::{Ending, Moved, Patience, Side, Traffic, supervise};
use crate::model::{Bandwidth, ByteRate};
use crate::net::Socket;
use crate::state::Bucket;

/// Moves bytes until the connection has ended, and no more than `bandwidth` allows.
pub(super) async fn run(
    (client, upstream): (&Socket, &Socket),
    bandwidth: &Bandwidth,
    patience: &Patience,
    traffic: &Traffic,
) -> Ending {
    let pair = Pair::new(traffic, patience);
    pair.note(Moved::Copied);
    let mut client_end = Slow::new(End { socket: client, side: Side::Client, pair: &pair }, bandwidth.up);
    let mut upstream_end =
        Slow::new(End { socket: upstream, side: Side::Upstream, pair: &pair }, bandwidth.down);
    let mut copy = pin!(copy_bidirectional_with_sizes(&mut client_end, &mut upstream_end, BUFFER, BUFFER));
    let mut moving = true;
    supervise(&pair, (client, upstream), patience, |cx| {
        moving = moving && copy.as_mut().poll(cx).is_pending();
    })
    .await
}

/// The bound on what is read from one side.
pub(super) struct Bound(Option<(Bucket, Pin<Box<Sleep>>)>);

impl Bound {
    pub fn new(rate: Option<ByteRate>) -> Self {
        let now = Instant::now();
        Bound(rate.map(|rate| (Bucket::new(rate, now.into_std()), Box::pin(sleep_until(now)))))
    }

    /// How many of `wanted` bytes may be read: at least one, or it is not time yet.
    pub fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<usize> {
        let Some((bucket, due)) = &mut self.0 else { return Poll::Ready(wanted) };
        loop {
            match bucket.ready(Instant::now().into_std()) {
                Ok(ready) => return Poll::Ready(usize::try_from(ready).unwrap_or(usize::MAX).min(wanted)),
                Err(at) => {
                    due.as_mut().reset(at.into());
                    ready!(due.as_mut().poll(cx));
                }
            }
        }
    }

    /// So many were read.
    pub fn take(&mut self, n: usize) {
        if let Some((bucket, _)) = &mut self.0 {
            bucket.take(n as u64);
        }
    }
}

/// One side of the copy, from which no more is read than its bucket has.
struct Slow<'a> {
    end: End<'a>,
    bound: Bound,
}

impl<'a> Slow<'a> {
    fn new(end: End<'a>, rate: Option<ByteRate>) -> Self {
        Slow { end, bound: Bound::new(rate) }
    }
}

impl AsyncRead for Slow<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Slow { end, bound } = &mut *self;
        let room = ready!(bound.poll_room(cx, buf.remaining()));
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
        ready!(Pin::new(end).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buf.advance(read);
        bound.take(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Slow<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.end).poll_write(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.end).poll_shutdown(cx)
    }
}
