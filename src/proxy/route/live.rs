//! A route as it runs: its policy, its upstreams and the owner of its connections.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Instant;

use super::access::Access;
use super::candidates::{Candidate, Candidates, Entry};
use super::hold::HoldQueue;
use super::loops::{Asked, Hop, Loops};
use super::refusal::Refusal;
use super::registry::RouteRegistry;
use super::state::RouteState;
use crate::config::Binding;
use crate::model::{AcceptProxy, EntryState, Peer, Route, UpstreamAddr, UpstreamEntry, WhenFull};
use crate::net::within;
use crate::proxy::upstream::{
    EndpointKey, LiveAcceptor, LiveConnector, Name, OwnHeader, RunningCheck, TlsKey, Upstreams,
};
use crate::state::{Member, Pool};
use crate::tasks::Scope;

/// A route as one reading of the file had it, running at one listener.
#[derive(Debug)]
pub struct LiveRoute {
    /// The route as the file has it.
    pub route: Arc<Route>,
    /// Which clients are admitted.
    pub access: Access,
    /// Its counters and limits, which outlive edits.
    pub state: Arc<RouteState>,
    /// The generation whose text of the route this is.
    pub generation: u64,
    /// Owns its connections. `on_change` acts on them through this scope.
    pub connections: Scope,
    /// The TLS acceptor for its clients. `None`: the route does not terminate TLS.
    pub acceptor: Option<Arc<LiveAcceptor>>,
    /// The TLS connector to its upstreams. `None`: no TLS is spoken to them.
    connector: Option<Arc<LiveConnector>>,
    /// Clients that wait for an upstream to come back. Made for the first one: few of ten thousand routes hold any.
    held: OnceLock<Box<HoldQueue>>,
    /// Its upstreams, and which of them lead back.
    hop: Arc<Hop>,
    upstreams: Arc<Upstreams>,
    now: ArcSwap<Gathered>,
    /// No listener serves it any more. Connections in progress may still need it.
    retired: AtomicBool,
    /// Owns the task that gathers new addresses. `None`: the route has no checks, or no names.
    keeper: Option<Scope>,
}

/// The candidates of a route, and the checks of theirs that it keeps going. Who has only the candidates, such as a session
/// of a route that is gone, keeps none going.
#[derive(Debug)]
struct Gathered {
    candidates: Arc<Candidates>,
    _checks: Vec<Arc<RunningCheck>>,
}

impl Gathered {
    fn none() -> Self {
        Gathered { candidates: Arc::new(Candidates::none()), _checks: Vec::new() }
    }
}

/// What a [`LiveRoute`] is made with, besides its text in the file.
#[derive(Debug)]
pub struct RunsAs<'a> {
    /// The scope that will own its connections.
    pub connections: Scope,
    /// The generation whose text of the route it runs.
    pub generation: u64,
    /// All upstreams of the process, which routes share.
    pub upstreams: &'a Arc<Upstreams>,
    /// The listeners of the process, to find upstreams that lead back to them.
    pub loops: &'a Arc<Loops>,
}

impl Drop for LiveRoute {
    fn drop(&mut self) {
        self.keeper.iter().for_each(Scope::kill);
    }
}

impl LiveRoute {
    /// Starts the route of a listener. Its checks begin at once.
    pub fn new(binding: &Binding, runs_as: RunsAs<'_>, registry: &mut RouteRegistry) -> Arc<Self> {
        let RunsAs { connections, generation, upstreams, loops } = runs_as;
        let route = binding.route.clone();
        let state = registry.state(&route.name);
        let entry = |entry: &UpstreamEntry| {
            let addr = entry.spec.at(binding.offset);
            let name = match &addr {
                UpstreamAddr::Name(host, _) => Some(upstreams.name(host)),
                UpstreamAddr::Ip(_) | UpstreamAddr::Unix(_) | UpstreamAddr::Original => None,
            };
            let (tally, steering) = (state.tally(&entry.spec), state.steering(&entry.spec));
            Entry { addr: Arc::new(addr), name, tally, steering }
        };
        let entries: Vec<Entry> = route.upstream.iter().map(entry).collect();
        let keeps = route.policy.health.is_some() && entries.iter().any(|entry| entry.name.is_some());
        let keeper = keeps.then(|| upstreams.scope().child());
        let policy = &route.policy;
        let live = Arc::new(LiveRoute {
            hop: Hop::new(route.clone(), entries, loops, upstreams.news()),
            access: Access::new(&policy.access, &registry.lists),
            state,
            generation,
            acceptor: registry.tls.acceptor(&policy.tls),
            connector: registry.tls.connector(&policy.tls),
            connections,
            held: OnceLock::new(),
            upstreams: upstreams.clone(),
            now: ArcSwap::from_pointee(Gathered::none()),
            retired: AtomicBool::new(false),
            keeper,
            route,
        });
        drop(live.candidates());
        if let Some(keeper) = &live.keeper {
            let (kept, upstreams) = (Arc::downgrade(&live), upstreams.clone());
            keeper.keep(move || keep_checked(kept.clone(), upstreams.clone()));
        }
        live
    }

