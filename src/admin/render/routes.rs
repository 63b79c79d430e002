//! The routes, with their state and their counters.

use std::collections::{BTreeMap, HashSet};

use tokio::time::Instant;

use super::super::api::{Route, RouteState, Routes, Traffic};
use super::super::snapshot::Snapshot;
use super::super::units::count;
use super::upstreams;
use crate::model;
use crate::server::handle::RouteView;

pub(in super::super) fn routes(snapshot: &Snapshot) -> Routes {
    let files = snapshot.view.included.as_ref().map(|files| files.by_route()).unwrap_or_default();
    let of = |view: &RouteView, gone: Option<RouteState>| {
        let (state, reasons) = gone.map_or_else(|| state(view), |state| (state, Vec::new()));
        let mut reasons = reasons.into_iter();
        Route {
            name: view.route.name.clone(),
            file: files.get(&view.route.name).cloned(),
            protocol: view.route.policy.protocol.label().to_owned(),
            listen: view.route.listen.iter().map(ToString::to_string).collect(),
            upstream: view.route.upstream.iter().map(ToString::to_string).collect(),
            state,
            reason: reasons.next(),
            more_reasons: reasons.collect(),
            by_hand: snapshot.by_hand(&view.route.name, None).pop(),
            steered: snapshot.steered(|of| of.route == view.route.name && of.upstream.is_some()),
            traffic: snapshot.of_route(view),
            outcomes: outcomes(view),
            turned_away: view.state.turned_away().map(|(key, clients)| (key.to_owned(), clients)).collect(),
            retired: count(view.retired),
            dropped: dropped(view),
        }
    };
    let present = snapshot.view.routes.iter().map(|view| of(view, None));
    let held = snapshot.view.held.iter().map(|view| {
        // Its time by hand is over: it is to serve again, and cannot.
        if !view.closed.is_empty() {
            return Route { by_hand: None, ..of(view, None) };
        }
        let mut route = of(view, Some(RouteState::Drained));
        if let Some(deed) = route.by_hand.as_ref().filter(|deed| deed.act == "disable") {
            route.reason = Some(format!("disabled by hand by {}", deed.by));
            route.state = RouteState::Disabled;
        }
        route
    });
    let disabled = snapshot.view.disabled.iter().map(|route| {
        let file = files.get(&route.name).cloned();
        Route { file, ..disabled(route) }
    });
    let removed = snapshot.view.removed.iter().map(|view| of(view, Some(RouteState::Removed)));
    Routes {
        generation: snapshot.view.generation,
        routes: present.chain(held).chain(disabled).chain(removed).collect(),
    }
}

/// A route with `enabled = false`: it has no counters.
fn disabled(route: &model::Route) -> Route {
    Route {
        name: route.name.clone(),
        file: None,
        protocol: route.policy.protocol.label().to_owned(),
        listen: route.listen.iter().map(ToString::to_string).collect(),
        upstream: route.upstream.iter().map(ToString::to_string).collect(),
        state: RouteState::Disabled,
        reason: None,
        more_reasons: Vec::new(),
        by_hand: None,
        steered: Vec::new(),
        traffic: Traffic::default(),
        outcomes: BTreeMap::new(),
        turned_away: BTreeMap::new(),
        retired: 0,
        dropped: BTreeMap::new(),
    }
}

fn outcomes(view: &RouteView) -> BTreeMap<String, u64> {
    let outcomes = view.state.metered().into_iter().flat_map(|meter| meter.outcomes());
    outcomes.map(|(outcome, connections)| (outcome.label().to_owned(), connections)).collect()
}

fn dropped(view: &RouteView) -> BTreeMap<String, u64> {
    let mut dropped = BTreeMap::new();
    for (reason, datagrams) in view.udp.iter().flat_map(|listener| listener.dropped()) {
        if datagrams > 0 {
            *dropped.entry(reason.to_owned()).or_default() += datagrams;
        }
    }
    dropped
}

/// Whether a route listens and its upstreams are available, and what is known of each address that is not.
pub(super) fn state(view: &RouteView) -> (RouteState, Vec<String>) {
    let now = Instant::now().into_std();
    let (mut up, mut down, mut reasons) = (false, false, Vec::new());
    // An upstream stands for several addresses, and each listener has them all: one of them says enough.
    let (mut entries, mut names) = (HashSet::new(), HashSet::new());
    for live in &view.at {
        let candidates = live.candidates();
        for (member, candidate) in candidates.pool.members().iter().zip(candidates.list()) {
            if !member.takes_new() {
                continue;
            }
            if member.is_up(now) {
                up = true;
            } else {
                down = true;
                if !entries.contains(&candidate.entry)
                    && let Some(reason) = upstreams::reason(candidate)
                {
                    entries.insert(candidate.entry);
                    reasons.push(reason);
                }
            }
        }
        if !candidates.list().is_empty() && !candidates.pool.takes_new() {
            down = true;
            if reasons.is_empty() {
                reasons.push("none of its upstreams gets new connections".to_owned());
            }
        }
        for (name, error) in live.unresolved() {
            down = true;
            if names.insert(name.to_string()) {
                reasons.push(format!("{name}: {error}"));
            }
        }
    }
    if !view.closed.is_empty() {
        down = true;
        up &= view.closed.len() < view.at.len();
        reasons = view.closed.iter().map(|fault| format!("{fault}; {}", fault.help)).chain(reasons).collect();
    }
    match (up, down) {
        (_, false) => (RouteState::Up, Vec::new()),
        (true, true) => (RouteState::Degraded, reasons),
        (false, true) => (RouteState::Down, reasons),
    }
}
