//! A look at what runs.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::Server;
use super::handle::RouteView;
use crate::proxy::{DatagramDoor, Gate, Lead, NOBODY};

impl Server {
    /// Every route in force, by name.
    pub(super) fn route_views(&self) -> Vec<RouteView> {
        let mut leads: BTreeMap<String, Vec<Arc<Lead>>> = BTreeMap::new();
        let mut datagrams: BTreeMap<String, Vec<Arc<DatagramDoor>>> = BTreeMap::new();
        for open in self.doors.values() {
            for lead in Lead::each(&open.door.lead()) {
                leads.entry(lead.route.name.clone()).or_default().push(lead);
            }
        }
        for door in self.datagrams.open() {
            let Some(lead) = door.lead() else { continue };
            datagrams.entry(lead.route.name.clone()).or_default().push(door.clone());
            leads.entry(lead.route.name.clone()).or_default().push(lead);
        }
        let mut retired: BTreeMap<&str, usize> = BTreeMap::new();
        for old in &self.retired {
            *retired.entry(&old.route.name).or_default() += old.connections.len();
        }
        let mut views = Vec::with_capacity(self.table.routes.len());
        for (name, route) in &self.table.routes {
            let Some(gate) = self.clientele.known(name) else { continue };
            views.push(RouteView {
                route: route.clone(),
                gate,
                leads: leads.remove(name).unwrap_or_default(),
                datagrams: datagrams.remove(name).unwrap_or_default(),
                retired: retired.get(name.as_str()).copied().unwrap_or_default(),
            });
        }
        views
    }

    /// Clients that no route serves.
    pub(super) fn nobody(&self) -> Option<Arc<Gate>> {
        self.clientele.known(NOBODY)
    }

    /// What is counted of all routes that were ever there, but for these: connections opened and closed, bytes up and down.
    pub(super) fn past<'v>(&self, listed: impl Iterator<Item = &'v RouteView>) -> [u64; 4] {
        let listed: HashSet<&str> = listed.map(|view| view.gate.route()).chain([NOBODY]).collect();
        let mut past = self.clientele.past();
        for gate in self.clientele.gates().filter(|gate| !listed.contains(gate.route())) {
            let Some(meter) = gate.metered() else { continue };
            let ((opened, closed), (up, down)) = (meter.tally.connections(), meter.tally.bytes());
            for (past, count) in past.iter_mut().zip([opened, closed, up, down]) {
                *past += count;
            }
        }
        past
    }

    /// Routes that are no more, and have open connections.
    pub(super) fn removed_views(&self) -> Vec<RouteView> {
        let mut removed: BTreeMap<String, RouteView> = BTreeMap::new();
        for old in &self.retired {
            let (name, open) = (&old.route.name, old.connections.len());
            if open == 0 || self.table.routes.contains_key(name) {
                continue;
            }
            let Some(gate) = self.clientele.known(name) else { continue };
            let view = removed.entry(name.clone()).or_insert_with(|| RouteView {
                route: old.route.clone(),
                gate,
                leads: Vec::new(),
                datagrams: Vec::new(),
                retired: 0,
            });
            view.retired += open;
        }
        removed.into_values().collect()
    }
}
