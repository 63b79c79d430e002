//! The tables of the screen: routes, upstreams, connections.

use std::path::Path;

use super::View;
use super::rates::{Rates, Track, bars};
use super::view::{Cell, Column, Mark, Row, TableView, number, text};
use crate::admin::api::{Address, Check, Connection, Route, RouteState, Upstream, UpstreamState};
use crate::cli::routes::{by_hand, upstreams as upstreams_of};
use crate::cli::table::{bytes, span, tidy};
use crate::cli::upstreams::check_word;

/// How many bars a row shows.
const BARS: usize = 14;

const ROUTES: &[Column] = &[
    text("ROUTE", 12).rest(),
    text("STATE", 8),
    number("OPEN", 6),
    number("NEW/s", 6),
    number("UP/s", 8),
    number("DOWN/s", 8),
    text("LAST 14 s", BARS as u16),
    number("OPENED", 9).from(100),
    text("LISTEN", 24).from(140),
];
const UPSTREAMS: &[Column] = &[
    text("ROUTE", 14),
    text("UPSTREAM", 16).rest(),
    text("STATE", 10),
    number("OPEN", 6),
    number("NEW/s", 6),
    number("FAILED", 7),
    text("CHECK", 10),
    number("UP/s", 8).from(100),
    number("DOWN/s", 8).from(100),
];
const CONNECTIONS: &[Column] = &[
    number("ID", 6),
    text("ROUTE", 10),
    text("CLIENT", 14).rest(),
    number("AGE", 7),
    number("IDLE", 7),
    number("UP", 8),
    number("DOWN", 8),
    number("B/s", 8),
    text("UPSTREAM", 24).from(110),
];

pub(super) fn routes(view: &View, rates: &Rates, plain: bool) -> TableView {
    let row = |route: &Route| {
        let track = rates.route(&route.name);
        let now = track.map(Track::now).unwrap_or_default();
        let (state, mark) = match route.state {
            RouteState::Up => ("up", Mark::Good),
            RouteState::Degraded => ("degraded", Mark::Warning),
            RouteState::Down => ("DOWN", Mark::Bad),
            RouteState::Removed => ("removed", Mark::Faint),
            RouteState::Disabled => ("disabled", Mark::Faint),
            RouteState::Drained => ("drained", Mark::Faint),
        };
        let samples = track.map(|track| &track.samples);
        let moved = samples.into_iter().flatten().map(|sample| sample.up + sample.down);
        let moved: Vec<f64> = moved.collect();
        let others = match route.more_reasons.len() {
            0 => String::new(),
            more => format!(", and {more} more: see 2"),
        };
        let reason = route.reason.as_ref().map(|reason| format!("{reason}{others}"));
        let reason = route.by_hand.as_ref().map(by_hand).or(reason);
        let file = route.file.as_ref().map(|file| format!("in {}", beside(view, file)));
        let more = reason.into_iter().chain(file).map(|more| format!("; {more}")).collect::<String>();
        Row {
            key: route.name.clone(),
            cells: vec![
                Cell::text(&route.name),
                Cell::text(state),
                count(route.traffic.open),
                per_second(now.opened),
                bytes_per_second(now.up),
                bytes_per_second(now.down),
                Cell::number(bars(moved.iter().copied(), BARS, plain), moved.iter().rev().take(BARS).sum()),
                count(route.traffic.opened),
                Cell::text(route.listen.join(", ")),
            ],
            mark,
            note: format!("{} -> {}{more}", route.listen.join(", "), upstreams_of(route)),
        }
    };
    TableView { columns: ROUTES, rows: view.routes.routes.iter().map(row).collect() }
}

/// The path of an included file, from the folder of the main one.
fn beside<'f>(view: &View, file: &'f str) -> &'f str {
    let folder = view.status.file.as_ref().and_then(|main| Some(Path::new(main).parent()?.to_owned()));
    let inside = folder.and_then(|folder| Path::new(file).strip_prefix(folder).ok()?.to_str());
    inside.unwrap_or(file)
}

