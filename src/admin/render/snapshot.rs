//! One look at everything that is counted.

use std::collections::HashMap;

use super::super::api::Traffic;
use crate::server::Handle;
use crate::server::handle::{RouteView, Stopping, View};
use crate::state::Tally;

/// What runs at one moment, with the bytes of what is open.
pub(in super::super) struct Snapshot {
    pub view: View,
    pub handle: Handle,
    /// Bytes of ended connections, up and down, of each tally.
    ended: HashMap<usize, (u64, u64)>,
    /// The same of open ones.
    live: HashMap<usize, (u64, u64)>,
    /// Connections, and UDP sessions.
    pub open: (usize, usize),
}

/// What a tally is found by.
fn key(tally: &Tally) -> usize {
    std::ptr::from_ref(tally).addr()
}

impl Snapshot {
    pub async fn take(handle: &Handle) -> Result<Snapshot, Stopping> {
        let view = handle.view().await?;
        let mut snapshot = Snapshot {
            view,
            handle: handle.clone(),
            ended: HashMap::new(),
            live: HashMap::new(),
            open: (0, 0),
        };
        // Before the open ones: what ends meanwhile is missing for a moment, and never counted twice.
        let gates = snapshot.every_route().map(|route| &route.gate).chain(&snapshot.view.nobody);
        let mut ended = HashMap::new();
        for gate in gates {
            if let Some(meter) = gate.metered() {
                ended.insert(key(&meter.tally), meter.tally.bytes());
            }
        }
        for route in snapshot.every_route() {
            for upstream in &route.route.upstream {
                let tally = route.gate.tally(&upstream.spec);
                ended.insert(key(&tally), tally.bytes());
            }
        }
        snapshot.ended = ended;
        snapshot.look_at_open();
        Ok(snapshot)
    }

    fn look_at_open(&mut self) {
        let (live, open) = (&mut self.live, &mut self.open);
        self.handle.shared.open.each(|connection| {
            match connection.is_session() {
                true => open.1 += 1,
                false => open.0 += 1,
            }
            let (up, down) = connection.traffic.bytes();
            let mut add = |tally: &Tally| {
                let sum = live.entry(key(tally)).or_default();
                *sum = (sum.0 + up, sum.1 + down);
            };
            let known = connection.known();
            if let Some(meter) = known.account.gate.metered() {
                add(&meter.tally);
            }
            if let Some(tally) = known.tally() {
                add(tally);
            }
        });
    }

    /// Routes in force, and those whose last connections end.
    pub fn every_route(&self) -> impl Iterator<Item = &RouteView> {
        self.view.routes.iter().chain(&self.view.removed)
    }

    /// What went through a route or an upstream.
    pub fn traffic(&self, tally: &Tally) -> Traffic {
        let (opened, closed) = tally.connections();
        let ended = self.ended.get(&key(tally)).copied().unwrap_or_default();
        let live = self.live.get(&key(tally)).copied().unwrap_or_default();
        let (bytes_up, bytes_down) = tally.all_bytes(ended, live);
        Traffic { open: opened - closed, opened, closed, bytes_up, bytes_down }
    }

    /// What went through a route: nothing, where nobody ever came.
    pub fn of_route(&self, route: &RouteView) -> Traffic {
        route.gate.metered().map(|meter| self.traffic(&meter.tally)).unwrap_or_default()
    }

    /// What went through everything that was ever there.
    pub fn total(&self) -> Traffic {
        let [opened, closed, bytes_up, bytes_down] = self.view.past;
        let past = Traffic { open: opened.saturating_sub(closed), opened, closed, bytes_up, bytes_down };
        let nobody = self.view.nobody.as_ref().and_then(|gate| gate.metered());
        let nobody = nobody.map(|meter| self.traffic(&meter.tally));
        self.every_route().map(|route| self.of_route(route)).chain(nobody).fold(past, |sum, more| Traffic {
            open: sum.open + more.open,
            opened: sum.opened + more.opened,
            closed: sum.closed + more.closed,
            bytes_up: sum.bytes_up + more.bytes_up,
            bytes_down: sum.bytes_down + more.bytes_down,
        })
    }
}
