//! The state of routes, which outlives edits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::access::Lists;
use super::state::{RouteState, SharedByRoutes};
use crate::proxy::upstream::TlsStore;
use crate::state::limits::{Owed, SaidRate};
use crate::state::{ClientKey, Totals};
use crate::tasks::Scope;

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
    /// No route yet. `scope` owns the task that logs how many clients were refused.
    pub fn new(scope: &Scope) -> Self {
        let registry = RouteRegistry::default();
        let log = registry.shared.refusal_log.clone();
        scope.keep(move || log.clone().run());
        registry
    }

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

    /// Which clients of which routes have not paid off their rate yet.
    pub fn owed(&self) -> Vec<SaidRate> {
        let names: HashMap<u32, &String> =
            self.states.iter().map(|(name, state)| (state.number, name)).collect();
        let said = |owed: Owed| {
            let ahead = u64::try_from(owed.ahead.as_nanos()).unwrap_or(u64::MAX);
            Some(SaidRate { route: (*names.get(&owed.route)?).clone(), client: owed.client.ip(), ahead })
        };
        self.shared.rates.owed().into_iter().filter_map(said).collect()
    }

    /// Notes what clients owe from before, of routes that are known.
    pub fn owe(&self, said: &[SaidRate]) {
        for SaidRate { route, client, ahead } in said {
            if let Some(state) = self.states.get(route) {
                let (client, ahead) = (ClientKey::of(*client), Duration::from_nanos(*ahead));
                self.shared.rates.owe(Owed { route: state.number, client, ahead });
            }
        }
    }

    /// The totals of the routes that were forgotten.
    pub fn past(&self) -> Totals {
        self.past
    }

    /// Adds the totals of routes that another process has forgotten.
    pub fn add_past(&mut self, more: Totals) {
        self.past += more;
    }

    /// Forgets routes that were removed and have no connection left. Adds their totals to [`RouteRegistry::past`]. `is_held`:
    /// whether the route of this name was only taken out, and may come back.
    pub fn forget_unused(&mut self, is_held: impl Fn(&str) -> bool) {
        self.states.retain(|name, state| {
            let keep = Arc::strong_count(state) > 1 || is_held(name);
            if let (false, Some(meter)) = (keep, state.metered()) {
                self.past += meter.tally.ended();
            }
            keep
        });
        self.states.values().for_each(|state| state.forget_unused_upstreams());
    }
}
