//! What is known of a connection when it has ended: one value, which everything that reports reads.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::model::{DataPath, ListenAddr, Outcome, Peer, Route, UpstreamAddr};
use crate::net::relay::Traffic;

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
    pub listener: ListenAddr,
    /// Who came.
    pub client: Peer,
    /// Where it was led to: as written in the file, and as connected.
    pub upstream: Option<(UpstreamAddr, Peer)>,
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
    shared: Arc<super::Shared>,
    accepted: Instant,
    record: Record,
    misses: u32,
    /// It is counted elsewhere, and has no line in the access log.
    quiet: bool,
    /// Bytes so far.
    pub traffic: Traffic,
}

impl Ledger {
    pub(super) fn open(
        shared: &Arc<super::Shared>,
        route: &Arc<Route>,
        listener: &ListenAddr,
        client: Peer,
    ) -> Self {
        let record = Record {
            id: shared.next_id(),
            started: SystemTime::now(),
            route: route.clone(),
            listener: listener.clone(),
            client,
            upstream: None,
            outcome: Outcome::Drained,
            detail: None,
            up: 0,
            down: 0,
            datagrams: None,
            connect: None,
            duration: Duration::ZERO,
            path: DataPath::None,
        };
        Ledger {
            shared: shared.clone(),
            accepted: Instant::now(),
            record,
            misses: 0,
            quiet: false,
            traffic: Traffic::default(),
        }
    }

    /// Who came.
    pub(super) fn client(&self) -> &Peer {
        &self.record.client
    }

    /// It is known now to whom it is led.
    pub(super) fn led_to(&mut self, route: &Arc<Route>) {
        self.record.route = route.clone();
    }

    /// A proxy before us has said who came.
    pub(super) fn is_for(&mut self, client: &Peer) {
        self.record.client = client.clone();
    }

    /// From now on it is one of those who are only counted.
    pub(super) fn keep_quiet(&mut self) {
        self.quiet = true;
    }

    /// What its line shall say of it.
    pub(super) fn note(&mut self, what: &str) {
        self.record.detail = Some(what.to_owned());
    }

    /// See [`super::Shared::unique_id`].
    pub(super) fn unique_id(&self) -> String {
        self.shared.unique_id(self.record.id)
    }

    /// A candidate could not be had.
    pub(super) fn missed(&mut self, why: &str) {
        self.misses += 1;
        if self.misses > MISSES_SHOWN {
            return;
        }
        let detail = self.record.detail.get_or_insert_default();
        if !detail.is_empty() {
            detail.push_str("; ");
        }
        detail.push_str(why);
    }

    /// An upstream is connected.
    pub(super) fn connected(&mut self, upstream: UpstreamAddr, peer: Peer) {
        self.record.upstream = Some((upstream, peer));
        self.record.connect = Some(self.accepted.elapsed());
    }

    /// It has ended.
    pub(super) fn ended(&mut self, outcome: Outcome) {
        self.record.outcome = outcome;
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        (self.record.up, self.record.down) = self.traffic.bytes();
        self.record.path = match &self.record.upstream {
            None => DataPath::None,
            Some(_) => self.traffic.path(),
        };
        self.record.duration = self.accepted.elapsed();
        if let (Some(more @ 1..), Some(detail)) =
            (self.misses.checked_sub(MISSES_SHOWN), &mut self.record.detail)
        {
            detail.push_str(&format!("; and {more} more"));
        }
        if self.record.outcome == Outcome::Drained {
            if std::thread::panicking() {
                self.record.outcome = Outcome::Internal;
            } else if self.shared.is_killed() {
                self.record.outcome = Outcome::Killed;
            }
        }
        if !self.quiet {
            self.shared.access_log.write(&self.record);
        }
    }
}
