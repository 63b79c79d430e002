//! Floor 4: the life of one connection, told in [`connection`].
//!
//! May log, dial and relay. Knows what one listener leads to ([`Lead`]); which listeners exist is floor 5's.

pub mod accept;
mod access;
pub mod access_log;
mod budget;
pub mod connection;
mod egress;
mod gate;
mod gateway;
mod ingress;
pub mod record;
mod severed;
mod upstreams;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;

use tokio::sync::Notify;

use crate::config::Binding;
use crate::model::{AcceptProxy, ListenAddr, Peer, Policy, Route, Selector, Untrusted, UpstreamEntry};
use crate::state::{Member, Names, Pool};
use crate::tasks::Scope;
pub use access::{Access, Lists, LiveList};
pub use access_log::AccessLog;
pub use budget::Budget;
use gate::Refusal;
pub use gate::{Clientele, Gate};
pub use upstreams::{Live, Upstreams};

/// One listening address of the running proxy. It stays while edits change what it leads to.
#[derive(Debug)]
pub struct Door {
    /// The address that it listens on.
    pub addr: ListenAddr,
    /// What it leads to now. Loaded once per connection.
    lead: ArcSwap<Lead>,
    changed: Notify,
}

impl Door {
    /// A door that leads there.
    pub fn new(addr: ListenAddr, lead: Lead) -> Self {
        Door { addr, lead: ArcSwap::from_pointee(lead), changed: Notify::new() }
    }

    /// Leads the next connections elsewhere.
    pub fn redirect(&self, lead: Lead) {
        self.lead.store(Arc::new(lead));
        self.changed.notify_waiters();
    }
}

/// What a listener leads to: one route, as one reading of the file had it.
#[derive(Debug)]
pub struct Lead {
    /// The route.
    pub route: Arc<Route>,
    /// Its upstreams for this listener.
    pub pool: Pool,
    /// The members of the pool, in its order.
    pub upstreams: Vec<Arc<Live>>,
    /// Who may come in.
    pub access: Access,
    /// What is known of its clients.
    pub gate: Arc<Gate>,
    /// The owner of its connections: `on_change` acts on them through it.
    pub connections: Scope,
    /// Where several routes may be meant: this one then only says how a client is heard.
    pub fork: Option<Box<Fork>>,
}

/// The routes of one address, to one of which a client is led by what it asks for.
#[derive(Debug)]
pub struct Fork {
    names: Names,
    leads: Vec<Arc<Lead>>,
    /// What records call the route of a client that is led to none.
    nobody: Arc<Route>,
}

impl Fork {
    /// Between these.
    pub fn new(leads: Vec<Arc<Lead>>) -> Self {
        let nobody = Route {
            name: "-".to_owned(),
            listen: Vec::new(),
            upstream: Vec::new(),
            selector: Selector::default(),
            policy: Policy::default(),
        };
        Fork {
            names: Names::new(leads.iter().map(|lead| &lead.route.selector)),
            leads,
            nobody: Arc::new(nobody),
        }
    }
}

impl Lead {
    /// Where a binding of a table leads; its connections belong to `connections`.
    pub fn new(
        binding: &Binding,
        connections: Scope,
        known: &mut Upstreams,
        clientele: &mut Clientele,
    ) -> Self {
        let route = binding.route.clone();
        let upstreams: Vec<Arc<Live>> =
            route.upstream.iter().map(|entry| known.get(entry.spec.at(binding.offset))).collect();
        let member = |(entry, live): (&UpstreamEntry, &Arc<Live>)| Member {
            upstream: live.state.clone(),
            weight: entry.weight,
            backup: entry.backup,
            most: entry.max_connections,
        };
        let members = route.upstream.iter().zip(&upstreams).map(member).collect();
        let pool = Pool::new(members, route.policy.balance, route.policy.slow_start);
        let access = Access::new(&route.policy.clients, &clientele.lists);
        let gate = clientele.gate(&route.name);
        Lead { route, pool, upstreams, access, gate, connections, fork: None }
    }
}

impl Lead {
    /// Whether a client may come in, or be heard. One that may not is counted.
    fn lets_in(&self, client: &Peer) -> bool {
        match self.route.policy.clients.proxy_protocol.accept.as_deref() {
            Some(accept) if accept.trusted.includes(client) => true,
            Some(accept) if accept.untrusted == Untrusted::Refuse => {
                self.gate.refused(Refusal::Untrusted, client);
                false
            }
            _ => match &self.fork {
                None => self.admits(client),
                // Somewhere it may come in, perhaps.
                Some(fork) if fork.leads.iter().any(|lead| lead.access.admits(client)) => true,
                Some(_) => {
                    self.gate.refused(Refusal::Denied, client);
                    false
                }
            },
        }
    }

    /// Whether the lists let a client in. One that they do not is counted.
    fn admits(&self, client: &Peer) -> bool {
        let admitted = self.access.admits(client);
        if !admitted {
            self.gate.refused(Refusal::Denied, client);
        }
        admitted
    }

    /// How the header of this sender is read, if it sends one.
    fn reads_header_of(&self, sender: &Peer) -> Option<&AcceptProxy> {
        let accept = self.route.policy.clients.proxy_protocol.accept.as_deref();
        accept.filter(|accept| accept.trusted.includes(sender))
    }

    /// Whether something of this client is read before it is known where it is led.
    fn reads_first(&self, client: &Peer) -> bool {
        self.fork.is_some() || self.reads_header_of(client).is_some()
    }
}

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    /// Where their records go.
    pub access_log: AccessLog,
    /// How many connections the descriptors allow.
    pub budget: Budget,
    next_id: AtomicU64,
    /// Drawn at the start: with the number of a connection it is a name that no other process gives.
    nonce: u64,
    killed: AtomicBool,
}

impl Shared {
    /// `connections`: how many may be open at once.
    pub fn new(access_log: AccessLog, connections: usize) -> Self {
        Shared {
            access_log,
            budget: Budget::new(connections),
            next_id: AtomicU64::new(1),
            nonce: fastrand::u64(..),
            killed: AtomicBool::new(false),
        }
    }

    /// From now on a connection whose task is ended counts as killed, not as drained.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
    }

    fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    /// A number that no other connection of this process has.
    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}
