//! The path for connections with TLS on at least one side, or with a bandwidth limit. Bytes are decrypted and encrypted
//! in buffers that the connections of a thread share. A connection itself keeps only what the other side has not taken
//! yet, and the beginning of a record.
//!
//! `close_notify` is the FIN of TLS. Many peers end with FIN alone (RFC 9112, section 9.8, tells what that means for
//! HTTP). Such an end goes on as it came: FIN, without `close_notify` of ours, so that a peer with TLS can tell.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;
use tokio::task::yield_now;

use super::bound::Bound;
use super::ending::Ending;
use super::halfway::{HalfFlow, Halfway, Held};
use super::rules::RelayRules;
use super::side::{Side, Streams};
use super::state::RelayState;
use super::supervise::supervise;
use super::traffic::{Moved, Traffic};
use crate::net::tls::{OutBuf, Session, TlsError};
use crate::net::{Socket, StreamRef};

/// Most bytes of one read: a few TLS records, which have 16 KiB and a little more each.
const READ: usize = 64 * 1024;
/// Bytes that a direction moves before it yields the thread.
const TURN: usize = READ;

/// The buffers that the connections of a thread share.
struct Shared {
    /// Bytes as read from a socket with TLS: kept records first, then new ones.
    raw: Vec<u8>,
    /// Plain bytes.
    carried: OutBuf,
    /// Encrypted records, ready to send.
    sealed: OutBuf,
}

thread_local! {
    static SHARED: RefCell<Shared> = RefCell::new(Shared {
        raw: vec![0; READ],
        carried: OutBuf::default(),
        sealed: OutBuf::default(),
    });
}

/// Moves bytes until the connection has ended, no faster than the bandwidth limits allow. Without TLS it may be made to pause.
pub(super) async fn run(
    streams: Streams<'_>,
    rules: &RelayRules<'_>,
    traffic: &Traffic,
    from: Option<Box<Halfway>>,
) -> Result<Ending, Box<Halfway>> {
    let state = RelayState::new(traffic, rules.timeouts, from.as_deref());
    state.note(if streams.has_tls() { Moved::Layered } else { Moved::Copied });
    let sockets = streams.sockets();
    let [up, down] = from.map(|half| half.flows).unwrap_or_default();
    let bounds = (Bound::new(rules.bandwidth.up, up.tokens), Bound::new(rules.bandwidth.down, down.tokens));
    // What one side has sent, the other has not taken yet.
    let mut client = End::new(Side::Client, streams.client, bounds.0).holding(down.held);
    let mut upstream = End::new(Side::Upstream, streams.upstream, bounds.1).holding(up.held);
    let ended = supervise(&state, sockets, rules.timeouts, |cx| {
        turn(&mut client, &mut upstream, cx, &state);
        turn(&mut upstream, &mut client, cx, &state);
        // Reading may have produced records in return, such as a key update or tickets.
        let _ = client.flush(cx, &state);
        let _ = upstream.flush(cx, &state);
        true
    })
    .await;
    ended.ok_or_else(|| state.halfway([client.half(&mut upstream), upstream.half(&mut client)]))
}

/// One side of the connection, with what is still to be sent to it.
struct End<'a> {
    side: Side,
    socket: &'a Socket,
    session: Option<&'a mut Session>,
    /// The bandwidth limit on reads from this side.
    bound: Bound,
    rest: Rest,
    /// Nothing more is to be read from this side: it has ended or failed.
    is_read: bool,
    /// The end of the other side is queued behind what is to be sent.
    is_ending: bool,
}

/// Bytes to send that the socket has not taken yet.
#[derive(Default)]
struct Rest {
    bytes: Vec<u8>,
    sent: usize,
    /// Plain bytes in it that are not counted as traffic yet.
    owed: usize,
}

