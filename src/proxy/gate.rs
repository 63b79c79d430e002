//! What is remembered of the clients of a route: it outlives edits.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::info;

use super::access::Lists;
use super::gateway::{Gateways, Origins};
use super::keyring::Keyring;
use super::{Door, Lead};
use crate::model::{Clients, Peer, Rate, UpstreamSpec};
use crate::state::{ClientKey, Crowd, Meter, Rates, Tally};

/// Those who are turned away are counted, and told of at most this often.
const TELL: Duration = Duration::from_secs(60);

/// Why a client does not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The lists do not let it in.
    Denied,
    /// Its header would not be believed.
    Untrusted,
    /// The route is full.
    Route,
    /// It has all the connections that a client has.
    Client,
    /// It comes too fast.
    Rate,
}

impl Refusal {
    const ALL: [Refusal; 5] =
        [Refusal::Denied, Refusal::Untrusted, Refusal::Route, Refusal::Client, Refusal::Rate];

    /// The keys that say so.
    fn key(self) -> &'static str {
        match self {
            Refusal::Denied => "allow, deny",
            Refusal::Untrusted => "proxy_protocol.trusted",
            Refusal::Route => "max_connections",
            Refusal::Client => "max_connections_per_client",
            Refusal::Rate => "rate_per_client",
        }
    }
}

/// The memory of one route.
#[derive(Debug)]
pub struct Gate {
    route: String,
    /// Its account in the table of rates.
    account: u32,
    open: AtomicU32,
    crowd: Mutex<Crowd>,
    rates: Arc<RateTable>,
    gateways: Arc<Gateways>,
    origins: Origins,
    /// A place was given back.
    freed: Notify,
    /// Made by the first one who does not come in at once.
    turned: OnceLock<Box<Turned>>,
    /// Made by the first connection: few of ten thousand routes have one.
    meter: OnceLock<Box<Meter>>,
    upstreams: Mutex<Vec<(UpstreamSpec, Arc<Tally>)>>,
}

/// Those who did not come in at once.
#[derive(Debug, Default)]
struct Turned {
    waited: Count,
    refused: [Count; 5],
}

/// How many of a kind there were, and when that was last told.
#[derive(Debug, Default)]
struct Count {
    all: AtomicU64,
    told: Mutex<Option<Instant>>,
}

impl Count {
    /// One more. The number of all, where it is time to tell.
    fn add(&self) -> Option<u64> {
        let all = self.all.fetch_add(1, Ordering::Relaxed) + 1;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let due = told.is_none_or(|told| told.elapsed() >= TELL);
        due.then(|| {
            *told = Some(Instant::now());
            all
        })
    }

    fn get(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }
}

impl Gate {
    fn new(route: &str, account: u32, rates: Arc<RateTable>, gateways: Arc<Gateways>) -> Self {
        Gate {
            route: route.to_owned(),
            account,
            open: AtomicU32::new(0),
            crowd: Mutex::default(),
            rates,
            gateways,
            origins: Origins::default(),
            freed: Notify::new(),
            turned: OnceLock::new(),
            meter: OnceLock::new(),
            upstreams: Mutex::default(),
        }
    }

    /// The name of its route.
    pub fn route(&self) -> &str {
        &self.route
    }

    /// What is counted of its connections.
    pub fn meter(&self) -> &Meter {
        self.meter.get_or_init(Box::default)
    }

    /// The same, if there was ever one.
    pub fn metered(&self) -> Option<&Meter> {
        self.meter.get().map(|meter| &**meter)
    }

