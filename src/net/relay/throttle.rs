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

/// One side of the copy, from which no more is read than its bucket has.
struct Slow<'a> {
    end: End<'a>,
    bound: Option<(Bucket, Pin<Box<Sleep>>)>,
}

impl<'a> Slow<'a> {
    fn new(end: End<'a>, rate: Option<ByteRate>) -> Self {
        let now = Instant::now();
        let bound = rate.map(|rate| (Bucket::new(rate, now.into_std()), Box::pin(sleep_until(now))));
        Slow { end, bound }
    }
}

impl AsyncRead for Slow<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Slow { end, bound } = &mut *self;
        let Some((bucket, due)) = bound else { return Pin::new(end).poll_read(cx, buf) };
        let ready = loop {
            match bucket.ready(Instant::now().into_std()) {
                Ok(ready) => break ready,
                Err(at) => {
                    due.as_mut().reset(at.into());
                    ready!(due.as_mut().poll(cx));
                }
            }
        };
        let room = usize::try_from(ready).unwrap_or(usize::MAX).min(buf.remaining());
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
        ready!(Pin::new(end).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buf.advance(read);
        bucket.take(read as u64);
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
