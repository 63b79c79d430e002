//! State that the two directions of a relay share, and how long a reset waits for the data before it.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::ending::Ending;
use super::halfway::{HalfFlow, Halfway};
use super::side::{Side, Sockets};
use super::traffic::{Moved, Traffic};
use crate::model::Timeouts;
use crate::net::Socket;
use crate::net::queue::SendQueue;

/// How long a reset waits for a peer that does not read.
const NOT_READING: Duration = Duration::from_millis(50);
/// The same after a FIN. We have taken all data of the side that sent it, and it may have closed; it then fails only
/// because its kernel has forgotten the connection, and on a direct connection it would still be sending. Linux gives a
/// closed socket about as long with a peer that does not read (`tcp_orphan_retries`).
const NOT_READING_THE_END: Duration = Duration::from_secs(100);
/// How long a reset waits for a peer that acknowledges nothing more.
const NOT_ANSWERING: Duration = Duration::from_secs(3);
/// Time between two looks at the send queue, or at what the runtime has not reported yet.
const LOOK: Duration = Duration::from_millis(10);
/// How many looks an expired timeout waits for the runtime to report what the sockets have.
const LOOKS: u32 = 300;

const ALIVE: u8 = 0;
const RESET: u8 = 1;
const LOST: u8 = 2;

/// One side, as both directions see it.
#[derive(Debug, Default)]
struct SideState {
    /// Alive, reset or lost. Latched: the kernel reports an error once, and then a clean end.
    fate: AtomicU8,
    /// 1 once our kernel has taken everything that this side sent, and its FIN, if it sent one, for the other side.
    ended: AtomicU8,
    /// Bytes of this side wait until the other side takes them, so nobody reads from it.
    held: AtomicBool,
}

/// State that the two directions of one relay share. It stays within one task; the atomics are there because tokio
/// wants a task to be `Send`, although this one never leaves its thread.
#[derive(Debug)]
pub(super) struct RelayState<'a> {
    client: SideState,
    upstream: SideState,
    /// 0: none yet; 1: the client sent FIN first; 2: the upstream.
    first_fin: AtomicU8,
    traffic: &'a Traffic,
    clock: Option<Clock>,
}

/// Notes when the last byte moved. Exists only if a timeout needs it.
#[derive(Debug)]
struct Clock {
    start: Instant,
    /// Milliseconds after `start`.
    last: AtomicU64,
}

impl<'a> RelayState<'a> {
    /// Of a relay that begins, or goes on from `half`.
    pub(super) fn new(traffic: &'a Traffic, timeouts: &Timeouts, half: Option<&Halfway>) -> Self {
        let timed = timeouts.idle.is_some() || timeouts.half_close.is_some();
        let start = || {
            let now = Instant::now();
            half.and_then(|half| now.checked_sub(half.silent)).unwrap_or(now)
        };
        let side = |flow: usize| match half.and_then(|half| half.flows.get(flow)) {
            None => SideState::default(),
            Some(flow) => SideState {
                fate: AtomicU8::new(flow.fate),
                ended: AtomicU8::new(u8::from(flow.ended)),
                held: AtomicBool::new(false),
            },
        };
        RelayState {
            client: side(0),
            upstream: side(1),
            first_fin: AtomicU8::new(half.map_or(0, |half| half.first_fin)),
            traffic,
            clock: timed.then(|| Clock { start: start(), last: AtomicU64::new(0) }),
        }
    }

    /// What the relay is between two turns, beside what its flows hold: the client's first.
    pub(super) fn halfway(&self, flows: [HalfFlow; 2]) -> Box<Halfway> {
        let silent = self.clock.as_ref().map_or(Duration::ZERO, |clock| {
            clock.start.elapsed().saturating_sub(Duration::from_millis(clock.last.load(Ordering::Relaxed)))
        });
        let [client, upstream] = flows;
        let of = |side: &SideState, flow: HalfFlow| HalfFlow {
            fate: side.fate.load(Ordering::Relaxed),
            ended: side.ended.load(Ordering::Relaxed) != 0,
            ..flow
        };
        let flows = [of(&self.client, client), of(&self.upstream, upstream)];
        Box::new(Halfway { flows, first_fin: self.first_fin.load(Ordering::Relaxed), silent })
    }

