//! A backend: servers, how one is chosen, how long a connection may be quiet.

use std::time::Duration;

use super::checks;
use super::lines::Line;
use super::server::{self, Ports, Words};
use super::sides::Side;
use crate::config::import::fields::Fields;
use crate::config::import::sheet::{Route, Sheet, Upstream};
use crate::config::import::values::{haproxy_time, quote, span};

/// The two sides of a route.
pub(super) struct Sides<'s, 'c> {
    /// The frontend; of a `listen` the same as `back`.
    pub front: &'s Side<'c>,
    pub back: &'s Side<'c>,
    /// Whether certificates are verified where a server says nothing of it.
    pub verifies: bool,
}

/// Writes a backend into the route.
pub(super) fn take(sides: &Sides<'_, '_>, route: &mut Route, sheet: &mut Sheet) {
    let back = sides.back;
    let servers = servers(sides, route, sheet);
    // What a server asks of its route, the first one says that gets clients and is no spare; the others must say the same.
    let last = |server: &&Server<'_>| {
        let Words { own, away, .. } = &server.words;
        (own.has("state") || !away.is_empty(), own.has("backup"))
    };
    let keys = servers.iter().min_by_key(last).map(|server| server.words.route_keys()).unwrap_or_default();
    let unverified = |server: &&Server<'_>| server.words.tls && !server.words.verifies;
    for server in servers.iter().filter(unverified).filter(|_| keys.has("tls.upstream")) {
        route.note(&server.line.said, sheet.unverified());
    }
    let several = back.named("server").count() > 1;
    for server in servers {
        let upstream = server.upstream(&keys, several, route);
        route.upstream.push(upstream);
    }
    for line in back.named("dispatch") {
        match server::address(line.arg(0), None) {
            Ok(address) => {
                route.upstream.push(Upstream::at(address));
                sheet.carried(&line.said);
            }
            Err(why) => route.note(&line.said, why),
        }
    }
    route.fields.take(&keys);
    checks::take(back, route, sheet);
    balance(back, route, sheet);
    quiet(sides, route, sheet);
}

/// A line with the address of an upstream, and what it says of it.
struct Server<'c> {
    line: &'c Line,
    words: Words,
    address: String,
}

/// The servers in their order, each with what the `default-server` lines before it say.
fn servers<'c>(sides: &Sides<'_, 'c>, route: &mut Route, sheet: &mut Sheet) -> Vec<Server<'c>> {
    let ports = match route.listen.as_slice() {
        [one] => Ports::of(one),
        _ => None,
    };
    let mut default = Words { verifies: sides.verifies, ..Words::default() };
    let mut servers = Vec::new();
    for line in sides.back.among(&["default-server", "server", "server-template"]) {
        // Of a template the second word is a number.
        let (at, from) = match line.name().as_str() {
            "default-server" => {
                default.read(line.args());
                sheet.carried(&line.said);
                default.rest.drain(..).for_each(|why| route.note(&line.said, why));
                continue;
            }
            "server-template" => (2, 3),
            _ => (1, 2),
        };
        let mut words = default.clone();
        words.read(line.args().get(from..).unwrap_or_default());
        match server::address(line.arg(at), ports.as_ref()) {
            Ok(address) => {
                sheet.carried(&line.said);
                servers.push(Server { line, words, address });
            }
            Err(why) => route.note(&line.said, why),
        }
    }
    servers
}

/// Keys without which a server gets other bytes than it understands.
const BYTES: [&str; 2] = ["tls", "proxy_protocol"];