pub(super) fn upstreams(view: &View, rates: &Rates) -> TableView {
    let row = |upstream: &Upstream| {
        let now = rates.upstream(&upstream.route, &upstream.upstream).map(Track::now).unwrap_or_default();
        let (state, mark) = match upstream.state {
            UpstreamState::Up => ("up", Mark::Good),
            UpstreamState::Degraded => ("degraded", Mark::Warning),
            UpstreamState::Down => ("DOWN", Mark::Bad),
            UpstreamState::Unresolved => ("UNRESOLVED", Mark::Bad),
            UpstreamState::Drained => ("drained", Mark::Faint),
            UpstreamState::Disabled => ("disabled", Mark::Faint),
        };
        Row {
            key: format!("{} {}", upstream.route, upstream.upstream),
            cells: vec![
                Cell::text(&upstream.route),
                Cell::text(&upstream.upstream),
                Cell::text(state),
                count(upstream.traffic.open),
                per_second(now.opened),
                count(upstream.failed),
                check(&upstream.addresses),
                bytes_per_second(now.up),
                bytes_per_second(now.down),
            ],
            mark,
            note: upstream_note(upstream),
        }
    };
    TableView { columns: UPSTREAMS, rows: view.upstreams.upstreams.iter().map(row).collect() }
}

/// What the check says that is the worst of those of its addresses.
fn check(addresses: &[Address]) -> Cell {
    let checks = addresses.iter().filter_map(|address| address.check.as_ref());
    let ranked = checks.map(|check| (check, badness(check)));
    match ranked.max_by(|(_, one), (_, other)| one.total_cmp(other)) {
        None => Cell::number("none", -1.0),
        Some((check, badness)) => Cell::number(check_word(check).replace(" of ", "/"), badness),
    }
}

/// How bad it is what a check says: of those that pass, how long it took.
fn badness(check: &Check) -> f64 {
    match (check.up, check.last_ok) {
        (true, None | Some(true)) => check.took.unwrap_or_default(),
        (true, Some(false)) => 1e6,
        (false, Some(true)) => 1e7,
        (false, None | Some(false)) => 1e8,
    }
}

fn upstream_note(upstream: &Upstream) -> String {
    let mut parts = vec![format!("weight {}", upstream.weight)];
    if upstream.backup {
        parts.push("backup".to_owned());
    }
    parts.extend(upstream.by_hand.iter().map(by_hand));
    if let Some(reason) = &upstream.reason {
        parts.push(reason.clone());
    }
    let addresses = upstream.addresses.iter().map(|address| {
        let fails = address.check.as_ref().filter(|check| check.up).and_then(|check| check.reason.as_ref());
        let why = address.reason.as_ref().or(fails).map(|why| format!(" ({why})")).unwrap_or_default();
        format!("{}{why}", address.address)
    });
    parts.push(addresses.collect::<Vec<_>>().join(", "));
    parts.join("; ")
}

pub(super) fn connections(view: &View, rates: &Rates) -> TableView {
    let row = |open: &Connection| {
        let upstream = open.upstream.as_deref().unwrap_or("not connected yet");
        let peer = open.peer.as_ref().filter(|peer| Some(*peer) != open.upstream.as_ref());
        let peer = peer.map(|peer| format!(" ({peer})")).unwrap_or_default();
        Row {
            key: open.id.to_string(),
            cells: vec![
                count(open.id),
                Cell::text(&open.route),
                Cell::text(&open.client),
                Cell::number(span(open.age), open.age),
                Cell::number(open.idle.map(span).unwrap_or_default(), open.idle.unwrap_or(-1.0)),
                Cell::number(bytes(open.bytes_up), open.bytes_up as f64),
                Cell::number(bytes(open.bytes_down), open.bytes_down as f64),
                bytes_per_second(rates.connection(open.id)),
                Cell::text(upstream),
            ],
            mark: Mark::None,
            note: tidy(&format!("{} -> {upstream}{peer}; {}: {}", open.client, open.path, open.why)),
        }
    };
    let open = view.connections.iter().flat_map(|page| &page.connections);
    TableView { columns: CONNECTIONS, rows: open.map(row).collect() }
}

fn count(count: u64) -> Cell {
    Cell::number(count.to_string(), count as f64)
}

fn per_second(rate: f64) -> Cell {
    Cell::number(if rate < 9.95 { format!("{rate:.1}") } else { format!("{rate:.0}") }, rate)
}

fn bytes_per_second(rate: f64) -> Cell {
    Cell::number(bytes(rate as u64), rate)
}
