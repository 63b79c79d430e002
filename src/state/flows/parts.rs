//! What sessions are made of: their ends, terms, stages and counts.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::state::{Bytes, Volume};

/// A session without an answer lives for the idle time divided by this.
const ASKING_PART: u32 = 4;
/// It lives at least this long, unless the idle time is shorter.
const ASKING_LEAST: Duration = Duration::from_secs(5);

/// The two ends of a session on one listener, which identify it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// The address that the client sends from.
    pub client: SocketAddr,
    /// The address that the client has sent to. Both in the form that they have on every socket: IPv4 is never mapped.
    pub local: IpAddr,
}

/// The id of one session only: a slot that is reused has another turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowId {
    pub(super) index: u32,
    pub(super) turn: u32,
}

impl From<FlowId> for u64 {
    fn from(id: FlowId) -> u64 {
        u64::from(id.turn) << 32 | u64::from(id.index)
    }
}

impl From<u64> for FlowId {
    fn from(id: u64) -> FlowId {
        // Both halves fit.
        FlowId { index: (id & 0xffff_ffff) as u32, turn: (id >> 32) as u32 }
    }
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No answer yet.
    Asking,
    /// An answer came. It may have gone to somebody who never asked.
    Answered,
}

/// After how many answers its client must have gone on for a session to be proven.
const TURNS: u8 = 2;
/// For how long it must have done so. A flood of made-up senders would have to keep each of them alive so long.
const SPAN: Duration = Duration::from_millis(500);

/// What speaks for a client that hears us. UDP has no handshake: anybody can write in anybody's name, and see no answer. Who
/// goes on after an answer, and again, and not only in one burst, most likely hears them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    pub began: Instant,
    pub turns: u8,
    pub proven: bool,
}

impl Evidence {
    pub(super) fn none(now: Instant) -> Evidence {
        Evidence { began: now, turns: 0, proven: false }
    }

    /// Notes that the client goes on after an answer. Returns whether that proves the session, which happens once.
    pub(super) fn goes_on(&mut self, now: Instant) -> bool {
        self.turns = self.turns.saturating_add(1);
        let proves = !self.proven && self.turns >= TURNS && now.saturating_duration_since(self.began) >= SPAN;
        self.proven |= proves;
        proves
    }
}

/// What a session's route grants it.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The session ends after this long without a datagram in either direction.
    pub idle: Duration,
    /// The session ends once each datagram of the client has had this many answers. `None`: never for that reason.
    pub replies: Option<u32>,
}

impl Terms {
    /// How long a session without an answer lives.
    pub fn asking(&self) -> Duration {
        (self.idle / ASKING_PART).max(ASKING_LEAST).min(self.idle)
    }

    /// How long a session of this stage may be silent.
    pub(super) fn life(&self, stage: Stage) -> Duration {
        if stage == Stage::Asking { self.asking() } else { self.idle }
    }
}

/// What went through a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams that came from the client.
    pub questions: u64,
    /// Datagrams that came from the upstream.
    pub answers: u64,
    /// Datagrams that were sent to the upstream.
    pub up: Volume,
    /// Datagrams that were sent to the client.
    pub down: Volume,
    /// Datagrams that could not be passed on.
    pub dropped: u64,
}

impl Counts {
    /// Bytes that were sent, both ways.
    pub fn bytes(&self) -> Bytes {
        Bytes { up: self.up.bytes, down: self.down.bytes }
    }
}

/// A session that has ended.
#[derive(Debug)]
pub struct Ended<S> {
    /// Its two ends.
    pub ends: Ends,
    /// The stage it had reached.
    pub stage: Stage,
    /// The caller's state.
    pub state: S,
    /// What went through it.
    pub counts: Counts,
}

/// A question of a known session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its session.
    pub id: FlowId,
    /// The upstream has answered before, and since then the client has waited for the idle time or longer.
    pub forsaken: bool,
    /// With it the client has shown for the first time that it hears us.
    pub proves: bool,
}

/// What answers mean for their session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How many of them the client gets: no more than it has asked for.
    pub passes: u64,
    /// Every question has all its answers: the session must end.
    pub last: bool,
}
