//! The state of a route: counters and permits. It outlives edits of the route's text.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::Notify;
use tracing::info;

use super::origins::{Gateways, Origins};
use super::rates::RateTable;
use super::refusal::{LoggedCount, Refusal};
use crate::model::{Peer, UpstreamSpec};
use crate::state::{ClientConnections, Meter, Tally, lock};

/// Counters and limits of one route, by its name.
#[derive(Debug)]
pub struct RouteState {
    route: String,
    /// Its number in the table of rates.
    pub(super) number: u32,
    pub(super) open: AtomicU32,
    pub(super) crowd: Mutex<ClientConnections>,
    pub(super) rates: Arc<RateTable>,
    gateways: Arc<Gateways>,
    origins: Origins,
    /// Notified when a connection returns its permit.
    pub(super) freed: Notify,
    /// Created by the first client that is refused or must wait.
    turned_away: OnceLock<Box<Rejections>>,
    /// Created by the first connection: few of ten thousand routes have one.
    meter: OnceLock<Box<Meter>>,
    upstreams: Mutex<Vec<(UpstreamSpec, Arc<Tally>)>>,
}

/// What all routes share, for a new [`RouteState`].
#[derive(Clone, Debug, Default)]
pub(super) struct SharedByRoutes {
    pub rates: Arc<RateTable>,
    pub gateways: Arc<Gateways>,
}

/// Counts of clients that were refused or had to wait.
#[derive(Debug, Default)]
struct Rejections {
    waited: LoggedCount,
    refused: [LoggedCount; Refusal::ALL.len()],
}

impl RouteState {
    /// The state of a route that has had no client yet.
    pub(super) fn new(route: &str, number: u32, shared: &SharedByRoutes) -> Self {
        RouteState {
            route: route.to_owned(),
            number,
            open: AtomicU32::new(0),
            crowd: Mutex::default(),
            rates: shared.rates.clone(),
            gateways: shared.gateways.clone(),
            origins: Origins::default(),
            freed: Notify::new(),
            turned_away: OnceLock::new(),
            meter: OnceLock::new(),
            upstreams: Mutex::default(),
        }
    }

    /// The name of its route.
    pub fn route(&self) -> &str {
        &self.route
    }

    /// The counters of its connections. Created on first use.
    pub fn meter(&self) -> &Meter {
        self.meter.get_or_init(Box::default)
    }

    /// The same counters, if there was ever a connection.
    pub fn metered(&self) -> Option<&Meter> {
        self.meter.get().map(|meter| &**meter)
    }

    /// The counters of one of its upstreams.
    pub fn tally(&self, upstream: &UpstreamSpec) -> Arc<Tally> {
        let mut upstreams = lock(&self.upstreams);
        if let Some((_, tally)) = upstreams.iter().find(|(spec, _)| spec == upstream) {
            return tally.clone();
        }
        let tally = Arc::<Tally>::default();
        upstreams.push((upstream.clone(), tally.clone()));
        tally
    }

    /// Forgets the counters of upstreams that nobody else uses.
    pub(super) fn forget_unused_upstreams(&self) {
        lock(&self.upstreams).retain(|(_, tally)| Arc::strong_count(tally) > 1);
    }

    /// How many connections hold a permit now.
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// Notified when a connection returns its permit.
    pub fn freed(&self) -> &Notify {
        &self.freed
    }

    /// Notes where a client of the route comes from.
    pub(super) fn note_origin(&self, client: &Peer) {
        self.origins.note(client, &self.route, &self.gateways);
    }

    /// How many clients were refused, by the key that causes it.
    pub fn turned_away(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refusal::ALL.into_iter().map(|refusal| (refusal.key(), self.count(refusal)))
    }

    fn count(&self, refusal: Refusal) -> u64 {
        self.turned_away.get().map_or(0, |counts| counts.refused[refusal as usize].get())
    }

    /// Counts a client that waits for a permit, and logs it now and then.
    pub fn waits(&self, client: &Peer, max_connections: u32) {
        if let Some(waited) = self.turned_away.get_or_init(Box::default).waited.add() {
            let route = &self.route;
            info!(route, max_connections, %client, waited, "the route is full: its clients wait");
        }
    }

    /// Counts a refused client, and logs it now and then.
    pub fn refused(&self, refusal: Refusal, client: &Peer) {
        let counts = self.turned_away.get_or_init(Box::default);
        let Some(count) = counts.refused[refusal as usize].add() else { return };
        let (route, by) = (&self.route, refusal.key());
        match refusal {
            Refusal::Denied | Refusal::Untrusted => {
                info!(route, %client, by, denied = count, "denied a client; the next ones are counted");
            }
            Refusal::Route | Refusal::Client | Refusal::Rate => {
                info!(route, %client, by, limited = count, "limited a client; the next ones are counted");
            }
        }
    }

    /// Logs how many clients were refused, if any were.
    pub fn log_turned_away(&self) {
        let counts = Refusal::ALL.map(|refusal| self.count(refusal));
        let [denied, untrusted, max_connections, max_connections_per_client, rate_per_client] = counts;
        if counts.iter().any(|count| *count > 0) {
            info!(
                route = self.route,
                denied,
                untrusted,
                max_connections,
                max_connections_per_client,
                rate_per_client,
                "turned away in all"
            );
        }
    }
}
