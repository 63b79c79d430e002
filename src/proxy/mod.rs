//! Floor 4: the life of one connection, told in [`connection`].
//!
//! May log, dial and relay. Knows what one listener leads to ([`Lead`]); which listeners exist is floor 5's.

pub mod accept;
pub mod access_log;
mod budget;
mod checks;
pub mod connection;
mod egress;
mod front;
mod hold;
mod lead;
mod live;
mod names;
mod race;
pub mod record;
mod tie;
mod upstreams;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::model::ListenAddr;
pub use access_log::AccessLog;
pub use budget::Budget;
pub use front::Front;
pub use lead::{Candidate, Candidates, Lead};
pub use live::Live;
pub use upstreams::Upstreams;

/// One listening address of the running proxy. It stays while edits change what it leads to.
#[derive(Debug)]
pub struct Door {
    /// The address that it listens on.
    pub addr: ListenAddr,
    /// What it leads to now. Loaded once per connection.
    pub lead: ArcSwap<Lead>,
}

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    /// Where their records go.
    pub access_log: AccessLog,
    /// How many connections the descriptors allow.
    pub budget: Budget,
    next_id: AtomicU64,
    killed: AtomicBool,
}

impl Shared {
    /// `connections`: how many may be open at once.
    pub fn new(access_log: AccessLog, connections: usize) -> Self {
        Shared {
            access_log,
            budget: Budget::new(connections),
            next_id: AtomicU64::new(1),
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
