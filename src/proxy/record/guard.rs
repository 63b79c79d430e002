//! The guard that makes the [`Record`] of a connection, whatever ends its task.

use std::sync::Arc;

use super::Record;
use super::open::{Connected, OpenConnection};
use super::shared::Shared;
use crate::model::{DataPath, ListenAddr, Outcome, Peer};
use crate::net::Socket;
use crate::net::relay::Traffic;
use crate::proxy::route::LiveRoute;
use crate::state::Tally;

/// So many failed attempts are named; the others are counted.
const ERRORS_SHOWN: u32 = 8;

/// A connection in the making. Its drop makes the [`Record`], also where the task was ended or has panicked.
#[derive(Debug)]
pub struct RecordGuard {
    shared: Arc<Shared>,
    open: Arc<OpenConnection>,
}

/// Our end of a client's connection.
#[derive(Debug)]
pub struct ListenerEnd<'a> {
    /// Where the client came in.
    pub addr: &'a Arc<ListenAddr>,
    /// Its socket.
    pub socket: &'a Arc<Socket>,
}

impl RecordGuard {
    /// Of a client that nobody has refused. It belongs to `owner` until [`RecordGuard::routed`].
    pub fn open(
        shared: &Arc<Shared>,
        owner: Arc<LiveRoute>,
        listener: ListenerEnd<'_>,
        client: Peer,
    ) -> Self {
        let open = OpenConnection::new(shared.next_id(), owner, listener.addr, client);
        open.set_client_socket(listener.socket);
        let open = Arc::new(open);
        shared.open.add(&open);
        RecordGuard { shared: shared.clone(), open }
    }

    /// The connection, as others see it.
    pub fn opened(&self) -> &Arc<OpenConnection> {
        &self.open
    }

    /// What all connections share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Bytes so far.
    pub fn traffic(&self) -> &Traffic {
        &self.open.traffic
    }

    /// Who came.
    pub fn client(&self) -> Peer {
        self.open.known().client.clone()
    }

    /// This route serves it.
    pub fn routed(&mut self, live: &Arc<LiveRoute>) {
        self.open.known().owner = live.clone();
    }

    /// It has a place among the connections of its route.
    pub fn admitted(&mut self) {
        let mut known = self.open.known();
        known.counted = true;
        known.owner.state.meter().tally.opened();
    }

    /// A proxy before us has said who came.
    pub fn identified(&mut self, client: &Peer) {
        self.open.known().client = client.clone();
    }

    /// It was refused, and is counted there: it makes no record.
    pub fn keep_quiet(&mut self) {
        self.open.known().quiet = true;
    }

    /// What the record says beside the outcome.
    pub fn note(&mut self, what: &str) {
        self.open.known().detail.get_or_insert_default().text = what.to_owned();
    }

    /// See [`Shared::unique_id`].
    pub fn unique_id(&self) -> String {
        self.shared.unique_id(self.open.id)
    }

    /// An attempt has failed.
    pub fn failed_attempt(&mut self, why: &str) {
        let mut known = self.open.known();
        let detail = known.detail.get_or_insert_default();
        detail.errors += 1;
        if detail.errors > ERRORS_SHOWN {
            return;
        }
        if !detail.text.is_empty() {
            detail.text.push_str("; ");
        }
        detail.text.push_str(why);
    }

    /// An upstream is connected.
    pub fn connected(&mut self, upstream: Connected, tally: &Arc<Tally>) {
        tally.opened();
        let mut known = self.open.known();
        known.upstream = Some(upstream);
        known.tally = Some(tally.clone());
        known.connected_after(self.open.age());
    }

    /// The socket of that upstream.
    pub fn set_upstream_socket(&self, upstream: &Arc<Socket>) {
        self.open.set_upstream_socket(upstream);
    }

    /// It has ended.
    pub fn ended(&mut self, outcome: Outcome) {
        self.open.known().outcome = outcome;
    }
}

impl Drop for RecordGuard {
    fn drop(&mut self) {
        let open = &self.open;
        let mut known = open.known();
        let bytes = open.traffic.bytes();
        let detail = known.detail.take().map(|mut detail| {
            if let Some(more @ 1..) = detail.errors.checked_sub(ERRORS_SHOWN) {
                detail.text.push_str(&format!("; and {more} more"));
            }
            detail.text
        });
        let outcome = match known.outcome {
            Outcome::Drained if std::thread::panicking() => Outcome::Internal,
            Outcome::Drained if open.is_killed() || self.shared.is_killed() => Outcome::Killed,
            outcome => outcome,
        };
        let upstream = known.upstream.take();
        let record = Record {
            id: open.id,
            started: open.started(),
            route: known.owner.route.clone(),
            listener: open.listener.clone(),
            client: known.client.clone(),
            path: if upstream.is_some() { open.traffic.path() } else { DataPath::None },
            upstream,
            outcome,
            detail,
            bytes,
            datagrams: None,
            connect: known.connect(),
            duration: open.age(),
        };
        let (quiet, counted, tally) = (known.quiet, known.counted, known.tally.take());
        let state = known.owner.state.clone();
        drop(known);
        self.shared.open.remove(open.id);
        if quiet {
            return;
        }
        if !counted {
            state.meter().tally.opened();
        }
        self.shared.file(&record, &state, tally.as_deref());
    }
}
