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

/// What the servers ask of their route.
struct Asked {
    /// Of the first one.
    keys: Option<Fields>,
    /// Whether the certificates of all are verified.
    verifies: bool,
}

/// Writes a backend into the route.
pub(super) fn take(sides: &Sides<'_, '_>, route: &mut Route, sheet: &mut Sheet) {
    let back = sides.back;
    let mut asked = Asked { keys: None, verifies: true };
    for line in back.named("server").chain(back.named("server-template")) {
        one(sides, line, &mut asked, Making { route, sheet });
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
    if let Some(keys) = &asked.keys {
        route.fields.take(keys);
    }
    if route.fields.has("tls.upstream") && !asked.verifies {
        route.remark("HAProxy did not verify the upstream's certificate; Portway does, for its name.");
    }
    checks::take(back, route, sheet);
    balance(back, route, sheet);
    quiet(sides, route, sheet);
}

/// A route in the making, and the sheet.
struct Making<'m> {
    route: &'m mut Route,
    sheet: &'m mut Sheet,
}

/// A server. What it asks of its route, the first one says; others must say the same.
fn one(sides: &Sides<'_, '_>, line: &Line, asked: &mut Asked, making: Making<'_>) {
    let (back, Making { route, sheet }) = (sides.back, making);
    let template = line.name() == "server-template";
    let mut words = Words { verifies: sides.verifies, ..Words::default() };
    for default in back.named("default-server") {
        let before = words.rest.len();
        words.read(default.args());
        sheet.carried(&default.said);
        words.rest.drain(before..).for_each(|why| route.note(&default.said, why));
    }
    // Of a template the second word is a number.
    let (at, from) = if template { (2, 3) } else { (1, 2) };
    words.read(line.args().get(from..).unwrap_or_default());
    let ports = match route.listen.as_slice() {
        [one] => Ports::of(one),
        _ => None,
    };
    let address = match server::address(line.arg(at), ports.as_ref()) {
        Ok(address) => address,
        Err(why) => return route.note(&line.said, why),
    };
    sheet.carried(&line.said);
    let keys = words.route_keys();
    asked.verifies &= words.verifies || !words.tls;
    match &asked.keys {
        None => asked.keys = Some(keys),
        Some(first) => {
            if let Some(why) = differs(first, &keys) {
                words.rest.push(why);
            }
        }
    }
    words.rest.into_iter().for_each(|why| route.note(&line.said, why));
    let name =
        if template { format!("{}, each address of the name", line.arg(0)) } else { line.arg(0).to_owned() };
    let several = back.named("server").count() > 1;
    let name = if several || template { name } else { String::new() };
    route.upstream.push(Upstream { address, fields: words.own, name });
}

/// Which key differs from that of the first server.
fn differs(first: &Fields, keys: &Fields) -> Option<String> {
    let (one, other) = (first.lines(), keys.lines());
    let odd = one.iter().chain(&other).find(|line| !(one.contains(line) && other.contains(line)))?;
    Some(format!("the first server says `{}` differently: a route has one for all its upstreams", odd.key))
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
