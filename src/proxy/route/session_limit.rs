//! The limits of UDP sessions: for all routes by the descriptors, for one route by the file.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::live::LiveRoute;
use crate::tasks::ScopeToken;

/// How many sessions there may be before the server has set the limit.
const FIRST: usize = 16;

/// The UDP sessions of the process: how many are open, and how many may be.
#[derive(Debug, Default)]
pub struct SessionLimit {
    open: AtomicUsize,
    most: AtomicUsize,
}

impl SessionLimit {
    /// Changes how many may be open. Open sessions stay.
    pub fn resize(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// How many may be open. Never none: an edit that adds the first UDP route has clients before it sets the limit.
    fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed).max(FIRST)
    }

    /// How many are open, and how many may be.
    pub fn used(&self) -> (usize, usize) {
        (self.open.load(Ordering::Relaxed), self.most.load(Ordering::Relaxed))
    }

    /// How many sessions of a route may be without an answer: at most half of those that the process may have. A flood
    /// of spoofed senders gets no more, on however many routes it arrives.
    pub fn asking(&self, live: &LiveRoute) -> usize {
        let most = self.most();
        let route = live.route.policy.max_sessions.and_then(|most| usize::try_from(most).ok());
        // If the file sets the number, it also sets the price.
        route.map_or(most / 2, |route| route.min(most / 2)).max(1)
    }
}

/// The permit of one session, returned when it has ended.
#[derive(Debug)]
pub struct SessionPermit {
    shared: Arc<SessionLimit>,
    _of_route: ScopeToken,
}

impl SessionPermit {
    /// Takes a permit for one more session of a route. `None`: the route or the process is at its limit.
    pub fn take(shared: &Arc<SessionLimit>, live: &LiveRoute) -> Option<SessionPermit> {
        let of_route = live.connections.hold();
        let most = live.route.policy.max_sessions.and_then(|most| usize::try_from(most).ok());
        if most.is_some_and(|most| live.connections.len() > most) {
            return None;
        }
        let most = shared.most();
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
