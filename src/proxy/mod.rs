//! Floor 4: the life of one connection, told in [`connection`], and of one datagram, told in [`datagram`].
//!
//! May log, dial and relay. Knows what one listener leads to ([`Lead`]); which listeners exist is floor 5's.

pub mod accept;
mod access;
pub mod access_log;
mod budget;
pub mod connection;
pub mod datagram;
mod egress;
mod entry;
mod gate;
mod gateway;
mod greeting;
mod ingress;
pub mod record;
mod severed;
mod upstreams;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;

use tokio::sync::Notify;

use crate::config::Binding;
use crate::model::{ListenAddr, Route, UpstreamEntry};
use crate::state::{Member, Pool};
use crate::tasks::Scope;
pub use access::{Access, Lists, LiveList};
pub use access_log::AccessLog;
pub use budget::Budget;
pub use datagram::{DatagramDoor, Sessions};
pub use entry::Fork;
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

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    /// Where their records go.
    pub access_log: AccessLog,
    /// How many connections the descriptors allow.
    pub budget: Budget,
    /// How many UDP sessions they allow: none, until it is told.
    pub sessions: Arc<Sessions>,
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
            sessions: Arc::default(),
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