/// Moves what can be moved now, up to one [`TURN`].
fn turn(from: &mut End<'_>, to: &mut End<'_>, cx: &mut Context<'_>, state: &RelayState<'_>) {
    let mut moved = 0;
    while !state.has_ended(from.side) && moved < TURN {
        match step(from, to, cx, state) {
            Poll::Ready(n) => moved += n,
            Poll::Pending => return,
        }
    }
    if moved >= TURN {
        // As in `plain`: if we woke ourselves, tokio would look at the other sockets too seldom.
        let _ = pin!(yield_now()).poll(cx);
    }
}

/// Reads once and sends what it read. Ready with the number of bytes read; pending until a socket becomes ready.
fn step(from: &mut End<'_>, to: &mut End<'_>, cx: &mut Context<'_>, state: &RelayState<'_>) -> Poll<usize> {
    let flushed = to.flush(cx, state);
    state.hold(from.side, flushed.is_pending());
    ready!(flushed);
    if from.is_read {
        ready!(pass_end(from, to, cx, state));
        return Poll::Ready(0);
    }
    SHARED.with_borrow_mut(|shared| {
        let Shared { raw, carried, sealed } = shared;
        carried.clear();
        let n = match ready!(from.read(cx, raw, carried)) {
            Ok(0) => {
                from.is_read = true;
                0
            }
            Ok(n) => n,
            Err(error) => {
                state.failed(from.side, &error);
                from.is_read = true;
                0
            }
        };
        if n > 0 {
            state.received();
        }
        if !carried.filled().is_empty() {
            to.send(carried.filled(), sealed, cx, state);
            state.hold(from.side, !to.rest.is_empty());
        }
        Poll::Ready(n)
    })
}

/// Passes an end on as an end. Does not pass an error on: a reset will follow.
fn pass_end(from: &End<'_>, to: &mut End<'_>, cx: &mut Context<'_>, state: &RelayState<'_>) -> Poll<()> {
    if !state.is_dead(from.side) && !state.is_dead(to.side) {
        if !std::mem::replace(&mut to.is_ending, true) && from.has_announced_its_end() {
            to.seal_end(state);
        }
        ready!(to.flush(cx, state));
        if !state.is_dead(to.side)
            && let Err(error) = to.socket.shutdown_write()
        {
            state.failed(to.side, &error);
        }
    }
    state.ended(from.side);
    Poll::Ready(())
}

impl<'a> End<'a> {
    fn new(side: Side, leg: StreamRef<'a>, bound: Bound) -> Self {
        let StreamRef { socket, session } = leg;
        End { side, socket, session, bound, rest: Rest::default(), is_read: false, is_ending: false }
    }

    /// The same with bytes that it has not taken yet.
    fn holding(mut self, held: Held) -> Self {
        let bytes = held.into_bytes();
        self.rest = Rest { owed: bytes.len(), bytes, sent: 0 };
        self
    }

    /// What it sends, between two turns. An end that it has sent and that was not passed on is read again.
    fn half(&self, to: &mut End<'_>) -> HalfFlow {
        let rest = std::mem::take(&mut to.rest);
        let held = Held::bytes(rest.bytes.get(rest.sent..).unwrap_or_default().to_vec());
        HalfFlow { held, tokens: self.bound.tokens(), ..HalfFlow::default() }
    }

