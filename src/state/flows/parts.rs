//! What the sessions of a listener are told by, and what is said of them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::state::{Bytes, Volume};

/// A session without an answer lives for this part of the idle time,
const ASKING_PART: u32 = 4;
/// and for this at least, where the idle time is not shorter itself.
const ASKING_LEAST: Duration = Duration::from_secs(5);

/// Who a session is between, on one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// The client.
    pub client: SocketAddr,
    /// The address that it has written to, where the listener has several.
    pub local: Option<IpAddr>,
}

/// A session, and no other: a slot that is used again has another turn.
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

/// What a session has shown so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No answer yet.
    Asking,
    /// An answer came. It may have gone to somebody who never asked.
    Answered,
    /// The client has sent again after an answer.
    Settled,
}

/// What a session's route grants it.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Without a datagram in either direction it ends.
    pub idle: Duration,
    /// It ends once each datagram of the client has had so many answers.
    pub replies: Option<u32>,
}

impl Terms {
    /// How long a session without an answer lives.
    pub fn asking(&self) -> Duration {
        (self.idle / ASKING_PART).max(ASKING_LEAST).min(self.idle)
    }
}

/// What went through a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams of the client.
    pub questions: u64,
    /// Datagrams of the upstream.
    pub answers: u64,
    /// What was sent to the upstream.
    pub up: Volume,
    /// The same to the client.
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
    /// Between whom it was.
    pub ends: Ends,
    /// What it had shown.
    pub stage: Stage,
    /// What the caller keeps with it.
    pub state: S,
    /// What went through it.
    pub counts: Counts,
}

/// What a new session may do.
#[derive(Debug)]
pub enum Placement<S> {
    /// It may be opened; this one had to make room.
    Open(Option<Ended<S>>),
    /// There is no room, and nobody may be displaced.
    Full,
}

/// What an answer means for its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It goes on.
    More,
    /// That was the last: every question has all its answers.
    Last,
}