    /// Whether the lists admit a client. Counts a client that they deny.
    pub fn admits(&self, client: &Peer) -> bool {
        let admitted = self.access.admits(client);
        if !admitted {
            self.state.refused(Refusal::Denied, client);
        }
        admitted
    }

    /// How to read the PROXY header of this sender. `None`: it is not trusted to send one.
    pub fn reads_header_of(&self, sender: &Peer) -> Option<&AcceptProxy> {
        let accept = self.route.policy.proxy_protocol.accept.as_deref();
        accept.filter(|accept| accept.trusted.includes(sender))
    }

    /// Whether clients wait for a permit while the route is full.
    pub fn may_keep_waiting(&self) -> bool {
        self.route.policy.limits.when_full == WhenFull::Wait
    }

    /// The clients that wait for an upstream to come back.
    pub fn held(&self) -> &HoldQueue {
        self.held.get_or_init(Box::default)
    }

    /// Wakes the clients that wait: an upstream was connected.
    pub fn wake_held(&self) {
        self.held.get().into_iter().for_each(|held| held.wake());
    }

    /// Retires the route: no listener serves it any more. Its checks end unless another route uses them.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        self.keeper.iter().for_each(Scope::kill);
        self.now.store(Arc::new(Gathered::none()));
    }

    /// The candidates by the latest answers of its names.
    pub fn candidates(&self) -> Arc<Candidates> {
        let names: u64 = self.names().map(|name| name.version()).sum();
        let version = names + self.hop.turns();
        let now = self.now.load();
        if now.candidates.version == version {
            return now.candidates.clone();
        }
        let new = self.gather(version);
        let candidates = new.candidates.clone();
        if !self.retired.load(Ordering::SeqCst) {
            self.now.store(Arc::new(new));
            // An edit may have retired it meanwhile.
            if self.retired.load(Ordering::SeqCst) {
                self.now.store(Arc::new(Gathered::none()));
            }
            self.hop.found(candidates.list.iter().filter(|candidate| candidate.leads_back));
        }
        candidates
    }

    /// The route as a search for loops sees it.
    pub fn hop(&self) -> &Arc<Hop> {
        &self.hop
    }

    /// Whether any candidate is up, as far as is known. A name without an answer yet counts as up.
    pub fn is_any_up(&self) -> bool {
        self.candidates().pool.is_any_up(Instant::now().into_std()) || self.awaits_a_name()
    }

    fn gather(&self, version: u64) -> Gathered {
        // Most have one address, of which a vector that grows would keep the room of four.
        let (mut list, mut members) = (Vec::with_capacity(1), Vec::with_capacity(1));
        let mut checks = Vec::new();
        let mut asked = Asked::default();
        let policy = &self.route.policy;
        let header = OwnHeader::of(&policy.proxy_protocol);
        for (group, (entry, spec)) in self.hop.entries.iter().zip(&self.route.upstream).enumerate() {
            for (addr, of) in entry.addresses(group) {
                let tls = match (self.tls_key(entry), &self.connector) {
                    (None, _) => None,
                    (Some(key), Some(connector)) => Some((key, connector.clone())),
                    // Never connect without the TLS that the route wants.
                    (Some(_), None) => continue,
                };
                let (tls, connector) = tls.unzip();
                let leads_back = self.hop.leads_back(&addr, &mut asked);
                let source = self.route.source_of(spec).cloned();
                let range = self.route.is_led_by_a_rule() && spec.spec.count() > 1;
                let key = EndpointKey { protocol: policy.protocol, addr, tls, source, range };
                let endpoint = self.upstreams.endpoint(key, connector);
                // The check of an upstream that leads back would be one client more, and what is another for each client has none.
                let checkable = !leads_back && *entry.addr != UpstreamAddr::Original;
                let health = policy.health.as_ref().filter(|_| checkable);
                let running = health.map(|how| self.upstreams.check(&endpoint, how, header));
                let check = running.as_ref().map(|running| running.found());
                checks.extend(running);
                members.push(Member {
                    weight: spec.weight,
                    drains: spec.state == EntryState::Drain,
                    steering: Some(entry.steering.clone()),
                    backup: spec.backup,
                    most: spec.max_connections,
                    check: check.as_ref().map(|check| check.state.clone()),
                    of,
                    leads_back,
                    ..Member::plain(endpoint.state.clone())
                });
                let (name, written, tally) = (entry.name.clone(), entry.addr.clone(), entry.tally.clone());
                list.push(Candidate { endpoint, check, name, written, entry: group, tally, leads_back });
            }
        }
        self.hop.note(&asked);
        let pool = Pool::new(members, policy.balance, policy.slow_start);
        Gathered { candidates: Arc::new(Candidates { pool, list, version }), _checks: checks }
    }

    /// How the TLS of the route sets an upstream apart. `None`: no TLS is spoken to it.
    fn tls_key(&self, entry: &Entry) -> Option<TlsKey> {
        let policy = &self.route.policy;
        let tls = policy.tls.upstream.as_ref()?;
        Some(TlsKey::new(tls, &entry.addr, policy.proxy_protocol.send))
    }

    /// Whether any upstream is a name.
    pub fn has_names(&self) -> bool {
        self.names().next().is_some()
    }

    fn names(&self) -> impl Iterator<Item = &Arc<Name>> {
        self.hop.entries.iter().filter_map(|entry| entry.name.as_ref())
    }

    /// Whether any name is still without an answer.
    pub fn awaits_a_name(&self) -> bool {
        self.names().any(|name| name.is_unknown())
    }

    /// The names that have no address, each as written and with the reason.
    pub fn unresolved(&self) -> impl Iterator<Item = (&UpstreamAddr, String)> {
        self.hop.entries.iter().filter_map(|entry| {
            let name = entry.name.as_ref().filter(|name| name.addrs().is_empty())?;
            Some((&*entry.addr, name.error().unwrap_or_default()))
        })
    }

    /// Asks for a new look-up of each name, and returns other candidates as soon as an answer changes. Returns the same
    /// ones once each name was looked up without a change, or after `at_most`.
    pub async fn others_than(&self, known: &Candidates, at_most: Duration) -> Arc<Candidates> {
        let (asked, mut news) = (Instant::now(), self.news());
        self.names().for_each(|name| name.ask());
        let wait = async {
            while self.candidates().version == known.version
                && !self.names().all(|name| name.was_looked_up_since(asked))
                && news.changed().await.is_ok()
            {}
        };
        // On timeout, take what there is now.
        drop(within(at_most, wait).await);
        self.candidates()
    }

    /// Subscribes to news: an upstream went down or came back, or a name changed.
    pub fn news(&self) -> watch::Receiver<()> {
        self.upstreams.news().subscribe()
    }
}

/// Starts the checks of new addresses as names bring them, even while no client connects.
async fn keep_checked(live: Weak<LiveRoute>, upstreams: Arc<Upstreams>) {
    let mut news = upstreams.news().subscribe();
    while news.changed().await.is_ok() {
        let Some(live) = live.upgrade() else { return };
        drop(live.candidates());
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::config::compile;

    /// The first route of a file, as it runs. Needs a runtime.
    pub fn live_route(text: &str) -> Arc<LiveRoute> {
        let table = compile("test.toml", text.as_bytes()).unwrap().table;
        let route = table.all_routes().next().unwrap().clone();
        let connections = Scope::new();
        let (upstreams, loops) = (Upstreams::new(connections.child()), Arc::default());
        let runs_as = RunsAs { connections, generation: 1, upstreams: &upstreams, loops: &loops };
        LiveRoute::new(&Binding::alone(route, 0), runs_as, &mut RouteRegistry::default())
    }
}
