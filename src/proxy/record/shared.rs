//! The state that all connections and sessions of the process share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Record;
use super::access_log::AccessLog;
use super::late::LateKeepalive;
use super::open::OpenTable;
use crate::proxy::route::{ConnectionLimit, RouteState, SessionLimit};
use crate::state::Tally;
use crate::state::meter::End;
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
    /// Keepalive of the upstreams' sockets.
    pub keepalive: LateKeepalive,
    next_id: AtomicU64,
    /// Random, drawn at the start. With a connection's id it makes a name that no other process uses.
    nonce: u64,
    killed: AtomicBool,
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
            keepalive: LateKeepalive::default(),
            next_id: AtomicU64::new(1),
            nonce: fastrand::u64(..),
            killed: AtomicBool::new(false),
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

    /// Gives connections their keepalive in time. Never returns.
    pub async fn keep_alive(&self) {
        self.keepalive.sweep(&self.open).await;
    }

    /// A name that no other connection of any process has. It ends with the `id` of the access log.
    pub fn unique_id(&self, id: u64) -> String {
        format!("{:016x}-{id}", self.nonce)
    }

    /// The next id. No other connection of this process has it.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Files the record of an ended connection: in the meters and in the access log. The connection must have left
    /// [`Shared::open`] before, or its bytes would be counted twice.
    pub fn file(&self, record: &Record, state: &RouteState, tally: Option<&Tally>) {
        let Record { outcome, connect, duration, bytes, .. } = *record;
        state.meter().closed(&End { outcome, bytes, connect, duration });
        if let Some(tally) = tally {
            tally.closed(bytes);
        }
        self.access_log.write(record);
    }
}
