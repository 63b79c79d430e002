//! A snapshot of everything that is counted.

use std::collections::HashMap;

use tokio::time::Instant;

use super::api::{ByHand, SteeredByHand, Traffic};
use super::units::{moment, seconds};
use crate::server::Handle;
use crate::server::handle::{RouteView, Stopping, View};
use crate::state::{Act, Bytes, Deed, Tally, Target, Totals};

/// What runs at one moment, with the bytes of open connections.
pub(super) struct Snapshot {
    pub view: View,
    pub handle: Handle,
    /// Bytes of ended connections, by the id of their tally.
    ended: HashMap<u64, Bytes>,
    /// Bytes of open connections, by the id of their tally.
    live: HashMap<u64, Bytes>,
    /// How many connections, and how many UDP sessions, are open.
    pub open: (usize, usize),
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
        // Ended connections first: one that ends meanwhile is missing for a moment, and never counted twice.
        let states = snapshot.every_route().map(|route| &route.state).chain(&snapshot.view.nobody);
        let mut ended = HashMap::new();
        for state in states {
            if let Some(meter) = state.metered() {
                ended.insert(meter.tally.id(), meter.tally.ended().bytes);
            }
        }
        for route in snapshot.every_route() {
            for upstream in &route.route.upstream {
                let tally = route.state.tally(&upstream.spec);
                ended.insert(tally.id(), tally.ended().bytes);
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
            let bytes = connection.traffic.bytes();
            let mut add = |tally: &Tally| *live.entry(tally.id()).or_default() += bytes;
            let known = connection.known();
            if let Some(meter) = known.owner.state.metered() {
                add(&meter.tally);
            }
            if let Some(tally) = known.tally() {
                add(tally);
            }
        });
    }

    /// Routes in force, those taken out by hand, and removed ones whose last connections are ending.
    pub fn every_route(&self) -> impl Iterator<Item = &RouteView> {
        self.view.routes.iter().chain(&self.view.held).chain(&self.view.removed)
    }

    /// What was done by hand to a route, or to one of its upstreams.
    pub fn by_hand(&self, route: &str, upstream: Option<String>) -> Vec<ByHand> {
        if self.view.by_hand.is_empty() {
            return Vec::new();
        }
        let target = Target { route: route.to_owned(), upstream };
        self.view.by_hand.of(&target).map(by_hand).collect()
    }

    /// All that was done by hand to what is meant.
    pub fn steered(&self, is_meant: impl Fn(&Target) -> bool) -> Vec<SteeredByHand> {
        let meant = self.view.by_hand.all().filter(|(target, _)| is_meant(target));
        let steered = meant.map(|(target, deed)| SteeredByHand {
            route: target.route.clone(),
            upstream: target.upstream.clone(),
            deed: by_hand(deed),
        });
        steered.collect()
    }

    /// Connections and bytes of a route or an upstream.
    pub fn traffic(&self, tally: &Tally) -> Traffic {
        let ended = self.ended.get(&tally.id()).copied().unwrap_or_default();
        let live = self.live.get(&tally.id()).copied().unwrap_or_default();
        traffic(tally.all(ended, live))
    }

    /// Connections and bytes of a route; zeros if it never had a connection.
    pub fn of_route(&self, route: &RouteView) -> Traffic {
        route.state.metered().map(|meter| self.traffic(&meter.tally)).unwrap_or_default()
    }

    /// Connections and bytes of all routes since the start.
    pub fn total(&self) -> Traffic {
        let nobody = self.view.nobody.as_ref().and_then(|state| state.metered());
        let nobody = nobody.map(|meter| self.traffic(&meter.tally));
        let all = self.every_route().map(|route| self.of_route(route)).chain(nobody);
        all.fold(traffic(self.view.past), |sum, more| Traffic {
            open: sum.open + more.open,
            opened: sum.opened + more.opened,
            closed: sum.closed + more.closed,
            bytes_up: sum.bytes_up + more.bytes_up,
            bytes_down: sum.bytes_down + more.bytes_down,
        })
    }
}

/// A deed as a value of the API.
fn by_hand(deed: &Deed) -> ByHand {
    let now = Instant::now().into_std();
    let (act, weight) = match deed.act {
        Act::Drain => ("drain", None),
        Act::Disable => ("disable", None),
        Act::Weight(weight) => ("weight", Some(weight)),
    };
    ByHand {
        act: act.to_owned(),
        weight,
        by: deed.by.clone(),
        at: moment(deed.at),
        ends: deed.until.map(|until| seconds(until.saturating_duration_since(now))),
    }
}

/// Totals as a value of the API.
fn traffic(totals: Totals) -> Traffic {
    let Totals { opened, closed, bytes } = totals;
    Traffic {
        open: opened.saturating_sub(closed),
        opened,
        closed,
        bytes_up: bytes.up,
        bytes_down: bytes.down,
    }
}
