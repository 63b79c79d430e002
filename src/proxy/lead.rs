//! What a listener leads to: the entries of its route, and the addresses that these stand for now.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{Instant, timeout};

use super::access::Access;
use super::checks::Check;
use super::entry::Fork;
use super::gate::{Clientele, Gate};
use super::hold::WaitingRoom;
use super::keyring::{LiveAcceptor, LiveConnector, TlsKey};
use super::live::Live;
use super::names::Name;
use super::open::Account;
use super::upstreams::Upstreams;
use crate::config::Binding;
use crate::model::{Balance, Route, UpstreamAddr, UpstreamEntry, WhenFull};
use crate::state::{Member, NameOf, Pool, Tally};
use crate::tasks::Scope;

/// What a listener leads to: one route, as one reading of the file had it.
#[derive(Debug)]
pub struct Lead {
    /// The route.
    pub route: Arc<Route>,
    /// Who may come in.
    pub access: Access,
    /// What is known of its clients.
    pub gate: Arc<Gate>,
    /// The owner of its connections: `on_change` acts on them through it.
    pub connections: Scope,
    /// Whose its connections are.
    account: Arc<Account>,
    /// How its clients are served TLS, where TLS ends here.
    pub(super) acceptor: Option<Arc<LiveAcceptor>>,
    /// How TLS begins with its upstreams, where it begins here.
    connector: Option<Arc<LiveConnector>>,
    /// Where several routes may be meant: this one then only says how a client is heard.
    pub fork: Option<Box<Fork>>,
    /// Those who wait for an upstream to come back.
    pub(super) room: WaitingRoom,
    entries: Vec<Entry>,
    upstreams: Arc<Upstreams>,
    now: ArcSwap<Candidates>,
    /// No listener leads here any more; connections that are being made may still.
    retired: AtomicBool,
    /// Its task, where it has one.
    keeper: Option<Scope>,
}

/// An entry of `upstream`, for one listener.
#[derive(Debug)]
struct Entry {
    /// As written.
    addr: Arc<UpstreamAddr>,
    /// Of a name.
    name: Option<Arc<Name>>,
    /// What is counted of it.
    tally: Arc<Tally>,
}

/// Every address that the entries stand for, as the names were answered last.
#[derive(Debug)]
pub struct Candidates {
    /// In which order they are tried. A step's index is for [`Candidates::get`].
    pub pool: Pool,
    list: Vec<Candidate>,
    /// Of all names' versions together.
    version: u64,
}

/// One address.
#[derive(Debug)]
pub struct Candidate {
    /// What is known of it.
    pub live: Arc<Live>,
    /// Its check, where the route has one.
    pub check: Option<Arc<Check>>,
    /// The name that it is an address of.
    pub(super) name: Option<Arc<Name>>,
    /// The entry as written.
    pub written: Arc<UpstreamAddr>,
    /// Which of the route's entries that is.
    pub entry: usize,
    /// What is counted of that entry.
    pub(super) tally: Arc<Tally>,
}

impl Candidates {
    /// Of a version that no names have.
    fn none() -> Self {
        let pool = Pool::new(Vec::new(), Balance::default(), Duration::ZERO);
        Candidates { pool, list: Vec::new(), version: u64::MAX }
    }

    /// The candidate of a step.
    pub fn get(&self, index: usize) -> Option<&Candidate> {
        self.list.get(index)
    }

    /// All of them.
    pub fn list(&self) -> &[Candidate] {
        &self.list
    }
}

impl Candidate {
    /// How often its check has found it down.
    pub(super) fn checked_downs(&self) -> u64 {
        self.check.as_ref().map_or(0, |check| check.state.downs())
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.keeper.iter().for_each(Scope::kill);
    }
}