    /// Whether the relay is to pause.
    pub(super) fn is_to_pause(&self) -> bool {
        self.traffic.is_to_pause()
    }

    /// Whether it pauses after this turn. `settled`: whether it could.
    pub(super) fn pauses(&self, settled: bool) -> bool {
        self.traffic.pauses(settled)
    }

    fn state(&self, side: Side) -> &SideState {
        match side {
            Side::Client => &self.client,
            Side::Upstream => &self.upstream,
        }
    }

    fn touch(&self) {
        if let Some(clock) = &self.clock {
            let now = u64::try_from(clock.start.elapsed().as_millis()).unwrap_or(u64::MAX);
            clock.last.store(now, Ordering::Relaxed);
        }
    }

    /// Notes that bytes were read.
    pub(super) fn received(&self) {
        self.touch();
    }

    /// Counts `n` bytes that the kernel took for `side`.
    pub(super) fn sent_to(&self, side: Side, n: usize) {
        self.traffic.towards(side).fetch_add(n as u64, Ordering::Relaxed);
        self.touch();
    }

    /// Notes how bytes were moved.
    pub(super) fn note(&self, moved: Moved) {
        self.traffic.note(moved);
    }

    /// Latches the failure of `side`. The first error counts.
    pub(super) fn failed(&self, side: Side, error: &io::Error) {
        let fate = match error.kind() {
            // EPIPE: a reset after the peer had already sent FIN (tcp_reset() in the kernel). ENOTCONN: shutdown(2)
            // after a reset.
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected => RESET,
            _ => LOST,
        };
        // Fails if an earlier error is latched.
        let _ = self.state(side).fate.compare_exchange(ALIVE, fate, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(super) fn is_dead(&self, side: Side) -> bool {
        self.state(side).fate.load(Ordering::Relaxed) != ALIVE
    }

    /// Sets whether bytes of `side` wait for the other side to take them.
    pub(super) fn hold(&self, side: Side, held: bool) {
        self.state(side).held.store(held, Ordering::Relaxed);
    }

    /// Whether reads alone would not notice the death of `side`, or have noticed it already.
    pub(super) fn is_unread(&self, side: Side) -> bool {
        self.is_dead(side) || self.has_ended(side) || self.state(side).held.load(Ordering::Relaxed)
    }

    /// Notes that nothing more will arrive from `side`, and that everything before was handed to the other side.
    pub(super) fn ended(&self, side: Side) {
        self.state(side).ended.store(1, Ordering::Relaxed);
        let first = if side == Side::Client { 1 } else { 2 };
        let _ = self.first_fin.compare_exchange(0, first, Ordering::Relaxed, Ordering::Relaxed);
        self.touch();
    }

    pub(super) fn has_ended(&self, side: Side) -> bool {
        self.state(side).ended.load(Ordering::Relaxed) != 0
    }

    /// A number that changes with every byte that moves, and with every FIN.
    pub(super) fn progress(&self) -> u64 {
        let bytes = self.traffic.bytes();
        let ended = [Side::Client, Side::Upstream].map(|side| u64::from(self.has_ended(side)));
        bytes.up + bytes.down + ended[0] + ended[1]
    }

    /// Whether no byte of the client has reached the upstream, before the relay or since.
    pub(super) fn has_sent_nothing_up(&self) -> bool {
        self.traffic.bytes().up == 0
    }

    /// How the connection ended, once both directions have ended and both sides are alive. (For a dead side see
    /// [`RelayState::abandoned`].)
    pub(super) fn verdict(&self) -> Option<Ending> {
        let sides = [Side::Client, Side::Upstream];
        if sides.iter().any(|&side| self.is_dead(side) || !self.has_ended(side)) {
            return None;
        }
        let first = if self.first_fin.load(Ordering::Relaxed) == 2 { Side::Upstream } else { Side::Client };
        Some(Ending::Closed(first))
    }

    fn ending_of(&self, side: Side) -> Ending {
        match self.state(side).fate.load(Ordering::Relaxed) {
            LOST => Ending::Lost(side),
            _ => Ending::Reset(side),
        }
    }

    /// Resolves when `side` has failed, and the other side's kernel has everything that `side` sent before, or does not
    /// take it. Also notices a failure while nobody reads from `side`: the relay is blocked writing, or `side` has sent
    /// FIN (rules 3 and 5).
    pub(super) async fn abandoned(&self, side: Side, socket: &Socket, other: &Socket) -> Ending {
        // A read or a write may take the error before epoll reports it. Both happen in this task, so this is polled
        // again after each.
        let latched = poll_fn(|_| if self.is_dead(side) { Poll::Ready(()) } else { Poll::Pending });
        tokio::select! {
            () = latched => {}
            () = socket.failed() => {}
        }
        let not_reading = if self.has_ended(side) { NOT_READING_THE_END } else { NOT_READING };
        let sent = || self.traffic.towards(side.other()).load(Ordering::Relaxed);
        let delivered = || self.has_ended(side) && unsent(other).held == 0;
        progress(other, not_reading, sent, delivered).await;
        if !self.is_dead(side)
            && let Some(error) = socket.take_error()
        {
            self.failed(side, &error);
        }
        self.ending_of(side)
    }

    /// Resolves when the idle or the half-close timeout is over. Never, if neither is set. After a pause of the process
    /// (see `deadline`) it first lets the relay move what the sockets have.
    pub(super) async fn silent(&self, timeouts: &Timeouts, sockets: Sockets<'_>) -> Ending {
        let Some(clock) = &self.clock else { return std::future::pending().await };
        let mut looks = 0;
        loop {
            let last = clock.start + Duration::from_millis(clock.last.load(Ordering::Relaxed));
            let half_closed = self.first_fin.load(Ordering::Relaxed) != 0;
            let half_close =
                timeouts.half_close.filter(|_| half_closed).map(|t| (last + t, Ending::HalfClose));
            let idle = timeouts.idle.map(|t| (last + t, Ending::Idle));
            let due = [half_close, idle].into_iter().flatten().min_by_key(|(at, _)| *at);
            match due {
                Some((at, _)) if Instant::now() < at => {
                    looks = 0;
                    sleep_until(self.next_look(at, timeouts, half_closed)).await;
                }
                Some((_, ending)) if looks == LOOKS || !sockets.have_unseen() => return ending,
                Some(_) => {
                    looks += 1;
                    sleep(LOOK).await;
                }
                // Only `half_close` is set, and there is no FIN yet: look again after one period. A FIN within it has
                // its end later.
                None => sleep(timeouts.half_close.unwrap_or(Duration::MAX)).await,
            }
        }
    }

    /// When to look again: at `at`, or one half-close period from now if that is earlier, since a FIN may bring the end
    /// nearer.
    fn next_look(&self, at: Instant, timeouts: &Timeouts, half_closed: bool) -> Instant {
        match timeouts.half_close {
            Some(period) if !half_closed => at.min(Instant::now() + period),
            _ => at,
        }
    }
}

/// The bytes that were written to the socket and are still in our kernel.
pub(super) fn unsent(socket: &Socket) -> SendQueue {
    match socket {
        Socket::Tcp(stream) => SendQueue::of(stream),
        // What a Unix socket has taken is in its peer's queue.
        Socket::Unix(_) => SendQueue::EMPTY,
    }
}

/// Waits for `done` as long as the peer of `socket` takes what was written: a reset must not overtake data, but waits
/// no longer than `not_reading` for a peer that does not read. `written` counts the bytes that the kernel was given.
async fn progress(
    socket: &Socket,
    not_reading: Duration,
    written: impl Fn() -> u64,
    done: impl Fn() -> bool,
) {
    let mut best: Option<i128> = None;
    // Counts looks, not time: a peer cannot read while the machine stands still.
    let mut waited = Duration::ZERO;
    while !done() {
        let queue = unsent(socket);
        let taken = i128::from(written()) - i128::from(queue.held);
        if best.is_none_or(|best| taken > best) {
            best = Some(taken);
            waited = Duration::ZERO;
        }
        let answers = queue.held == 0 || queue.peer_does_not_read();
        let limit = if answers { not_reading } else { not_reading.max(NOT_ANSWERING) };
        if waited >= limit {
            return;
        }
        sleep(LOOK).await;
        waited += LOOK;
    }
}