impl Server<'_> {
    /// It as an upstream of a route that has these keys. `several`: it needs its name.
    fn upstream(self, keys: &Fields, several: bool, route: &mut Route) -> Upstream {
        let Server { line, mut words, address } = self;
        let (bytes, others): (Vec<String>, Vec<String>) =
            keys.differing(&words.route_keys()).into_iter().partition(|key| BYTES.contains(&key.as_str()));
        let differs = |key: &String| {
            format!("its `{key}` is not that of the others: a route has one for all its upstreams")
        };
        words.rest.extend(others.iter().map(differs));
        if words.checks && words.checks_tls && !words.tls {
            words.rest.push(
                "`check-ssl`: a check is plain, as connections are: a port of TLS is down for it".to_owned(),
            );
        }
        let away = words.away.into_iter().chain(bytes.iter().map(differs));
        let away: Vec<String> = away.map(|why| format!("{why}; so it gets no clients (`state`)")).collect();
        if !away.is_empty() {
            words.own.set("state", "\"drain\"");
        }
        words.rest.into_iter().chain(away).for_each(|why| route.note(&line.said, why));
        let template = line.name() == "server-template";
        let name = match line.arg(0) {
            name if template => format!("{name}, each address of the name"),
            name if several => name.to_owned(),
            _ => String::new(),
        };
        Upstream { address, fields: words.own, name }
    }
}

fn balance(back: &Side<'_>, route: &mut Route, sheet: &mut Sheet) {
    let last = back.last("balance");
    for line in back.named("balance").filter(|line| Some(*line) != last) {
        sheet.same(&line.said);
    }
    if let Some(line) = last {
        let words: Vec<&str> = line.args().iter().map(String::as_str).collect();
        let balance = match words.as_slice() {
            ["roundrobin" | "static-rr"] => None,
            ["leastconn"] => Some("least-connections"),
            ["source"] | ["hash", "src"] => Some("source-hash"),
            ["first"] => Some("first"),
            ["random" | "random(2)"] => Some("random-two"),
            _ => {
                route.note(
                    &line.said,
                    "connections are shared by \"round-robin\", \"least-connections\", \"random-two\", \
                    \"source-hash\" or \"first\"",
                );
                return;
            }
        };
        match balance {
            Some(balance) => {
                route.fields.set("balance", quote(balance));
                sheet.carried(&line.said);
            }
            None => sheet.same(&line.said),
        }
    }
    for line in back.named("stick").chain(back.named("stick-table")) {
        if line.name() == "stick-table" {
            sheet.same(&line.said);
        } else if matches!(line.arg(1), "src") {
            route.fields.set("balance", quote("source-hash"));
            route.remark("\"source-hash\" finds the upstream by the client's address; it keeps no table.");
            sheet.carried(&line.said);
        } else {
            route.note(
                &line.said,
                "an upstream is found again by the client's address only: balance = \"source-hash\"",
            );
        }
    }
}

/// Time limits: the shorter one of both sides ends a connection, and that of tunnels replaces both.
fn quiet(sides: &Sides<'_, '_>, route: &mut Route, sheet: &mut Sheet) {
    let Sides { front, back, .. } = sides;
    let mut idle = None;
    for (name, side) in [("timeout client", front), ("timeout server", back), ("timeout tunnel", back)] {
        side.named(name).for_each(|line| sheet.same(&line.said));
        let Some(line) = side.last(name) else { continue };
        let Some(time) = time(line, route, sheet) else { continue };
        let time = Some(time).filter(|time| !time.is_zero());
        idle = match (name, idle, time) {
            ("timeout tunnel", _, time) => time,
            (_, Some(old), Some(time)) => Some(time.min(old)),
            (_, old, time) => old.or(time),
        };
    }
    if let Some(value) = idle.and_then(span) {
        route.fields.set("idle_timeout", value);
    }
    let fins = [("timeout client-fin", front), ("timeout server-fin", back)];
    let lines = fins.iter().filter_map(|(name, side)| side.last(name));
    let longest = lines.filter_map(|line| time(line, route, sheet)).max();
    if let Some(value) = longest.filter(|time| !time.is_zero()).and_then(span) {
        route.fields.set("half_close_timeout", value);
    }
}

/// The time of a line. `None`: it has none that Portway takes.
fn time(line: &Line, route: &mut Route, sheet: &mut Sheet) -> Option<Duration> {
    let time = haproxy_time(line.arg(0)).filter(|time| span(*time).is_some());
    match time {
        Some(_) => sheet.carried(&line.said),
        None => route.note(&line.said, "it is no duration of at most 365 days"),
    }
    time
}
