//! How many sessions there may be: of all routes as the descriptors allow, and of one route as the file says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::Lead;
use crate::tasks::Held;

/// The UDP sessions of the process.
#[derive(Debug, Default)]
pub struct Sessions {
    open: AtomicUsize,
    most: AtomicUsize,
}

impl Sessions {
    /// Changes how many there may be. Those that are open stay so.
    pub fn resize(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// How many there are, and how many there may be.
    pub fn used(&self) -> (usize, usize) {
        (self.open.load(Ordering::Relaxed), self.most.load(Ordering::Relaxed))
    }

    /// How many sessions of a lead's route may be without an answer, as a part of all: a flood of made-up senders has
    /// no more, on however many routes it comes.
    pub(super) fn asking(&self, lead: &Lead) -> usize {
        let most = self.most.load(Ordering::Relaxed);
        let route = lead.route.policy.max_sessions.and_then(|most| usize::try_from(most).ok());
        // Where the file has set the number, the file has set the price.
        route.map_or(most / 2, |route| route.min(most / 2)).max(1)
    }
}

/// The right of one session to be, given back when it has ended.
#[derive(Debug)]
pub(super) struct Permit {
    shared: Arc<Sessions>,
    _of_route: Held,
}

impl Permit {
    /// One more session of a lead's route, if there is room for it.
    pub(super) fn take(shared: &Arc<Sessions>, lead: &Lead) -> Option<Permit> {
        let of_route = lead.connections.hold();
        let most = lead.route.policy.max_sessions.and_then(|most| usize::try_from(most).ok());
        if most.is_some_and(|most| lead.connections.len() > most) {
            return None;
        }
        let most = shared.most.load(Ordering::Relaxed);
        if shared.open.fetch_add(1, Ordering::Relaxed) >= most {
            shared.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Permit { shared: shared.clone(), _of_route: of_route })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
    }
}
