//! Writes the [`Record`] of a connection, however its task ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Record;
use super::known::{Connected, ERRORS_SHOWN};
use super::local::LocalEnd;
use super::open::OpenConnection;
use super::shared::Shared;
use crate::model::{DataPath, ListenAddr, Outcome, Peer};
use crate::net::Socket;
use crate::net::relay::Traffic;
use crate::proxy::route::LiveRoute;
use crate::state::Tally;
use crate::state::meter::End;
use crate::state::moved::MovedConnection;

/// Collects what a connection's [`Record`] will say. Its drop writes the record, even if the task was killed or has
/// panicked.
#[derive(Debug)]
pub struct RecordGuard {
    shared: Arc<Shared>,
    open: Arc<OpenConnection>,
}

/// Our end of a client's connection: the listener and the accepted socket.
#[derive(Debug)]
pub struct ListenerEnd<'a> {
    /// The address of the listener that accepted the client.
    pub addr: &'a Arc<ListenAddr>,
    /// The accepted socket. The open table keeps only a weak reference.
    pub socket: &'a Arc<Socket>,
}

impl RecordGuard {
    /// Opens the record of an accepted client. The connection belongs to `owner` until [`RecordGuard::routed`].
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

    /// Goes on with the record of a connection that another process has begun, and has counted as opened.
    pub fn resume(
        shared: &Arc<Shared>,
        owner: Arc<LiveRoute>,
        listener: ListenerEnd<'_>,
        client: Peer,
        moved: &MovedConnection,
    ) -> Self {
        let open = OpenConnection::resumed(moved, owner, listener.addr, client);
        open.set_client_socket(listener.socket);
        let open = Arc::new(open);
        shared.open.add(&open);
        RecordGuard { shared: shared.clone(), open }
    }

    /// The entry of the connection in the open table.
    pub fn opened(&self) -> &Arc<OpenConnection> {
        &self.open
    }

    /// The state that all connections of the process share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The bytes relayed so far.
    pub fn traffic(&self) -> &Traffic {
        &self.open.traffic
    }

    /// The peer that connected, or the client that its PROXY header named.
    pub fn client(&self) -> Peer {
        self.open.known().client.clone()
    }

    /// Sets the route that serves the connection.
    pub fn routed(&mut self, live: &Arc<LiveRoute>) {
        self.open.known().owner = live.clone();
    }

    /// Counts the connection as opened in the counters of its route.
    pub fn admitted(&mut self) {
        let mut known = self.open.known();
        known.counted = true;
        known.owner.state.meter().tally.opened();
    }

    /// Sets the client that the PROXY header of a trusted proxy named.
    pub fn identified(&mut self, client: &Peer) {
        self.open.known().client = client.clone();
    }

    /// Suppresses the record: the client was refused, and counted as such.
    pub fn keep_quiet(&mut self) {
        self.open.known().quiet = true;
    }

    /// Sets the detail of the record, which stands beside the outcome.
    pub fn note(&mut self, what: &str) {
        self.open.known().rare.get_or_insert_default().text = what.to_owned();
    }

    /// See [`Shared::unique_id`].
    pub fn unique_id(&self) -> String {
        self.shared.unique_id(self.open.id)
    }

    /// Adds a failed attempt to the detail of the record.
    pub fn failed_attempt(&mut self, why: &str) {
        let mut known = self.open.known();
        let detail = known.rare.get_or_insert_default();
        detail.errors += 1;
        if detail.errors > ERRORS_SHOWN {
            return;
        }
        if !detail.text.is_empty() {
            detail.text.push_str("; ");
        }
        detail.text.push_str(why);
    }

    /// Notes the connected upstream and how long that took, and counts the connection in its tally.
    pub fn connected(&mut self, upstream: Connected, took: Duration, tally: &Arc<Tally>) {
        tally.opened();
        let mut known = self.open.known();
        known.upstream = Some(upstream);
        known.tally = Some(tally.clone());
        known.connected_after(took);
    }

    /// Notes the upstream that another process has connected, and counted.
    pub fn stays_connected(&mut self, upstream: Connected, tally: &Arc<Tally>) {
        let mut known = self.open.known();
        known.upstream = Some(upstream);
        known.tally = Some(tally.clone());
    }

    /// Lets the open table look at the socket of that upstream, of which it keeps only a weak reference, and begins its
    /// keepalive. `age`: that of the connection.
    pub fn set_upstream_socket(&self, upstream: &Arc<Socket>, age: Duration) {
        let idle = {
            let mut known = self.open.known();
            known.set_upstream_socket(upstream);
            // A system call, for those who read it.
            if self.shared.access_log.is_on() {
                known.local = LocalEnd::of(&**upstream);
            }
            known.owner.route.policy.timeouts.keepalive
        };
        self.shared.keepalive.begin(upstream, idle, age);
    }

    /// Sets the outcome. If none is set, the drop decides: drained, killed, or an internal fault.
    pub fn ended(&mut self, outcome: Outcome) {
        self.open.known().outcome = outcome;
    }
}

impl Drop for RecordGuard {
    fn drop(&mut self) {
        let open = &self.open;
        let mut known = open.known();
        // With it goes whoever waits for it to pause, and nobody comes any more.
        known.relay = None;
        let detail = known.rare.take().and_then(|rare| rare.detail());
        let outcome = match known.outcome {
            Outcome::Drained if std::thread::panicking() => Outcome::Internal,
            Outcome::Drained if open.is_killed() || self.shared.is_killed() => Outcome::Killed,
            outcome => outcome,
        };
        let (bytes, connect, duration) = (open.traffic.bytes(), known.connect(), open.age());
        let end = End { id: open.id, outcome, bytes, connect, duration };
        let (quiet, counted, tally) = (known.quiet, known.counted, known.tally.take());
        let owner = known.owner.clone();
        drop(known);
        self.shared.open.remove(open.id);
        if quiet {
            return;
        }
        if !counted {
            owner.state.meter().tally.opened();
        }
        self.shared.file(&end, &owner.state, tally.as_deref(), || record(open, &end, detail));
    }
}

fn record(open: &OpenConnection, end: &End, detail: Option<String>) -> Record {
    let mut known = open.known();
    let upstream = known.upstream.take();
    Record {
        id: end.id,
        ended: SystemTime::now(),
        route: known.owner.route.clone(),
        listener: open.listener.clone(),
        client: known.client.clone(),
        path: if upstream.is_some() { open.traffic.path() } else { DataPath::None },
        local: known.local.filter(|_| upstream.is_some()).map(LocalEnd::peer),
        upstream,
        outcome: end.outcome,
        detail,
        bytes: end.bytes,
        datagrams: None,
        connect: end.connect,
        duration: end.duration,
    }
}
