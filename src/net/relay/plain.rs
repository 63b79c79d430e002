//! The fast path, for two plain sockets: no buffer while nothing moves, one buffer per thread for messages, and kernel
//! pipes for bulk data.
//!
//! A connection itself keeps only bytes that the other side has not taken yet. `tests/bench` measures this path against
//! `copy_bidirectional` and against splicing from the first byte.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::io::{Interest, ReadBuf};
use tokio::task::yield_now;

use super::ending::Ending;
use super::halfway::{HalfFlow, Halfway, Held, Rest};
use super::pipe::{Pipe, User};
use super::side::{Side, Sockets};
use super::state::RelayState;
use super::supervise::supervise;
use super::traffic::{Moved, Traffic};
use crate::model::Timeouts;
use crate::net::Socket;

/// Size of the buffer that the connections of a thread share, in bytes.
const BUFFER: usize = 64 * 1024;
/// A read of this many bytes or more counts as bulk data: even a peer that sends as fast as it can seldom fills the
/// buffer.
const LARGE: usize = BUFFER / 2;
/// Large reads after which a direction counts as bulk.
const BULK_AFTER: u8 = 4;
/// The value of `Flow::bulk` for a direction that is spliced from the first byte, and stays so.
const ALWAYS: u8 = u8::MAX;
/// A read or splice of fewer bytes counts as a message.
const MESSAGE: usize = 16 * 1024;
/// Bytes that a direction moves before it yields the thread; one splice may move more.
const TURN: usize = 64 * 1024;

thread_local! {
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into_boxed_slice());
}

/// Moves bytes until the connection has ended, or the relay is to pause. `splice_first`: through pipes from the first byte.
#[expect(clippy::manual_async_fn, reason = "an `async fn` would keep each argument twice in the task")]
pub(super) fn run<'a>(
    sockets: Sockets<'a>,
    timeouts: &'a Timeouts,
    traffic: &'a Traffic,
    splice_first: bool,
    from: Option<Box<Halfway>>,
) -> impl Future<Output = Result<Ending, Box<Halfway>>> + Send + 'a {
    async move {
        let state = RelayState::new(traffic, timeouts, from.as_deref());
        let (mut up, mut down) = {
            let flow = |side: Side, from: HalfFlow| Flow {
                side,
                from: sockets.of(side),
                to: sockets.of(side.other()),
                pipe_user: matches!(from.held, Held::Piped(_)).then(User::begin),
                held: from.held,
                bulk: if splice_first { ALWAYS } else { from.bulk.min(2 * BULK_AFTER) },
                can_splice: !from.no_splice,
                state: &state,
            };
            let [client, upstream] = from.map(|half| half.flows).unwrap_or_default();
            (flow(Side::Client, client), flow(Side::Upstream, upstream))
        };
        let ended = supervise(&state, sockets, timeouts, |cx| {
            up.turn(cx);
            down.turn(cx);
            true
        })
        .await;
        ended.ok_or_else(|| state.halfway([up.half(), down.half()]))
    }
}

/// One direction of the connection.
struct Flow<'a> {
    /// The side that sends the bytes of this direction.
    side: Side,
    from: &'a Socket,
    to: &'a Socket,
    held: Held,
    /// How much this looks like bulk data: spliced from [`BULK_AFTER`] on.
    bulk: u8,
    /// Set when the direction first takes a pipe; lets the pool keep one for it.
    pipe_user: Option<User>,
    /// Cleared when the kernel refuses to splice these sockets.
    can_splice: bool,
    state: &'a RelayState<'a>,
}

