//! What the two directions of a relay know of each other, and how long a reset waits for the data before it.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::ending::Ending;
use super::side::Side;
use super::traffic::{Moved, Traffic};
use crate::model::Timeouts;
use crate::net::Socket;
use crate::net::queue::SendQueue;

/// How long a peer that does not read keeps a reset waiting.
const NOT_READING: Duration = Duration::from_millis(50);
/// The same after a FIN. The side that has sent it had all its data taken by us and may have closed; it then fails only
/// because its kernel has forgotten it, and on a direct connection it would still be sending. Linux gives a closed
/// socket about as long with a peer that does not read (`tcp_orphan_retries`).
const NOT_READING_THE_END: Duration = Duration::from_secs(100);
/// How long a peer that has acknowledged nothing more keeps a reset waiting.
const NOT_ANSWERING: Duration = Duration::from_secs(3);
/// How often the send queue is looked at.
const LOOK: Duration = Duration::from_millis(10);

const ALIVE: u8 = 0;
const RESET: u8 = 1;
const LOST: u8 = 2;

/// One side, as both directions see it.
#[derive(Debug, Default)]
struct SideState {
    /// Alive, reset or lost. Latched: the kernel reports an error once, and then a clean end.
    fate: AtomicU8,
    /// All that this side sent has been given to the other side's kernel, and its FIN too, if it was one.
    ended: AtomicU8,
    /// Bytes of this side wait until the other takes them, and so nobody reads from it.
    held: AtomicBool,
}

/// What the two directions of one relay know of each other. Shared within one task; atomics because a task must be `Send`
/// (tokio), although this one stays on its thread.
#[derive(Debug)]
pub(super) struct RelayState<'a> {
    client: SideState,
    upstream: SideState,
    /// 0: none yet; 1: the client sent FIN first; 2: the upstream.
    first_fin: AtomicU8,
    traffic: &'a Traffic,
    clock: Option<Clock>,
}

/// Notes when the last byte moved. Present only where a timeout asks for it.
#[derive(Debug)]
struct Clock {
    start: Instant,
    /// Milliseconds after `start`.
    last: AtomicU64,
}

