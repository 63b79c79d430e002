//! What is remembered of the clients of a route: it outlives edits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::access::Lists;
use crate::model::Peer;

/// Those who are turned away are counted, and told of at most this often.
const TELL: Duration = Duration::from_secs(60);

/// The memory of one route.
#[derive(Debug)]
pub struct Gate {
    route: String,
    denied: Count,
}

/// How many were turned away for one reason, and when that was last told.
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
    fn new(route: &str) -> Self {
        Gate { route: route.to_owned(), denied: Count::default() }
    }

    /// The lists do not let it in.
    pub(super) fn denied(&self, client: &Peer) {
        if let Some(denied) = self.denied.add() {
            info!(route = self.route, %client, denied, "denied a client; the next ones are counted");
        }
    }

    /// Says how many were turned away, if any were.
    pub fn sum_up(&self) {
        let denied = self.denied.get();
        if denied > 0 {
            info!(route = self.route, denied, "turned away in all");
        }
    }
}

/// What the clients of all routes have to do with.
#[derive(Debug, Default)]
pub struct Clientele {
    gates: HashMap<String, Arc<Gate>>,
    /// The lists from files.
    pub lists: Lists,
}

impl Clientele {
    /// The gate of a route, as it is known, or new.
    pub fn gate(&mut self, route: &str) -> Arc<Gate> {
        if let Some(gate) = self.gates.get(route) {
            return gate.clone();
        }
        let gate = Arc::new(Gate::new(route));
        self.gates.insert(route.to_owned(), gate.clone());
        gate
    }

    /// Every gate.
    pub fn gates(&self) -> impl Iterator<Item = &Gate> {
        self.gates.values().map(|gate| &**gate)
    }

    /// Forgets the gates of routes that are no more and have no connection.
    pub fn forget_unused(&mut self) {
        self.gates.retain(|_, gate| Arc::strong_count(gate) > 1);
    }
}
