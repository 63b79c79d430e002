//! How many sessions there may be: of all routes as the descriptors allow, and of one route as the file says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::live::LiveRoute;
use crate::tasks::ScopeToken;

/// The UDP sessions of the process.
#[derive(Debug, Default)]
pub struct SessionLimit {
    open: AtomicUsize,
    most: AtomicUsize,
}

impl SessionLimit {
    /// Changes how many there may be. Those that are open stay so.
    pub fn resize(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// How many there are, and how many there may be.
    pub fn used(&self) -> (usize, usize) {
        (self.open.load(Ordering::Relaxed), self.most.load(Ordering::Relaxed))
    }

    /// How many sessions of a route may be without an answer, as a part of all: a flood of made-up senders has
    /// no more, on however many routes it comes.
    pub fn asking(&self, live: &LiveRoute) -> usize {
        let most = self.most.load(Ordering::Relaxed);
        let route = live.route.policy.max_sessions.and_then(|most| usize::try_from(most).ok());
        // Where the file has set the number, the file has set the price.
        route.map_or(most / 2, |route| route.min(most / 2)).max(1)
    }
}

/// The right of one session to be, given back when it has ended.
#[derive(Debug)]
pub struct SessionPermit {
    shared: Arc<SessionLimit>,
    _of_route: ScopeToken,
}

impl SessionPermit {
    /// One more session of a route, if there is room for it.
    pub fn take(shared: &Arc<SessionLimit>, live: &LiveRoute) -> Option<SessionPermit> {
        let of_route = live.connections.hold();
        let most = live.route.policy.max_sessions.and_then(|most| usize::try_from(most).ok());
        if most.is_some_and(|most| live.connections.len() > most) {
            return None;
        }
        let most = shared.most.load(Ordering::Relaxed);
        if shared.open.fetch_add(1, Ordering::Relaxed) >= most {
            shared.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(SessionPermit { shared: shared.clone(), _of_route: of_route })
    }
}

impl Drop for SessionPermit {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
    }
}
