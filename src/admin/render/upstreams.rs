//! The upstreams, with their addresses, checks and counters.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::super::api::{Address, Check, Upstream, UpstreamState, Upstreams};
use super::super::rights::Refusal;
use super::super::snapshot::Snapshot;
use super::super::units::{count, seconds};
use super::super::{names, query};
use crate::model::{EntryState, Protocol, UpstreamAddr, UpstreamSpec};
use crate::proxy::route::{Candidate, LEADS_BACK};
use crate::server::handle::RouteView;
use crate::state::{CheckState, Serves};

/// The most addresses of one entry that are listed: a range of ports may have tens of thousands.
const LISTED: usize = 64;

/// Those that a query asks for.
pub(in super::super) fn asked(snapshot: &Snapshot, query: &str) -> Result<Upstreams, Refusal> {
    let mut route = None;
    for (key, value) in query::read(query)? {
        match key.as_str() {
            "route" => route = Some(value),
            _ => return Err(query::unknown(&key, "the only key is route")),
        }
    }
    if let Some(name) = &route {
        names::check_route(&snapshot.view, name)?;
    }
    Ok(upstreams(snapshot, route.as_deref()))
}

/// Those of a route, or of all routes.
pub(in super::super) fn upstreams(snapshot: &Snapshot, route: Option<&str>) -> Upstreams {
    let served = snapshot.view.routes.iter().chain(&snapshot.view.held);
    let served = served.filter(|view| route.is_none_or(|name| view.route.name == name));
    let all = served.flat_map(|view| of_route(snapshot, view));
    Upstreams { generation: snapshot.view.generation, upstreams: all.collect() }
}

/// Every entry of a route, in the order of the file.
pub(super) fn of_route(snapshot: &Snapshot, view: &RouteView) -> Vec<Upstream> {
    let now = Instant::now().into_std();
    // The addresses of each entry. Listeners share them, and their state.
    let mut found: Vec<BTreeMap<String, Address>> = vec![BTreeMap::new(); view.route.upstream.len()];
    let mut unresolved: BTreeMap<String, String> = BTreeMap::new();
    let both = view.route.policy.protocol == Protocol::TcpUdp;
    for live in &view.at {
        let candidates = live.candidates();
        for (member, candidate) in candidates.pool.members().iter().zip(candidates.list()) {
            let Some(found) = found.get_mut(candidate.entry) else { continue };
            let udp = both && live.route.policy.protocol == Protocol::Udp;
            let key = format!("{}{}", candidate.endpoint.state.addr(), if udp { "/udp" } else { "" });
            found.entry(key).or_insert_with_key(|key| address(key, candidate, member.is_up(now), now));
        }
        unresolved.extend(live.unresolved().map(|(name, error)| (name.to_string(), error)));
    }
    let entries = view.route.upstream.iter().zip(found);
    entries
        .map(|(entry, found)| {
            let up = found.values().filter(|address| address.up).count();
            let steering = view.state.steering(&entry.spec);
            let weight = steering.weight().unwrap_or(entry.weight);
            let drains =
                steering.serves() == Serves::Drains || entry.state == EntryState::Drain || weight == 0;
            let state = match (up, found.len()) {
                _ if steering.serves() == Serves::Disabled => UpstreamState::Disabled,
                // Of a route that is held nobody resolves the names.
                _ if drains || view.at.is_empty() => UpstreamState::Drained,
                (_, 0) => UpstreamState::Unresolved,
                (up, all) if up == all => UpstreamState::Up,
                (0, _) => UpstreamState::Down,
                _ => UpstreamState::Degraded,
            };
            let of_name = || unresolved.get(&entry.spec.at(0).to_string()).cloned();
            let tally = view.state.tally(&entry.spec);
            let more = found.len().saturating_sub(LISTED);
            Upstream {
                route: view.route.name.clone(),
                upstream: entry.spec.to_string(),
                weight: entry.weight,
                backup: entry.backup,
                max_connections: entry.max_connections,
                source: view.route.source_of(entry).map(ToString::to_string),
                state,
                reason: found.values().find_map(|address| of_entry(address, &entry.spec)).or_else(of_name),
                by_hand: snapshot.by_hand(&view.route.name, Some(entry.spec.to_string())),
                addresses: found.into_values().take(LISTED).collect(),
                more_addresses: count(more),
                addresses_up: count(up),
                traffic: snapshot.traffic(&tally),
                failed: tally.failures(),
            }
        })
        .collect()
}

fn address(shown: &str, candidate: &Candidate, up: bool, now: std::time::Instant) -> Address {
    let upstream = &candidate.endpoint.state;
    Address {
        address: shown.to_owned(),
        up,
        reason: if up { None } else { why(candidate) },
        since: since(candidate).map(|since| seconds(now.saturating_duration_since(since))),
        load: upstream.load(),
        downs: upstream.downs(),
        check: candidate.check.as_ref().map(|check| {
            let CheckState { up, downs, last, reason, against, needed } = check.state.state();
            Check {
                up,
                downs,
                last: last.map(|(ended, _)| seconds(now.saturating_duration_since(ended))),
                took: last.map(|(_, took)| seconds(took)),
                last_ok: last.map(|_| reason.is_none()),
                reason: reason.map(|why| without(upstream.addr(), why)),
                against: against.into(),
                needed: needed.into(),
            }
        }),
    }
}

/// When an address last went up or down.
fn since(candidate: &Candidate) -> Option<std::time::Instant> {
    let checked = candidate.check.as_ref().and_then(|check| check.state.since());
    checked.max(candidate.endpoint.state.since())
}

/// Which address is not available, and why.
pub(super) fn reason(candidate: &Candidate) -> Option<String> {
    Some(format!("{}: {}", candidate.endpoint.state.addr(), why(candidate)?))
}

/// Why an address is not available: the reason of its check, or of the connect that failed.
fn why(candidate: &Candidate) -> Option<String> {
    if candidate.leads_back {
        return Some(LEADS_BACK.to_owned());
    }
    let checked = candidate.check.as_ref().filter(|check| !check.state.is_up());
    let checked = checked.and_then(|check| check.state.reason());
    let why = checked.or_else(|| candidate.endpoint.state.reason())?;
    Some(without(candidate.endpoint.state.addr(), why))
}

/// A reason without the address that it begins with: it stands beside it. (That of a check may begin with another one, of
/// its own port.)
pub(in super::super) fn without(addr: &UpstreamAddr, why: String) -> String {
    let beginning = format!("{addr}: ");
    why.strip_prefix(&beginning).map_or(why.clone(), str::to_owned)
}

/// Why an address of an entry is not available, and which, if the entry does not say it.
fn of_entry(address: &Address, spec: &UpstreamSpec) -> Option<String> {
    let (why, address) = (address.reason.as_ref()?, &address.address);
    Some(if *address == spec.to_string() { why.clone() } else { format!("{address}: {why}") })
}