impl Lead {
    /// Where a binding of a table leads; its connections belong to `connections`.
    pub fn new(
        binding: &Binding,
        (connections, generation): (Scope, u64),
        (upstreams, clientele): (&Arc<Upstreams>, &mut Clientele),
        fork: Option<Box<Fork>>,
    ) -> Arc<Self> {
        let route = binding.route.clone();
        let gate = clientele.gate(&route.name);
        let entry = |entry: &UpstreamEntry| {
            let addr = entry.spec.at(binding.offset);
            let name = match &addr {
                UpstreamAddr::Name(host, _) => Some(upstreams.name(host)),
                UpstreamAddr::Ip(_) | UpstreamAddr::Unix(_) => None,
            };
            Entry { addr: Arc::new(addr), name, tally: gate.tally(&entry.spec) }
        };
        let entries: Vec<Entry> = route.upstream.iter().map(entry).collect();
        let keeps = route.policy.health.is_some() && entries.iter().any(|entry| entry.name.is_some());
        let keeper = keeps.then(|| upstreams.scope().child());
        let clients = &route.policy.clients;
        let lead = Arc::new(Lead {
            entries,
            access: Access::new(clients, &clientele.lists),
            account: Arc::new(Account { route: route.clone(), gate: gate.clone(), generation }),
            gate,
            acceptor: clientele.keyring.acceptor(&clients.tls),
            connector: clientele.keyring.connector(&clients.tls),
            connections,
            fork,
            room: WaitingRoom::default(),
            upstreams: upstreams.clone(),
            now: ArcSwap::from_pointee(Candidates::none()),
            retired: AtomicBool::new(false),
            keeper,
            route,
        });
        drop(lead.candidates());
        if let Some(keeper) = &lead.keeper {
            keeper.spawn(keep_checked(Arc::downgrade(&lead), upstreams.clone()));
        }
        lead
    }

    /// Itself, or those that a client is led to by what it asks for.
    pub fn each(lead: &Arc<Lead>) -> Vec<Arc<Lead>> {
        lead.fork.as_ref().map_or_else(|| vec![lead.clone()], |fork| fork.leads.clone())
    }

    /// Whose its connections are.
    pub fn account(&self) -> Arc<Account> {
        self.account.clone()
    }

    /// Whether a client for whom there is no place waits for one.
    pub(super) fn may_keep_waiting(&self) -> bool {
        self.route.policy.clients.when_full == WhenFull::Wait
    }