impl<'a> RelayState<'a> {
    pub(super) fn new(traffic: &'a Traffic, timeouts: &Timeouts) -> Self {
        let timed = timeouts.idle.is_some() || timeouts.half_close.is_some();
        RelayState {
            client: SideState::default(),
            upstream: SideState::default(),
            first_fin: AtomicU8::new(0),
            traffic,
            clock: timed.then(|| Clock { start: Instant::now(), last: AtomicU64::new(0) }),
        }
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

    /// `side` gave bytes to read.
    pub(super) fn received(&self) {
        self.touch();
    }

    /// The kernel took `n` bytes for `side`.
    pub(super) fn sent_to(&self, side: Side, n: usize) {
        self.traffic.towards(side).fetch_add(n as u64, Ordering::Relaxed);
        self.touch();
    }

    /// What became of bytes.
    pub(super) fn note(&self, moved: Moved) {
        self.traffic.note(moved);
    }

    /// `side` failed. The first error counts.
    pub(super) fn failed(&self, side: Side, error: &io::Error) {
        let fate = match error.kind() {
            // EPIPE: a reset that came when the peer had already sent FIN (tcp_reset() in the kernel). ENOTCONN: what
            // shutdown(2) says after a reset.
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected => RESET,
            _ => LOST,
        };
        // Fails when it is latched already.
        let _ = self.state(side).fate.compare_exchange(ALIVE, fate, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(super) fn is_dead(&self, side: Side) -> bool {
        self.state(side).fate.load(Ordering::Relaxed) != ALIVE
    }

    /// Bytes of `side` wait for the other side, or do so no more.
    pub(super) fn hold(&self, side: Side, held: bool) {
        self.state(side).held.store(held, Ordering::Relaxed);
    }

    /// Whether reading alone would not tell that `side` has died, or has told it already.
    pub(super) fn is_unread(&self, side: Side) -> bool {
        self.is_dead(side) || self.has_ended(side) || self.state(side).held.load(Ordering::Relaxed)
    }

    /// Nothing more will come from `side`, and what came has been handed to the other side.
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

    /// How it ended, once both directions are through and both sides alive. (A side that died: [`RelayState::abandoned`].)
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

    /// Resolves when `side` has failed, and the other's kernel has all that it sent before, or cannot be brought to take
    /// it. Notices also where no one reads from `side`: the relay is blocked writing, or `side` had sent FIN (rules 3
    /// and 5).
    pub(super) async fn abandoned(&self, side: Side, socket: &Socket, other: &Socket) -> Ending {
        // A read or a write may have taken the error before epoll could tell of it. Both happen in this task, so this
        // is looked at again after each.
        let latched = poll_fn(|_| if self.is_dead(side) { Poll::Ready(()) } else { Poll::Pending });
        tokio::select! {
            () = latched => {}
            () = socket.failed() => {}
        }
        let not_reading = if self.has_ended(side) { NOT_READING_THE_END } else { NOT_READING };
        let sent = || self.traffic.towards(side.other()).load(Ordering::Relaxed);
        let delivered = || self.has_ended(side) && unsent(other).held == 0;
        progress(other, not_reading, sent, delivered).await;
        if let Some(error) = socket.take_error() {
            self.failed(side, &error);
        }
        self.ending_of(side)
    }

    /// Resolves when silence has lasted too long.
    pub(super) async fn silent(&self, timeouts: &Timeouts) -> Ending {
        let Some(clock) = &self.clock else { return std::future::pending().await };
        loop {
            let last = clock.start + Duration::from_millis(clock.last.load(Ordering::Relaxed));
            let half_closed = self.first_fin.load(Ordering::Relaxed) != 0;
            let half_close =
                timeouts.half_close.filter(|_| half_closed).map(|t| (last + t, Ending::HalfClose));
            let idle = timeouts.idle.map(|t| (last + t, Ending::Idle));
            let due = [half_close, idle].into_iter().flatten().min_by_key(|(at, _)| *at);
            match due {
                Some((at, ending)) if Instant::now() >= at => return ending,
                Some((at, _)) => sleep_until(self.next_look(at, timeouts, half_closed)).await,
                // Only `half_close`, and no FIN yet: look again after one period, which a FIN then outlasts.
                None => sleep(timeouts.half_close.unwrap_or(Duration::MAX)).await,
            }
        }
    }

    /// When to look again: at `at`, or one half-close period from now, since a FIN may bring the end nearer.
    fn next_look(&self, at: Instant, timeouts: &Timeouts, half_closed: bool) -> Instant {
        match timeouts.half_close {
            Some(period) if !half_closed => at.min(Instant::now() + period),
            _ => at,
        }
    }
}

/// What was written to the socket and is still in our kernel.
pub(super) fn unsent(socket: &Socket) -> SendQueue {
    match socket {
        Socket::Tcp(stream) => SendQueue::of(stream),
        // What a Unix socket has taken is in its peer's queue.
        Socket::Unix(_) => SendQueue::EMPTY,
    }
}

/// Waits for `done`, as long as the peer of `socket` takes what was written: a reset must not overtake data, but need
/// not wait longer than `not_reading` for a peer that does not read. `written` counts what the kernel was given
/// meanwhile.
async fn progress(
    socket: &Socket,
    not_reading: Duration,
    written: impl Fn() -> u64,
    done: impl Fn() -> bool,
) {
    let mut best: Option<i128> = None;
    let mut since = Instant::now();
    while !done() {
        let queue = unsent(socket);
        let taken = i128::from(written()) - i128::from(queue.held);
        if best.is_none_or(|best| taken > best) {
            best = Some(taken);
            since = Instant::now();
        }
        let answers = queue.held == 0 || queue.peer_does_not_read();
        let limit = if answers { not_reading } else { not_reading.max(NOT_ANSWERING) };
        if since.elapsed() >= limit {
            return;
        }
        sleep(LOOK).await;
    }
}
