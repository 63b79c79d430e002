//! What is known about a connection while it is open ([`OpenConnection`]) and after its end ([`Record`]). The access
//! log, the metrics and `status` all read these.

mod access_log;
mod crowd;
mod guard;
mod known;
mod late;
mod local;
mod moving;
mod open;
mod open_table;
mod paused;
mod preread;
mod shared;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use access_log::{AccessLog, line};
pub use guard::{ListenerEnd, RecordGuard};
pub use known::{Connected, Known};
pub use local::local_of;
pub use open::{OpenConnection, SessionSignal};
pub use open_table::OpenTable;
pub use paused::{Offer, Verdict};
pub use preread::{Preread, PrereadPlace};
pub use shared::Shared;

use crate::model::{DataPath, ListenAddr, Outcome, Peer, Route};
use crate::state::Bytes;

/// One connection or UDP session, after its end.
#[derive(Clone, Debug)]
pub struct Record {
    /// Unique in this process.
    pub id: u64,
    /// When it ended, by the wall clock.
    pub ended: SystemTime,
    /// The route that served it.
    pub route: Arc<Route>,
    /// The address of the listener that accepted it.
    pub listener: Arc<ListenAddr>,
    /// The peer that connected, or the client that its PROXY header named.
    pub client: Peer,
    /// The upstream that it was connected to. `None`: none connected.
    pub upstream: Option<Connected>,
    /// Our own end towards the upstream. `None`: none connected, or a Unix socket.
    pub local: Option<Peer>,
    /// How it ended.
    pub outcome: Outcome,
    /// Details beside the outcome, such as which candidates failed and why.
    pub detail: Option<String>,
    /// Bytes that were sent.
    pub bytes: Bytes,
    /// Datagrams that were sent. `None`: not a UDP session.
    pub datagrams: Option<Datagrams>,
    /// Time from the first attempt to a connected upstream. `None`: none connected, or a UDP session.
    pub connect: Option<Duration>,
    /// Time from accept to the end.
    pub duration: Duration,
    /// How its bytes were moved. [`DataPath::None`] without an upstream.
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
