//! The state of a route: counters and permits. It outlives edits of the route's text.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::Notify;
use tracing::info;

use super::origins::{Gateways, Origins};
use super::rates::RateTable;
use super::refusal::{Refusal, RefusalLog, Refusals};
use super::session_places::SessionPlaces;
use crate::model::{Peer, UpstreamSpec};
use crate::state::probation::Results;
use crate::state::{Bytes, ClientConnections, ClientKey, Meter, RouteCounted, Steering, Tally, lock};

/// Counters and limits of one route, by its name.
#[derive(Debug)]
pub struct RouteState {
    route: Arc<str>,
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
    turned_away: OnceLock<Arc<Refusals>>,
    refusal_log: Arc<RefusalLog>,
    /// Created by the first connection: few of ten thousand routes have one.
    meter: OnceLock<Box<Meter>>,
    upstreams: Mutex<Vec<UpstreamState>>,
    /// Created by the first session of a route with `max_sessions`.
    sessions: OnceLock<Arc<SessionPlaces>>,
}

/// What outlives edits of one upstream of the route.
#[derive(Debug)]
struct UpstreamState {
    spec: UpstreamSpec,
    tally: Arc<Tally>,
    steering: Arc<Steering>,
}

/// What all routes share, for a new [`RouteState`].
#[derive(Clone, Debug, Default)]
pub(super) struct SharedByRoutes {
    pub rates: Arc<RateTable>,
    pub gateways: Arc<Gateways>,
    pub refusal_log: Arc<RefusalLog>,
}

impl RouteState {
    /// The state of a route that has had no client yet.
    pub(super) fn new(route: &str, number: u32, shared: &SharedByRoutes) -> Self {
        RouteState {
            route: route.into(),
            number,
            open: AtomicU32::new(0),
            crowd: Mutex::default(),
            rates: shared.rates.clone(),
            gateways: shared.gateways.clone(),
            origins: Origins::default(),
            freed: Notify::new(),
            turned_away: OnceLock::new(),
            refusal_log: shared.refusal_log.clone(),
            meter: OnceLock::new(),
            upstreams: Mutex::default(),
            sessions: OnceLock::new(),
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
        self.upstream(upstream, |state| state.tally.clone())
    }

    /// What is decided about one of its upstreams while it runs.
    pub fn steering(&self, upstream: &UpstreamSpec) -> Arc<Steering> {
        self.upstream(upstream, |state| state.steering.clone())
    }

    fn upstream<T>(&self, upstream: &UpstreamSpec, of: impl FnOnce(&UpstreamState) -> T) -> T {
        let mut upstreams = lock(&self.upstreams);
        if let Some(state) = upstreams.iter().find(|state| state.spec == *upstream) {
            return of(state);
        }
        let state = UpstreamState { spec: upstream.clone(), tally: Arc::default(), steering: Arc::default() };
        let found = of(&state);
        // Most routes have one, for which a push alone would make room for four.
        upstreams.reserve_exact(1);
        upstreams.push(state);
        found
    }

    /// Forgets the state of upstreams that nobody else uses.
    pub(super) fn forget_unused_upstreams(&self) {
        lock(&self.upstreams)
            .retain(|state| Arc::strong_count(&state.tally) > 1 || Arc::strong_count(&state.steering) > 1);
    }

    /// How many connections hold a permit now.
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// The places of its sessions.
    pub(super) fn sessions(&self) -> &Arc<SessionPlaces> {
        self.sessions.get_or_init(Arc::default)
    }

    /// How many connections a client has, if the route limits that.
    pub(super) fn open_of(&self, client: ClientKey) -> u32 {
        lock(&self.crowd).of(client)
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
        self.turned_away.get().map_or(0, |counts| counts.of(refusal).get())
    }

    /// What has become of its clients, for a probation.
    pub fn results(&self) -> Results {
        // A route that is too narrow fails its clients. The others are turned away one by one, as in a flood.
        let (one_by_one, full) = (
            [Refusal::Denied, Refusal::Untrusted, Refusal::Client, Refusal::Rate],
            self.count(Refusal::Route),
        );
        let turned_away = one_by_one.map(|refusal| self.count(refusal)).iter().sum();
        let Results { tried, failed, .. } = self.metered().map(Meter::results).unwrap_or_default();
        Results { tried: tried + full, failed: failed + full, turned_away }
    }

    /// Counts a client that waits for a permit, and logs it now and then.
    pub fn waits(&self, client: &Peer, max_connections: u32) {
        self.refusals().waits(client, max_connections, &self.refusal_log);
    }

    /// Counts a refused client, and logs it now and then.
    pub fn refused(&self, refusal: Refusal, client: &Peer) {
        self.refusals().refused(refusal, client, &self.refusal_log);
    }

    fn refusals(&self) -> &Arc<Refusals> {
        self.turned_away.get_or_init(|| Arc::new(Refusals::new(self.route.clone(), self.number)))
    }

    /// From now on the counters may report less: see [`Tally::report_less`].
    pub fn report_less(&self) {
        self.metered().into_iter().for_each(|meter| meter.tally.report_less());
        lock(&self.upstreams).iter().for_each(|upstream| upstream.tally.report_less());
    }

    /// All counters, as numbers. `open`: the bytes of open connections, by the id of their tally. `None`: it had no client.
    pub fn counted(&self, open: impl Fn(&Tally) -> Bytes) -> Option<RouteCounted> {
        let turned_away = self.turned_away.get().map(|_| {
            let counts = self.turned_away().filter(|(_, count)| *count > 0);
            counts.map(|(key, count)| (key.to_owned(), count)).collect()
        });
        let metered = self.metered().map(|meter| meter.counted(open(&meter.tally)));
        if metered.is_none() && turned_away.is_none() {
            return None;
        }
        let counted = |upstream: &UpstreamState| {
            let tally = &upstream.tally;
            (upstream.spec.to_string(), tally.counted(tally.ended().bytes, open(tally)))
        };
        let upstreams = lock(&self.upstreams).iter().map(counted).collect();
        let turned_away = turned_away.unwrap_or_default();
        Some(RouteCounted { turned_away, upstreams, ..metered.unwrap_or_default() })
    }

    /// Goes on from what another process has counted of these upstreams, and of the route.
    pub fn add<'u>(&self, more: &RouteCounted, upstreams: impl Iterator<Item = &'u UpstreamSpec>) {
        self.meter().add(more);
        for refusal in Refusal::ALL {
            if let Some(count) = more.turned_away.get(refusal.key()).filter(|count| **count > 0) {
                self.refusals().of(refusal).add_all(*count);
            }
        }
        for spec in upstreams {
            if let Some(counted) = more.upstreams.get(&spec.to_string()) {
                self.tally(spec).add(counted);
            }
        }
    }

    /// Logs how many clients were refused, if any were.
    pub fn log_turned_away(&self) {
        let counts = Refusal::ALL.map(|refusal| self.count(refusal));
        let [
            denied,
            untrusted,
            max_connections,
            max_connections_per_client,
            rate_per_client,
            fair_share,
            no_route,
        ] = counts;
        if counts.iter().any(|count| *count > 0) {
            info!(
                route = &*self.route,
                denied,
                untrusted,
                max_connections,
                max_connections_per_client,
                rate_per_client,
                fair_share,
                no_route,
                "turned away in all"
            );
        }
    }
}