    /// Reads once and decrypts what it read. Returns 0 at an end.
    fn read(
        &mut self,
        cx: &mut Context<'_>,
        raw: &mut Vec<u8>,
        carried: &mut OutBuf,
    ) -> Poll<io::Result<usize>> {
        let Some(session) = &mut self.session else {
            let room = ready!(self.bound.poll_room(cx, READ));
            let mut buf = ReadBuf::new(carried.room(READ).get_mut(..room).unwrap_or_default());
            let n = ready!(self.socket.poll_recv(cx, &mut buf))?;
            carried.advance(n);
            self.bound.take(n);
            return Poll::Ready(Ok(n));
        };
        let fresh = session.holds_bytes();
        let kept = session.kept();
        if raw.len() < kept + READ {
            raw.resize(kept + READ, 0);
        }
        let n = if fresh {
            0
        } else {
            let room = ready!(self.bound.poll_room(cx, READ));
            let mut buf = ReadBuf::new(raw.get_mut(kept..kept + room).unwrap_or_default());
            let n = ready!(self.socket.poll_recv(cx, &mut buf))?;
            self.bound.take(n);
            if n == 0 {
                session.fails(TlsError::NoCloseNotify);
                return Poll::Ready(Ok(0));
            }
            n
        };
        session.put_back(raw);
        let mut answers = OutBuf::default();
        let opened = session.open(raw.get_mut(..kept + n).unwrap_or_default(), carried, &mut answers);
        self.rest.bytes.extend_from_slice(answers.filled());
        match opened {
            Ok(()) if session.has_ended() => {
                self.is_read = true;
                // Not 0, which is an end: there may be bytes before it.
                Poll::Ready(Ok(n.max(1)))
            }
            Ok(()) => Poll::Ready(Ok(n.max(1))),
            Err(error) => {
                session.fails(TlsError::Tls(error));
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
        }
    }

    /// Sends plain bytes; nothing else may be waiting to be sent. Keeps what the socket does not take.
    fn send(&mut self, carried: &[u8], sealed: &mut OutBuf, cx: &mut Context<'_>, state: &RelayState<'_>) {
        if state.is_dead(self.side) {
            return;
        }
        self.rest.owed += carried.len();
        let bytes = match &mut self.session {
            None => carried,
            Some(session) => {
                sealed.clear();
                if let Err(error) = session.seal(carried, sealed) {
                    session.fails(TlsError::Tls(error));
                    state.failed(self.side, &io::ErrorKind::ConnectionReset.into());
                    return;
                }
                sealed.filled()
            }
        };
        let mut sent = 0;
        while let Some(left @ [_, ..]) = bytes.get(sent..) {
            match self.socket.poll_send(cx, left) {
                Poll::Ready(Ok(n)) => {
                    self.rest.count(n, self.side, state);
                    sent += n;
                }
                Poll::Ready(Err(error)) => return state.failed(self.side, &error),
                Poll::Pending => return self.rest.bytes.extend_from_slice(left),
            }
        }
    }

    /// Whether the end of this side is one that nobody on the way can forge: with TLS, `close_notify`. A plain socket has
    /// no more than its FIN.
    fn has_announced_its_end(&self) -> bool {
        self.session.as_ref().is_none_or(|session| session.has_ended())
    }

    /// Queues `close_notify` behind what is to be sent.
    fn seal_end(&mut self, state: &RelayState<'_>) {
        let Some(session) = &mut self.session else { return };
        let mut out = OutBuf::default();
        match session.seal_end(&mut out) {
            Ok(()) => self.rest.bytes.extend_from_slice(out.filled()),
            Err(error) => {
                session.fails(TlsError::Tls(error));
                state.failed(self.side, &io::ErrorKind::ConnectionReset.into());
            }
        }
    }

    /// Sends what is waiting. Discards bytes for a dead side, so that the other direction can still end.
    fn flush(&mut self, cx: &mut Context<'_>, state: &RelayState<'_>) -> Poll<()> {
        while let Some(left @ [_, ..]) = self.rest.bytes.get(self.rest.sent..) {
            if state.is_dead(self.side) {
                break;
            }
            match ready!(self.socket.poll_send(cx, left)) {
                Ok(n) => {
                    self.rest.sent += n;
                    self.rest.count(n, self.side, state);
                }
                Err(error) => state.failed(self.side, &error),
            }
        }
        if !self.rest.bytes.is_empty() {
            self.rest = Rest::default();
        }
        Poll::Ready(())
    }
}

impl Rest {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Counts `n` bytes that the kernel took. Records are longer than their plain bytes, so none of these stays
    /// uncounted.
    fn count(&mut self, n: usize, side: Side, state: &RelayState<'_>) {
        let carried = n.min(self.owed);
        self.owed -= carried;
        state.sent_to(side, carried);
    }
}