    /// No listener leads here any more: its checks end, as far as nobody else wants them.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        self.keeper.iter().for_each(Scope::kill);
        self.now.store(Arc::new(Candidates::none()));
        for lead in self.fork.iter().flat_map(|fork| &fork.leads) {
            lead.retire();
        }
    }

    /// The addresses that can be tried now.
    pub fn candidates(&self) -> Arc<Candidates> {
        let version =
            self.entries.iter().filter_map(|entry| entry.name.as_ref()).map(|name| name.version()).sum();
        let now = self.now.load_full();
        if now.version == version {
            return now;
        }
        let new = Arc::new(self.gather(version));
        if !self.retired.load(Ordering::SeqCst) {
            self.now.store(new.clone());
            // Meanwhile, perhaps.
            if self.retired.load(Ordering::SeqCst) {
                self.now.store(Arc::new(Candidates::none()));
            }
        }
        new
    }

    /// Whether one of them can be had, as far as is known; a name that was not answered yet counts as one that can.
    pub(super) fn is_any_up(&self) -> bool {
        let unknown = |entry: &Entry| entry.name.as_ref().is_some_and(|name| name.is_unknown());
        self.candidates().pool.is_any_up(Instant::now().into_std()) || self.entries.iter().any(unknown)
    }

    fn gather(&self, version: u64) -> Candidates {
        let (mut list, mut members) = (Vec::new(), Vec::new());
        let policy = &self.route.policy;
        for (group, (entry, spec)) in self.entries.iter().zip(&self.route.upstream).enumerate() {
            for (addr, of) in entry.addresses(group) {
                let tls = match (self.tls_key(entry), &self.connector) {
                    (None, _) => None,
                    (Some(key), Some(connector)) => Some((key, connector.clone())),
                    // Never without the TLS that is wanted.
                    (Some(_), None) => continue,
                };
                let live = self.upstreams.address(addr, tls.clone());
                let tls = tls.map(|(key, _)| key);
                let check = policy.health.as_ref();
                let check = check.map(|how| self.upstreams.check(&live, tls, how));
                members.push(Member {
                    weight: spec.weight,
                    backup: spec.backup,
                    most: spec.max_connections,
                    check: check.as_ref().map(|check| check.state.clone()),
                    of,
                    ..Member::plain(live.state.clone())
                });
                let (name, written, tally) = (entry.name.clone(), entry.addr.clone(), entry.tally.clone());
                list.push(Candidate { live, check, name, written, entry: group, tally });
            }
        }
        Candidates { pool: Pool::new(members, policy.balance, policy.slow_start), list, version }
    }

    /// What its TLS makes of an entry.
    fn tls_key(&self, entry: &Entry) -> Option<TlsKey> {
        let clients = &self.route.policy.clients;
        let tls = clients.tls.upstream.as_ref()?;
        Some(TlsKey::new(tls, &entry.addr, clients.proxy_protocol.send))
    }

    /// Whether an entry is a name.
    pub(super) fn has_names(&self) -> bool {
        self.names().next().is_some()
    }

    fn names(&self) -> impl Iterator<Item = &Arc<Name>> {
        self.entries.iter().filter_map(|entry| entry.name.as_ref())
    }

    /// Whether a name was not answered yet.
    pub(super) fn awaits_a_name(&self) -> bool {
        self.names().any(|name| name.is_unknown())
    }

    /// The names that have no address, each as written and with the reason.
    pub fn unresolved(&self) -> impl Iterator<Item = (&UpstreamAddr, String)> {
        self.entries.iter().filter_map(|entry| {
            let name = entry.name.as_ref().filter(|name| name.addrs().is_empty())?;
            Some((&*entry.addr, name.error().unwrap_or_default()))
        })
    }

    /// Other candidates than these, as soon as a name has another answer; the same, when each name was looked up once
    /// more, or when that takes longer than `patience`.
    pub(super) async fn others_than(&self, known: &Candidates, patience: Duration) -> Arc<Candidates> {
        let (asked, mut news) = (Instant::now(), self.upstreams.news().subscribe());
        self.names().for_each(|name| name.ask());
        let wait = async {
            while self.candidates().version == known.version
                && !self.names().all(|name| name.was_looked_up_since(asked))
                && news.changed().await.is_ok()
            {}
        };
        // Over: what there is now.
        drop(timeout(patience, wait).await);
        self.candidates()
    }

    /// Tells of upstreams that went down or came back, and of names that changed.
    pub(super) fn news(&self) -> tokio::sync::watch::Receiver<()> {
        self.upstreams.news().subscribe()
    }
}

impl Entry {
    /// The addresses that it stands for, each with what it is to the others of its name.
    fn addresses(&self, group: usize) -> Vec<(UpstreamAddr, Option<NameOf>)> {
        let (Some(name), UpstreamAddr::Name(_, port)) = (&self.name, &*self.addr) else {
            return vec![(UpstreamAddr::clone(&self.addr), None)];
        };
        let addrs = name.addrs();
        // Replicas may see a name's one address differently (each network of containers has its own): its name is what
        // they share. Of several addresses each is known by itself.
        let known_as = (addrs.len() == 1).then(|| self.addr.to_string());
        let preferred = addrs.first().is_some_and(|first| first.is_ipv6());
        let address = |ip: &std::net::IpAddr| {
            let of = NameOf { group, second: ip.is_ipv6() != preferred, known_as: known_as.clone() };
            (UpstreamAddr::Ip(SocketAddr::new(*ip, *port)), Some(of))
        };
        addrs.iter().map(address).collect()
    }
}

/// Begins the checks of addresses as names bring them, also while no client comes.
async fn keep_checked(lead: Weak<Lead>, upstreams: Arc<Upstreams>) {
    let mut news = upstreams.news().subscribe();
    while news.changed().await.is_ok() {
        let Some(lead) = lead.upgrade() else { return };
        drop(lead.candidates());
    }
}
