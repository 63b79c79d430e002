//! A backend: servers, how one is chosen, how long a connection may be quiet.

use super::checks;
use super::lines::Line;
use super::server::{self, Ports, Words};
use super::sides::Side;
use crate::config::import::fields::Fields;
use crate::config::import::sheet::{Route, Sheet, Upstream};
use crate::config::import::values::{haproxy_time, quote, span};

/// Writes a backend into the route. `front` is the frontend; of a `listen` the same.
pub(super) fn take(front: &Side<'_>, back: &Side<'_>, route: &mut Route, sheet: &mut Sheet) {
    let mut first: Option<Fields> = None;
    for line in back.named("server").chain(back.named("server-template")) {
        one(back, line, &mut first, Making { route, sheet });
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
    if let Some(keys) = &first {
        route.fields.take(keys);
    }
    if route.fields.has("tls.upstream") && back.named("server").all(|line| !verifies(line)) {
        route.remark("HAProxy did not verify the upstream's certificate; Portway does, for its name.");
    }
    checks::take(back, route, sheet);
    balance(back, route, sheet);
    quiet(front, back, route, sheet);
}

fn verifies(line: &Line) -> bool {
    line.words.windows(2).any(|pair| pair[0] == "verify" && pair[1] == "required")
}

/// A route in the making, and the sheet.
struct Making<'m> {
    route: &'m mut Route,
    sheet: &'m mut Sheet,
}

/// A server. What it asks of its route, the first one says; others must say the same.
fn one(back: &Side<'_>, line: &Line, first: &mut Option<Fields>, making: Making<'_>) {
    let Making { route, sheet } = making;
    let template = line.name() == "server-template";
    let mut words = Words::default();
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
    match first {
        None => *first = Some(keys),
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
fn quiet(front: &Side<'_>, back: &Side<'_>, route: &mut Route, sheet: &mut Sheet) {
    let sides = [("timeout client", front), ("timeout server", back), ("timeout tunnel", back)];
    let mut idle = None;
    for (name, side) in sides {
        side.named(name).for_each(|line| sheet.same(&line.said));
        let Some(line) = side.last(name) else { continue };
        let Some(time) = haproxy_time(line.arg(0)) else {
            route.note(&line.said, "it is no duration");
            continue;
        };
        sheet.carried(&line.said);
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
    let lines: Vec<&Line> = fins.iter().filter_map(|(name, side)| side.last(name)).collect();
    lines.iter().for_each(|line| sheet.carried(&line.said));
    let longest = lines.iter().filter_map(|line| haproxy_time(line.arg(0))).max();
    if let Some(value) = longest.filter(|time| !time.is_zero()).and_then(span) {
        route.fields.set("half_close_timeout", value);
    }
}
