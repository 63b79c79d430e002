//! What is known of a connection: while it is open ([`OpenConnection`]), and when it has ended ([`Record`]): one value,
//! which the access log, the metrics and `status` read.

mod access_log;
mod guard;
mod open;
mod shared;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use access_log::{AccessLog, line};
pub use guard::{ListenerEnd, RecordGuard};
pub use open::{Connected, Known, OpenConnection, OpenTable, SessionSignal};
pub use shared::Shared;

use crate::model::{DataPath, ListenAddr, Outcome, Peer, Route};
use crate::state::Bytes;

/// One connection, after its end.
#[derive(Clone, Debug)]
pub struct Record {
    /// Unique in this process.
    pub id: u64,
    /// When it was accepted.
    pub started: SystemTime,
    /// The route that served it.
    pub route: Arc<Route>,
    /// Where it came in.
    pub listener: Arc<ListenAddr>,
    /// Who came.
    pub client: Peer,
    /// The upstream that it had.
    pub upstream: Option<Connected>,
    /// How it ended.
    pub outcome: Outcome,
    /// What else there is to say: which candidates failed, and why.
    pub detail: Option<String>,
    /// Bytes that were sent.
    pub bytes: Bytes,
    /// Of a UDP session: datagrams that were sent.
    pub datagrams: Option<Datagrams>,
    /// From accept to a connected upstream.
    pub connect: Option<Duration>,
    /// From accept to the end.
    pub duration: Duration,
    /// How its bytes were moved.
    pub path: DataPath,
}

/// Datagrams, by their direction.
#[derive(Clone, Copy, Debug)]
pub struct Datagrams {
    /// From the client to the upstream.
    pub up: u64,
    /// From the upstream to the client.
    pub down: u64,
}