    /// What is counted of one of its upstreams.
    pub fn tally(&self, upstream: &UpstreamSpec) -> Arc<Tally> {
        let mut upstreams = self.upstreams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, tally)) = upstreams.iter().find(|(spec, _)| spec == upstream) {
            return tally.clone();
        }
        let tally = Arc::<Tally>::default();
        upstreams.push((upstream.clone(), tally.clone()));
        tally
    }

    /// How many were turned away, by the key that says so.
    pub fn turned_away(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refusal::ALL.into_iter().map(|refusal| (refusal.key(), self.count(refusal)))
    }

    fn turned(&self) -> &Turned {
        self.turned.get_or_init(Box::default)
    }

    fn count(&self, refusal: Refusal) -> u64 {
        self.turned.get().map_or(0, |turned| turned.refused[refusal as usize].get())
    }

    /// A place for a client, within the limits of the route and, where it is known who it is, within its own.
    pub(super) fn enter(self: &Arc<Self>, limits: &Clients, client: Option<&Peer>) -> Result<Pass, Refusal> {
        let most = limits.max_connections.unwrap_or(u32::MAX);
        let more = |open: u32| (open < most).then_some(open + 1);
        if self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return Err(Refusal::Route);
        }
        let mut pass = Pass { gate: self.clone(), client: None };
        if let Some(client) = client {
            // Whom a header names is not hidden.
            self.origins.note(client, &self.route, &self.gateways);
            pass.enter(limits, client)?;
        }
        Ok(pass)
    }

    /// Waits until a place of the route is free, or an edit changes where the door leads.
    pub(super) async fn wait(&self, lead: &Arc<Lead>, door: &Door, client: &Peer) {
        let (mut freed, mut changed) = (pin!(self.freed.notified()), pin!(door.changed.notified()));
        freed.as_mut().enable();
        changed.as_mut().enable();
        // Whatever has happened since the caller looked was not heard.
        let most = lead.route.policy.clients.max_connections.unwrap_or(u32::MAX);
        if self.open.load(Ordering::Relaxed) < most || !Arc::ptr_eq(&door.lead.load(), lead) {
            return;
        }
        if let Some(waited) = self.turned().waited.add() {
            let route = &self.route;
            info!(route, max_connections = most, %client, waited, "the route is full: its clients wait");
        }
        tokio::select! {
            () = freed => {}
            () = changed => {}
        }
    }

    /// It does not come in.
    pub(super) fn refused(&self, refusal: Refusal, client: &Peer) {
        let Some(count) = self.turned().refused[refusal as usize].add() else { return };
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

    /// Says how many were turned away, if any were.
    pub fn sum_up(&self) {
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

/// A client's place among those of a route, given back when its connection has ended.
#[derive(Debug)]
pub struct Pass {
    gate: Arc<Gate>,
    /// Where its connections are counted by themselves.
    client: Option<ClientKey>,
}

impl Pass {
    /// Counts the connection as one of this client, within the limits of a client.
    pub(super) fn enter(&mut self, limits: &Clients, client: &Peer) -> Result<(), Refusal> {
        let Some(ip) = ip(client) else { return Ok(()) };
        if let Some(most) = limits.max_connections_per_client {
            let client = ClientKey::of(ip);
            if !self.gate.crowd.lock().unwrap_or_else(PoisonError::into_inner).enter(client, most) {
                return Err(Refusal::Client);
            }
            self.client = Some(client);
        }
        match limits.rate_per_client {
            Some(rate) if !self.gate.rates.enter(self.gate.account, ip, rate) => Err(Refusal::Rate),
            _ => Ok(()),
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(client) = self.client {
            self.gate.crowd.lock().unwrap_or_else(PoisonError::into_inner).leave(client);
        }
        self.gate.open.fetch_sub(1, Ordering::Relaxed);
        self.gate.freed.notify_waiters();
    }
}

/// A client that comes through a Unix socket has no address, and no limit of its own.
fn ip(client: &Peer) -> Option<IpAddr> {
    match client {
        Peer::Ip(addr) => Some(addr.ip()),
        Peer::Unix(_) => None,
    }
}

/// Parts of the table of rates, each with a lock of its own.
const SHARDS: usize = 16;
/// Clients that all of it remembers: about 2.5 MB, from the first client of a route with a rate on.
const REMEMBERED: usize = 65_536;

/// How fast the clients of all routes come.
#[derive(Debug, Default)]
struct RateTable {
    shards: OnceLock<Box<[Mutex<Rates>]>>,
}

impl RateTable {
    fn enter(&self, account: u32, client: IpAddr, rate: Rate) -> bool {
        let now = Instant::now().into_std();
        let shards = self.shards.get_or_init(|| {
            (0..SHARDS).map(|_| Mutex::new(Rates::new(REMEMBERED / SHARDS, fastrand::u64(..), now))).collect()
        });
        let client = ClientKey::of(client);
        let Some(shard) = shards.get(client.shard(SHARDS)) else { return true };
        shard.lock().unwrap_or_else(PoisonError::into_inner).enter(account, client, rate, now)
    }
}

/// What the clients of all routes have to do with.
#[derive(Debug, Default)]
pub struct Clientele {
    gates: HashMap<String, Arc<Gate>>,
    rates: Arc<RateTable>,
    accounts: u32,
    past: [u64; 4],
    gateways: Arc<Gateways>,
    /// The lists from files.
    pub lists: Lists,
    /// The certificates from files.
    pub keyring: Keyring,
}

impl Clientele {
    /// The gate of a route, as it is known, or new.
    pub fn gate(&mut self, route: &str) -> Arc<Gate> {
        if let Some(gate) = self.gates.get(route) {
            return gate.clone();
        }
        self.accounts = self.accounts.wrapping_add(1);
        let gate = Gate::new(route, self.accounts, self.rates.clone(), self.gateways.clone());
        let gate = Arc::new(gate);
        self.gates.insert(route.to_owned(), gate.clone());
        gate
    }

    /// The gate of a route, if it is known.
    pub fn known(&self, route: &str) -> Option<Arc<Gate>> {
        self.gates.get(route).cloned()
    }

    /// Every gate.
    pub fn gates(&self) -> impl Iterator<Item = &Arc<Gate>> {
        self.gates.values()
    }

    /// What was counted of the gates that are forgotten: connections opened and closed, bytes up and down.
    pub fn past(&self) -> [u64; 4] {
        self.past
    }

    /// Forgets the gates of routes that are no more and have no connection.
    pub fn forget_unused(&mut self) {
        self.gates.retain(|_, gate| {
            let keep = Arc::strong_count(gate) > 1;
            if let (false, Some(meter)) = (keep, gate.meter.get()) {
                let ((opened, closed), (up, down)) = (meter.tally.connections(), meter.tally.bytes());
                for (past, count) in self.past.iter_mut().zip([opened, closed, up, down]) {
                    *past += count;
                }
            }
            keep
        });
        for gate in self.gates.values() {
            let mut upstreams = gate.upstreams.lock().unwrap_or_else(PoisonError::into_inner);
            upstreams.retain(|(_, tally)| Arc::strong_count(tally) > 1);
        }
    }
}
