//! The state of routes, which outlives edits.

use std::collections::HashMap;
use std::sync::Arc;

use super::access::Lists;
use super::state::{RouteState, SharedByRoutes};
use crate::proxy::upstream::TlsStore;
use crate::state::Totals;

/// The state of every known route, and what routes read from files.
#[derive(Debug, Default)]
pub struct RouteRegistry {
    states: HashMap<String, Arc<RouteState>>,
    shared: SharedByRoutes,
    last: u32,
    past: Totals,
    /// The `allow` and `deny` lists from files.
    pub lists: Lists,
    /// The certificates from files.
    pub tls: TlsStore,
}

impl RouteRegistry {
    /// The state of a route. Created if the route is not known yet.
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

    /// The state of every known route.
    pub fn states(&self) -> impl Iterator<Item = &Arc<RouteState>> {
        self.states.values()
    }

    /// The totals of the routes that were forgotten.
    pub fn past(&self) -> Totals {
        self.past
    }

    /// Forgets routes that were removed and have no connection left. Adds their totals to [`RouteRegistry::past`].
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
