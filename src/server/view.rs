//! Views of what runs.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::handle::RouteView;
use super::named_file::{NamedFile, merged};
use super::running::Server;
use crate::model::{Fault, Route};
use crate::proxy::route::{LiveRoute, NO_ROUTE, RouteState};
use crate::proxy::udp::UdpListener;
use crate::state::Totals;

impl Server {
    /// Every route in force, by name.
    pub fn route_views(&self) -> Vec<RouteView> {
        let mut at: BTreeMap<String, Vec<Arc<LiveRoute>>> = BTreeMap::new();
        let mut udp: BTreeMap<String, Vec<Arc<UdpListener>>> = BTreeMap::new();
        let mut closed: BTreeMap<String, Vec<Arc<Fault>>> = BTreeMap::new();
        for socket in self.listeners.values() {
            let fault = socket.fault();
            for live in socket.listener().frontend().routes() {
                at.entry(live.route.name.clone()).or_default().push(live.clone());
                if let Some(fault) = &fault {
                    closed.entry(live.route.name.clone()).or_default().push(fault.clone());
                }
            }
        }
        for listener in self.udp.open() {
            let Some(live) = listener.live() else { continue };
            udp.entry(live.route.name.clone()).or_default().push(listener.clone());
            at.entry(live.route.name.clone()).or_default().push(live);
        }
        let retired = self.retired_by_route();
        let mut views = Vec::with_capacity(self.table.routes.len());
        for (name, route) in self.table.routes.iter() {
            let Some(state) = self.registry.known(name) else { continue };
            views.push(RouteView {
                route: route.clone(),
                state,
                at: at.remove(name).unwrap_or_default(),
                closed: closed.remove(name).unwrap_or_default(),
                udp: udp.remove(name).unwrap_or_default(),
                retired: retired.get(name.as_str()).copied().unwrap_or_default(),
            });
        }
        views
    }

    /// The routes that were taken out by hand.
    pub fn held_views(&self) -> Vec<RouteView> {
        let retired = self.retired_by_route();
        let view = |(name, route): (&String, &Arc<Route>)| {
            Some(RouteView {
                route: route.clone(),
                state: self.registry.known(name)?,
                at: Vec::new(),
                closed: self.still_out.get(name).cloned().into_iter().collect(),
                udp: Vec::new(),
                retired: retired.get(name.as_str()).copied().unwrap_or_default(),
            })
        };
        self.table.held.iter().filter_map(view).collect()
    }

    /// How many open connections of each route follow a text that no longer runs.
    fn retired_by_route(&self) -> BTreeMap<&str, usize> {
        let mut retired: BTreeMap<&str, usize> = BTreeMap::new();
        for old in &self.retired {
            *retired.entry(&old.route.name).or_default() += old.connections.len();
        }
        retired
    }

    /// The files that the routes' file names.
    pub fn named_files(&self) -> Vec<NamedFile> {
        merged(self.lists.shown().chain(self.credentials.shown()).chain(self.tokens.shown()))
    }

    /// The state of the stand-in route for clients that no route serves. `None`: no listener needs it.
    pub fn nobody(&self) -> Option<Arc<RouteState>> {
        self.registry.known(NO_ROUTE)
    }

    /// Totals of every route that ever ran, except these and the stand-in for clients that no route serves.
    pub fn past<'v>(&self, listed: impl Iterator<Item = &'v RouteView>) -> Totals {
        let listed: HashSet<&str> = listed.map(|view| view.state.route()).chain([NO_ROUTE]).collect();
        let mut past = self.registry.past();
        for state in self.registry.states().filter(|state| !listed.contains(state.route())) {
            if let Some(meter) = state.metered() {
                past += meter.tally.ended();
            }
        }
        past
    }

    /// Removed routes that still have open connections.
    pub fn removed_views(&self) -> Vec<RouteView> {
        let mut removed: BTreeMap<String, RouteView> = BTreeMap::new();
        for old in &self.retired {
            let (name, open) = (&old.route.name, old.connections.len());
            if open == 0 || self.table.route(name).is_some() {
                continue;
            }
            let Some(state) = self.registry.known(name) else { continue };
            let view = removed.entry(name.clone()).or_insert_with(|| RouteView {
                route: old.route.clone(),
                state,
                at: Vec::new(),
                closed: Vec::new(),
                udp: Vec::new(),
                retired: 0,
            });
            view.retired += open;
        }
        removed.into_values().collect()
    }
}

/// The status line for the service manager.
pub(super) fn status(server: &Server) -> String {
    format!("{} routes, {} listeners", server.table().routes.len(), server.listeners())
}
