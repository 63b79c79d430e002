//! Floor 4: the life of one connection, told in [`connection`], and of one datagram, told in [`datagram`].
//!
//! May log, dial and relay. Knows what one listener leads to ([`Lead`]); which listeners exist is floor 5's.

pub mod accept;
mod access;
pub mod access_log;
mod budget;
mod checks;
pub mod connection;
pub mod datagram;
mod egress;
mod entry;
mod front;
mod gate;
mod gateway;
mod greeting;
mod hold;
mod ingress;
mod keyring;
mod lead;
mod live;
mod names;
pub mod open;
mod race;
pub mod record;
mod severed;
mod tie;
mod upstreams;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, Semaphore};

use crate::model::ListenAddr;
use crate::tasks::Crew;
pub use access::{Access, Lists, LiveList};
pub use access_log::AccessLog;
pub use budget::Budget;
use budget::Episode;
pub use datagram::{DatagramDoor, Sessions};
pub use entry::{Fork, NOBODY};
pub use front::{Front, Posts};
pub use gate::{Clientele, Gate};
pub use keyring::{Keyring, LiveAcceptor, LiveConnector};
pub use lead::{Candidate, Candidates, Lead};
pub use live::Live;
pub use open::{Account, Open, OpenTable};
pub use upstreams::Upstreams;

/// One listening address of the running proxy. It stays while edits change what it leads to.
#[derive(Debug)]
pub struct Door {
    /// The address that it listens on.
    pub addr: Arc<ListenAddr>,
    /// What it leads to now. Loaded once per connection.
    lead: ArcSwap<Lead>,
    changed: Notify,
    /// Accepting fails.
    failing: Episode,
    /// Whose turn it is to come in, where clients wait: those who take connections are several.
    turn: Semaphore,
}

impl Door {
    /// A door that leads there.
    pub fn new(addr: ListenAddr, lead: Arc<Lead>) -> Self {
        Door {
            addr: Arc::new(addr),
            lead: ArcSwap::new(lead),
            changed: Notify::new(),
            failing: Episode::default(),
            turn: Semaphore::new(1),
        }
    }

    /// What it leads to now.
    pub fn lead(&self) -> Arc<Lead> {
        self.lead.load_full()
    }

    /// Nobody is led through it any more.
    pub fn close(&self) {
        self.lead.load().retire();
    }

    /// Leads the next connections elsewhere.
    pub fn redirect(&self, lead: Arc<Lead>) {
        self.lead.swap(lead).retire();
        self.changed.notify_waiters();
    }
}

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    /// The threads that serve them.
    pub crew: Crew,
    /// Where their records go.
    pub access_log: AccessLog,
    /// How many connections the descriptors allow.
    pub budget: Budget,
    /// How many UDP sessions they allow: none, until it is told.
    pub sessions: Arc<Sessions>,
    /// What is open now.
    pub open: OpenTable,
    next_id: AtomicU64,
    /// Drawn at the start: with the number of a connection it is a name that no other process gives.
    nonce: u64,
    killed: AtomicBool,
}

impl Shared {
    /// `connections`: how many may be open at once.
    pub fn new(crew: Crew, access_log: AccessLog, connections: usize) -> Self {
        Shared {
            crew,
            access_log,
            budget: Budget::new(connections),
            sessions: Arc::default(),
            open: OpenTable::default(),
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

    /// A name that no other connection has, of whatever process: its end is the `id` of the access log.
    fn unique_id(&self, id: u64) -> String {
        format!("{:016x}-{id}", self.nonce)
    }

    /// A number that no other connection of this process has.
    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}
