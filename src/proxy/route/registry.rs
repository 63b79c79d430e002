//! The routes of the running proxy, as they are remembered.

use std::collections::HashMap;
use std::sync::Arc;

use super::access::Lists;
use super::state::{RouteState, SharedByRoutes};
use crate::proxy::upstream::TlsStore;
use crate::state::Totals;

/// Every route that is remembered, and what routes take from files.
#[derive(Debug, Default)]
pub struct RouteRegistry {
    states: HashMap<String, Arc<RouteState>>,
    shared: SharedByRoutes,
    last: u32,
    past: Totals,
    /// The lists from files.
    pub lists: Lists,
    /// The certificates from files.
    pub tls: TlsStore,
}

impl RouteRegistry {
    /// The state of a route, as it is known, or new.
    pub fn state(&mut self, route: &str) -> Arc<RouteState> {
        if let Some(state) = self.states.get(route) {
            return state.clone();
        }
        self.last = self.last.wrapping_add(1);
        let state = Arc::new(RouteState::new(route, self.last, &self.shared));
        self.states.insert(route.to_owned(), state.clone());
        state
    }

    /// The state of a route, if it is known.
    pub fn known(&self, route: &str) -> Option<Arc<RouteState>> {
        self.states.get(route).cloned()
    }

    /// The state of every route.
    pub fn states(&self) -> impl Iterator<Item = &Arc<RouteState>> {
        self.states.values()
    }

    /// What was counted of the routes that are forgotten.
    pub fn past(&self) -> Totals {
        self.past
    }

    /// Forgets the routes that are no more and have no connection.
    pub fn forget_unused(&mut self) {
        self.states.retain(|_, state| {
            let keep = Arc::strong_count(state) > 1;
            if let (false, Some(meter)) = (keep, state.metered()) {
                self.past += meter.tally.ended();
            }
            keep
        });
        self.states.values().for_each(|state| state.forget_unused_upstreams());
    }
}
