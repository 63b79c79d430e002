//! The state that all connections and sessions of the process share.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::time::Instant;
use tracing::info;

use super::Record;
use super::access_log::AccessLog;
use super::crowd::Crowd;
use super::late::LateKeepalive;
use super::open_table::OpenTable;
use super::preread::Preread;
use crate::model::{Outcome, Peer};
use crate::proxy::route::{ConnectionLimit, RouteState, SessionLimit};
use crate::state::meter::End;
use crate::state::{ClientKey, Line, LineLimit, Tally};
use crate::tasks::WorkerPool;

/// Made once per process.
#[derive(Debug)]
pub struct Shared {
    /// The workers that serve connections.
    pub workers: WorkerPool,
    /// Where the records of ended connections go.
    pub access_log: AccessLog,
    /// The permits for connections: as many as the descriptors allow, and no more than the file says.
    pub connections: ConnectionLimit,
    /// The same limit for UDP sessions. None are allowed until the server sets it.
    pub sessions: Arc<SessionLimit>,
    /// The connections and sessions that are open now.
    pub open: OpenTable,
    /// Those that are read before they have an upstream.
    pub preread: Arc<Preread>,
    /// Keepalive of the upstreams' sockets.
    pub keepalive: LateKeepalive,
    next_id: AtomicU64,
    /// Random, drawn at the start. With a connection's id it makes a name that no other process uses.
    nonce: AtomicU64,
    killed: AtomicBool,
    crowd: Crowd,
    /// Lines of the access log about those who gave way.
    evicted: LineLimit,
}

impl Shared {
    /// `connections`: how many may be open at once.
    pub fn new(workers: WorkerPool, access_log: AccessLog, connections: usize) -> Self {
        Shared {
            workers,
            access_log,
            connections: ConnectionLimit::new(connections),
            sessions: Arc::default(),
            open: OpenTable::default(),
            preread: Arc::default(),
            keepalive: LateKeepalive::default(),
            next_id: AtomicU64::new(1),
            nonce: AtomicU64::new(fastrand::u64(..)),
            killed: AtomicBool::new(false),
            crowd: Crowd::default(),
            evicted: LineLimit::default(),
        }
    }

    /// From now on a connection whose task is ended counts as killed, not as drained.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
    }

    /// Whether [`Shared::kill`] was called.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    /// Whether a client may have one more connection. While few places are left that is so if it has fewer than that, so
    /// the last ones are for those who have few: whoever holds most is refused first. What is open is not cut. Until then it
    /// costs two loads.
    pub fn has_room_for(&self, client: &Peer) -> bool {
        match (self.connections.few_left(), client.ip()) {
            (Some(left), Some(ip)) => self.crowd.takes_one_more(&self.open, ClientKey::of(ip), left),
            _ => true,
        }
    }

    /// Gives connections their keepalive in time. Never returns.
    pub async fn keep_alive(&self) {
        self.keepalive.sweep(&self.open).await;
    }

    /// A name that no other connection of any process has. It ends with the `id` of the access log.
    pub fn unique_id(&self, id: u64) -> String {
        format!("{:016x}-{id}", self.nonce())
    }

    /// The id of the connection that was accepted last. 0: none was.
    pub fn newest_id(&self) -> u64 {
        self.next_id.load(Ordering::Relaxed) - 1
    }

    /// Random, drawn at the first start.
    pub fn nonce(&self) -> u64 {
        self.nonce.load(Ordering::Relaxed)
    }

    /// Begins after this id: another process, with this nonce, has used those before it.
    pub fn begin_after(&self, id: u64, nonce: u64) {
        self.next_id.fetch_max(id.saturating_add(1), Ordering::Relaxed);
        self.nonce.store(nonce, Ordering::Relaxed);
    }

    /// The next id. No other connection of this process has it.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Files an ended connection: in the meters, and its record in the access log, if there is one. The connection must have
    /// left [`Shared::open`] before, or its bytes would be counted twice.
    ///
    /// Whoever connects can make others give way, or give way herself, as often as she likes: of those the access log has a
    /// bounded number of lines. All are counted.
    pub fn file(
        &self,
        end: &End,
        state: &RouteState,
        tally: Option<&Tally>,
        record: impl FnOnce() -> Record,
    ) {
        state.meter().closed(end);
        if let Some(tally) = tally {
            tally.closed(end.bytes);
        }
        if !self.access_log.is_on() {
            return;
        }
        let mut record = record();
        if end.outcome != Outcome::Evicted || self.passes(&mut record) {
            self.access_log.write(&record);
        }
    }

    /// Whether the access log has a line of this client that gave way. The line says how many before it have none.
    fn passes(&self, record: &mut Record) -> bool {
        match self.evicted.next(Instant::now().into_std()) {
            Line::Passes(0) => {}
            Line::Passes(more) => {
                let detail = record.detail.get_or_insert_default();
                let semicolon = if detail.is_empty() { "" } else { "; " };
                // Writing to a string cannot fail.
                let _ = write!(detail, "{semicolon}{more} more that gave way before it have no line here");
            }
            Line::KeptBack { first } => {
                if first {
                    info!(
                        "many clients give way to others: from now on the access log has lines of some, and all are counted"
                    );
                }
                return false;
            }
        }
        true
    }
}