impl Flow<'_> {
    /// What it is between two turns.
    fn half(self) -> HalfFlow {
        let (bulk, no_splice) = (self.bulk, !self.can_splice);
        HalfFlow { held: self.held, bulk, no_splice, ..HalfFlow::default() }
    }

    /// Moves what can be moved now, up to one [`TURN`].
    fn turn(&mut self, cx: &mut Context<'_>) {
        let mut moved = 0;
        while !self.state.has_ended(self.side) && moved < TURN {
            match self.step(cx) {
                Poll::Ready(n) => moved += n,
                Poll::Pending => return,
            }
        }
        if moved >= TURN {
            // Do not wake ourselves: tokio would then look at the other sockets only every 61st time, and a bulk stream
            // on the one thread that waits for them would delay them all. `yield_now` looks at them first.
            let _ = pin!(yield_now()).poll(cx);
        }
    }

    /// Makes one or two system calls. Ready with the number of bytes moved; pending until a socket becomes ready.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        match &mut self.held {
            Held::Bytes(rest) => {
                let n = ready!(send(self.state, self.side, self.to, cx, &rest.bytes[rest.sent..]));
                rest.sent += n;
                if rest.sent == rest.bytes.len() {
                    self.held = Held::Nothing;
                }
                Poll::Ready(n)
            }
            Held::Piped(_) => self.empty_pipe(cx),
            Held::Nothing
                if self.bulk >= BULK_AFTER && self.can_splice && !self.state.is_dead(self.side.other()) =>
            {
                self.pipe_user.get_or_insert_with(User::begin);
                match Pipe::take() {
                    Some(pipe) => self.fill_pipe(cx, pipe),
                    None => {
                        self.state.note(Moved::NoPipe);
                        self.pass(cx)
                    }
                }
            }
            Held::Nothing => self.pass(cx),
        }
    }

    /// Reads into the thread's buffer and sends the bytes at once. Keeps what the other side does not take.
    fn pass(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        SHARED.with_borrow_mut(|buffer| {
            let mut buf = ReadBuf::new(buffer);
            let n = match ready!(self.from.poll_recv(cx, &mut buf)) {
                Ok(0) => return Poll::Ready(self.end(None)),
                Ok(n) => n,
                Err(error) => return Poll::Ready(self.end(Some(error))),
            };
            self.state.received();
            self.grade(n);
            let mut sent = 0;
            while sent < n {
                match send(self.state, self.side, self.to, cx, &buf.filled()[sent..]) {
                    Poll::Ready(more) => sent += more,
                    Poll::Pending => {
                        let rest = Rest { bytes: buf.filled()[sent..].to_vec(), sent: 0 };
                        self.held = Held::Bytes(Box::new(rest));
                        return Poll::Pending;
                    }
                }
            }
            Poll::Ready(n)
        })
    }

    /// Learns from one read whether this is bulk data or messages. It takes [`BULK_AFTER`] reads to change its mind.
    fn grade(&mut self, n: usize) {
        if self.bulk == ALWAYS {
        } else if n >= LARGE {
            self.bulk = (self.bulk + 1).min(2 * BULK_AFTER);
        } else if n < MESSAGE {
            self.bulk = self.bulk.saturating_sub(1);
        }
    }

    /// Moves what has arrived into the pipe, and from there to the other side.
    fn fill_pipe(&mut self, cx: &mut Context<'_>, mut pipe: Pipe) -> Poll<usize> {
        let mut at_a_mark = false;
        let filled = self.from.poll_call(cx, Interest::READABLE, || match pipe.fill(self.from) {
            Err(Errno::AGAIN) => {
                at_a_mark = self.from.peek()? > 0;
                Ok(0)
            }
            filled => filled,
        });
        match filled {
            Poll::Pending => {
                pipe.give_back();
                Poll::Pending
            }
            // splice(2) never gets past an urgent mark (tcp_read_sock() in the kernel); recv(2) does. Or the bytes
            // arrived just now.
            Poll::Ready(Ok(0)) if at_a_mark => {
                pipe.give_back();
                self.pass(cx)
            }
            Poll::Ready(Ok(0)) => {
                pipe.give_back();
                Poll::Ready(self.end(None))
            }
            Poll::Ready(Ok(n)) => {
                self.state.received();
                self.state.note(Moved::Spliced);
                self.grade(n);
                self.held = Held::Piped(Box::new(pipe));
                self.empty_pipe(cx)
            }
            Poll::Ready(Err(error)) => {
                pipe.give_back();
                match error.raw_os_error().map(Errno::from_raw_os_error) {
                    Some(Errno::INVAL | Errno::NOMEM | Errno::NOBUFS) => {
                        self.can_splice = false;
                        self.state.note(Moved::NoSplice);
                        Poll::Ready(0)
                    }
                    _ => Poll::Ready(self.end(Some(error))),
                }
            }
        }
    }

    fn empty_pipe(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let Held::Piped(pipe) = &mut self.held else { return Poll::Ready(0) };
        let other = self.side.other();
        let mut moved = 0;
        while !pipe.is_empty() && !self.state.is_dead(other) {
            let sent = self.to.poll_call(cx, Interest::WRITABLE, || pipe.drain(self.to));
            self.state.hold(self.side, sent.is_pending());
            match ready!(sent) {
                Ok(n) => {
                    self.state.sent_to(other, n);
                    moved += n;
                }
                Err(error) => self.state.failed(other, &error),
            }
        }
        if let Held::Piped(pipe) = std::mem::replace(&mut self.held, Held::Nothing) {
            pipe.give_back();
        }
        Poll::Ready(moved)
    }

    /// Nothing more will arrive. Passes an end on as FIN; does not pass an error on: a reset will follow. The last FIN is left
    /// to the close, which follows at once.
    fn end(&mut self, error: Option<io::Error>) -> usize {
        let other = self.side.other();
        if let Some(error) = error {
            self.state.failed(self.side, &error);
        }
        let is_last = self.state.has_ended(other) && self.to.closes_with_a_fin();
        if !is_last
            && !self.state.is_dead(self.side)
            && !self.state.is_dead(other)
            && let Err(error) = self.to.shutdown_write()
        {
            self.state.failed(other, &error);
        }
        self.state.ended(self.side);
        0
    }
}

/// Sends to the other side. If it is dead, discards the bytes, so that this direction can still end.
fn send(state: &RelayState<'_>, from: Side, to: &Socket, cx: &mut Context<'_>, data: &[u8]) -> Poll<usize> {
    let other = from.other();
    if state.is_dead(other) {
        return Poll::Ready(data.len());
    }
    let sent = to.poll_send(cx, data);
    state.hold(from, sent.is_pending());
    match ready!(sent) {
        Ok(n) => {
            state.sent_to(other, n);
            Poll::Ready(n)
        }
        Err(error) => {
            state.failed(other, &error);
            Poll::Ready(data.len())
        }
    }
}
