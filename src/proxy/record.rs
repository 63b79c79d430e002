//! What is known of a connection when it has ended: one value, which everything that reports reads.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Shared;
use super::open::{Account, Open};
use crate::model::{DataPath, ListenAddr, Outcome, Peer, Route, UpstreamAddr};
use crate::net::Socket;
use crate::net::relay::Traffic;
use crate::state::Tally;
use crate::state::meter::End;

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
    /// Where it was led to: as written in the file, and as connected.
    pub upstream: Option<(Arc<UpstreamAddr>, Peer)>,
    /// How it ended.
    pub outcome: Outcome,
    /// What else there is to say: which candidates failed, and why.
    pub detail: Option<String>,
    /// Bytes sent to the upstream.
    pub up: u64,
    /// Bytes sent to the client.
    pub down: u64,
    /// Of a UDP session: datagrams sent to the upstream, and to the client.
    pub datagrams: Option<(u64, u64)>,
    /// From accept to a connected upstream.
    pub connect: Option<Duration>,
    /// From accept to the end.
    pub duration: Duration,
    /// How its bytes were moved.
    pub path: DataPath,
}

/// So many candidates that could not be had are named; the others are counted.
const MISSES_SHOWN: u32 = 8;

/// A connection in the making. Whatever happens to its task, the drop of this value makes the [`Record`].
#[derive(Debug)]
pub(super) struct Ledger {
    shared: Arc<Shared>,
    open: Arc<Open>,
}

impl Ledger {
    /// Of a client that nobody has refused. It is one of the connections of `account` when it is led there.
    pub(super) fn open(
        shared: &Arc<Shared>,
        account: Arc<Account>,
        (listener, client): (&Arc<ListenAddr>, Peer),
        socket: &Arc<Socket>,
    ) -> Self {
        let open = Arc::new(Open::connection(shared.next_id(), account, (listener, client)));
        open.has(socket);
        shared.open.add(&open);
        Ledger { shared: shared.clone(), open }
    }

    /// What others may see of it.
    pub(super) fn opened(&self) -> Arc<Open> {
        self.open.clone()
    }

    /// Bytes so far.
    pub(super) fn traffic(&self) -> &Traffic {
        &self.open.traffic
    }

    /// Who came.
    pub(super) fn client(&self) -> Peer {
        self.open.known().client.clone()
    }

    /// It is known now to whom it is led.
    pub(super) fn led_to(&mut self, account: Arc<Account>) {
        self.open.known().account = account;
    }

    /// It is one of the connections of its route.
    pub(super) fn counts(&mut self) {
        let mut known = self.open.known();
        known.counted = true;
        known.account.gate.meter().tally.opened();
    }

    /// A proxy before us has said who came.
    pub(super) fn is_for(&mut self, client: &Peer) {
        self.open.known().client = client.clone();
    }

    /// From now on it is one of those who are only counted.
    pub(super) fn keep_quiet(&mut self) {
        self.open.known().quiet = true;
    }

    /// What its line shall say of it.
    pub(super) fn note(&mut self, what: &str) {
        self.open.known().story.get_or_insert_default().text = what.to_owned();
    }

    /// See [`super::Shared::unique_id`].
    pub(super) fn unique_id(&self) -> String {
        self.shared.unique_id(self.open.id)
    }

    /// A candidate could not be had.
    pub(super) fn missed(&mut self, why: &str) {
        let mut known = self.open.known();
        let story = known.story.get_or_insert_default();
        story.misses += 1;
        if story.misses > MISSES_SHOWN {
            return;
        }
        if !story.text.is_empty() {
            story.text.push_str("; ");
        }
        story.text.push_str(why);
    }

    /// An upstream is connected.
    pub(super) fn connected(&mut self, upstream: (Arc<UpstreamAddr>, Peer), tally: &Arc<Tally>) {
        tally.opened();
        let mut known = self.open.known();
        known.upstream = Some(upstream);
        known.tally = Some(tally.clone());
        known.connected_after(self.open.age());
    }

    /// The socket of that upstream.
    pub(super) fn leads_to(&self, upstream: &Arc<Socket>) {
        self.open.leads_to(upstream);
    }

    /// It has ended.
    pub(super) fn ended(&mut self, outcome: Outcome) {
        self.open.known().outcome = outcome;
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let open = &self.open;
        let mut known = open.known();
        let (up, down) = open.traffic.bytes();
        let detail = known.story.take().map(|mut story| {
            if let Some(more @ 1..) = story.misses.checked_sub(MISSES_SHOWN) {
                story.text.push_str(&format!("; and {more} more"));
            }
            story.text
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
            route: known.account.route.clone(),
            listener: open.listener.clone(),
            client: known.client.clone(),
            path: if upstream.is_some() { open.traffic.path() } else { DataPath::None },
            upstream,
            outcome,
            detail,
            up,
            down,
            datagrams: None,
            connect: known.connect(),
            duration: open.age(),
        };
        let (quiet, counted, tally) = (known.quiet, known.counted, known.tally.take());
        let gate = known.account.gate.clone();
        drop(known);
        self.shared.open.remove(open.id);
        if quiet {
            return;
        }
        if !counted {
            gate.meter().tally.opened();
        }
        self.shared.file(&record, &gate, tally.as_deref());
    }
}

impl Shared {
    /// What everything that reports reads of a connection that has ended. It must not be among the open ones any more: nobody
    /// may count its bytes twice.
    pub(super) fn file(&self, record: &Record, gate: &super::Gate, tally: Option<&Tally>) {
        let Record { outcome, connect, duration, up, down, .. } = *record;
        let bytes = (up, down);
        gate.meter().closed(&End { outcome, bytes, connect, duration });
        if let Some(tally) = tally {
            tally.closed(bytes);
        }
        self.access_log.write(record);
    }
}
