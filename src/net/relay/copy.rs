//! The path that works in every state of the sockets: tokio's `copy_bidirectional` over wrapped sockets.
//!
//! `copy_bidirectional` returns at the first error and drops what the other direction still held, so a wrapper never
//! shows it an error: it latches the error, reads as an end from then on, and discards what can no longer be written.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};

use super::ending::Ending;
use super::halfway::{HalfFlow, Halfway};
use super::side::{Side, Sockets};
use super::state::RelayState;
use super::supervise::supervise;
use super::traffic::{Moved, Traffic};
use crate::model::Timeouts;
use crate::net::Socket;

/// Size of the buffer of each direction, in bytes.
const BUFFER: usize = 16 * 1024;

/// Moves bytes until the connection has ended.
pub(super) async fn run(
    sockets: Sockets<'_>,
    timeouts: &Timeouts,
    traffic: &Traffic,
    from: Option<Box<Halfway>>,
) -> Result<Ending, Box<Halfway>> {
    let state = RelayState::new(traffic, timeouts, from.as_deref());
    let under_way = AtomicUsize::new(0);
    state.note(Moved::Copied);
    let end = |side: Side| End { socket: sockets.of(side), side, state: &state, under_way: &under_way };
    let (mut client_end, mut upstream_end) = (end(Side::Client), end(Side::Upstream));
    let mut copy = pin!(copy_bidirectional_with_sizes(&mut client_end, &mut upstream_end, BUFFER, BUFFER));
    let mut moving = true;
    let ended = supervise(&state, sockets, timeouts, |cx| {
        // The result of the copy says nothing: the ends never show it an error.
        moving = moving && copy.as_mut().poll(cx).is_pending();
        under_way.load(Ordering::Relaxed) == 0
    })
    .await;
    ended.ok_or_else(|| state.halfway(<[HalfFlow; 2]>::default()))
}

/// One side of the copy: a socket that never returns an error.
struct End<'a> {
    socket: &'a Socket,
    side: Side,
    state: &'a RelayState<'a>,
    /// Bytes that were read and are not sent yet, of both directions.
    under_way: &'a AtomicUsize,
}

impl End<'_> {
    fn sent(&self, n: usize) {
        self.under_way.fetch_sub(n, Ordering::Relaxed);
    }
}

impl AsyncRead for End<'_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // What was read is sent first. Nothing wakes this read: the relay ends, and goes on as another one.
        if self.state.is_to_pause() {
            return Poll::Pending;
        }
        match ready!(self.socket.poll_recv(cx, buf)) {
            Ok(0) => {}
            Ok(n) => {
                self.under_way.fetch_add(n, Ordering::Relaxed);
                self.state.received();
            }
            Err(error) => self.state.failed(self.side, &error),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End<'_> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.state.is_dead(self.side) {
            self.sent(data.len());
            return Poll::Ready(Ok(data.len()));
        }
        let sent = self.socket.poll_send(cx, data);
        self.state.hold(self.side.other(), sent.is_pending());
        match ready!(sent) {
            Ok(n) => {
                self.state.sent_to(self.side, n);
                self.sent(n);
                Poll::Ready(Ok(n))
            }
            Err(error) => {
                self.state.failed(self.side, &error);
                self.sent(data.len());
                Poll::Ready(Ok(data.len()))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Called when the other side has ended. Passes a FIN on; does not turn a reset into one.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let other = self.side.other();
        if !self.state.is_dead(other)
            && !self.state.is_dead(self.side)
            && !self.state.has_ended(other)
            && let Err(error) = self.socket.shutdown_write()
        {
            self.state.failed(self.side, &error);
        }
        self.state.ended(other);
        Poll::Ready(Ok(()))
    }
}
