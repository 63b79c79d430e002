//! A `frontend` or a `listen`: where clients come, who may, and which backend serves whom.

use super::backend::{self, Sides};
use super::bind::{self, Bind};
use super::config::Config;
use super::lines::Section;
use super::rules;
use super::sides::Side;
use super::switch::{self, Case};
use crate::config::import::sheet::{Note, Route, Sheet};
use crate::config::import::values::{count, haproxy_time, quote, quote_all, span};

/// Makes the routes of a proxy.
pub(super) fn take<'c>(config: &Config<'c>, section: &'c Section, sheet: &mut Sheet) {
    let mode = config.mode(section);
    if mode != "tcp" {
        let why = format!(
            "it is of `mode {mode}`, and stays with HAProxy: Portway forwards connections and looks at no request"
        );
        return sheet.note(&section.said, why);
    }
    let mut route = Route::new(&section.said);
    route.name = section.name.clone();
    let front = Side::take(config, section, &mut route, sheet);
    words(&front, &mut route, sheet);
    most(&front, &mut route, sheet);
    let routes = binds(&front, route, sheet);
    let mut serving =
        Serving { config, front: &front, several: routes.len() > 1, many: false, said: Vec::new() };
    for route in routes {
        entered(&mut serving, route, sheet);
    }
    front.acls.finish(sheet);
}

/// What the routes of one frontend share.
struct Serving<'s, 'c> {
    config: &'s Config<'c>,
    front: &'s Side<'c>,
    /// Its `bind` lines need several routes.
    several: bool,
    /// It has several backends.
    many: bool,
    /// Notes that stand at one of its routes.
    said: Vec<Note>,
}

/// Makes the routes of those who come in at the addresses of this one.
fn entered(serving: &mut Serving<'_, '_>, mut route: Route, sheet: &mut Sheet) {
    let front = serving.front;
    // Who is one too many waits in the kernel's queue, as with HAProxy.
    if route.fields.has("max_connections") {
        route.fields.or_set("when_full", quote("wait"));
    }
    let delay = rules::take(serving.config, front, &mut route, sheet);
    let mut cases = switch::cases(front, &mut route, sheet);
    lost(serving.config, &mut cases);
    let chosen = cases.iter().any(|case| !case.is_rest());
    match delay.and_then(|line| haproxy_time(line.arg(1)).and_then(span).map(|time| (line, time))) {
        Some((line, time)) if chosen => {
            route.fields.set("sniff_timeout", time);
            sheet.carried(&line.said);
        }
        _ => delay.into_iter().for_each(|line| sheet.same(&line.said)),
    }
    if chosen {
        route.fields.or_set("sniff_timeout", quote("5s"));
    }
    if cases.is_empty() {
        sheet.give_up(&route);
        sheet.note(&front.section.said, "no backend of `mode tcp` serves it");
    }
    serving.many = cases.len() > 1;
    counted(serving, &mut route, chosen);
    route.once(&mut serving.said);
    for case in cases {
        serve(serving, &case, route.clone(), sheet);
        // What the frontend lacks is said once.
        route.notes.clear();
    }
}

/// How many connections there may be, and of what.
fn counted(serving: &Serving<'_, '_>, route: &mut Route, chosen: bool) {
    if route.fields.has("when_full") && (chosen || route.fields.has("alpn")) {
        route.fields.set("when_full", quote("reset"));
        let why =
            "with HAProxy a client waits; where a TLS hello chooses the route, nobody knows yet for which";
        route.fields.remark("when_full", why);
    }
    let several = serving.many || serving.several;
    // The limit of a `bind` is that of its route.
    let whole = serving.many || serving.several && serving.front.last("maxconn").is_some();
    for (key, several) in
        [("max_connections", whole), ("max_connections_per_client", several), ("rate_per_client", several)]
    {
        if several {
            route.fields.remark(key, "of each route; HAProxy counts those of the whole frontend");
        }
    }
}

/// A case whose backend is not there, or not of TCP: its clients must come to no other.
fn lost(config: &Config<'_>, cases: &mut [Case]) {
    let is_tcp = |name: &String| config.backend(name).is_some_and(|section| config.mode(section) == "tcp");
    let is_there = |case: &Case| case.backend.as_ref().is_none_or(is_tcp);
    let lost = cases.iter().find(|case| !case.is_rest() && !is_there(case)).map(|case| case.said.clone());
    for case in cases {
        case.after = match case.after.take() {
            // Its own reason says more.
            _ if !is_there(case) => None,
            after => after.or_else(|| lost.clone()),
        };
    }
}

fn serve(serving: &Serving<'_, '_>, case: &Case, mut route: Route, sheet: &mut Sheet) {
    for (key, words) in [("sni", &case.sni), ("alpn", &case.alpn)] {
        if !words.is_empty() {
            route.fields.set(key, quote_all(words));
        }
    }
    if let Some(lost) = &case.after {
        route.after(&case.said, lost);
    }
    let Some(name) = &case.backend else {
        let (front, verifies) = (serving.front, serving.config.verifies());
        backend::take(&Sides { front, back: front, verifies }, &mut route, sheet);
        return sheet.add(route);
    };
    let Some(section) = serving.config.backend(name) else {
        sheet.give_up(&route);
        return sheet.note(&case.said, format!("there is no backend `{name}`"));
    };
    if serving.config.mode(section) != "tcp" {
        sheet.give_up(&route);
        return sheet.note(&case.said, format!("`{name}` is of `mode http`"));
    }
    if serving.many {
        route.name.clone_from(name);
    }
    route.remark(format!("line {}: {}", section.said.line, section.said.text));
    sheet.carried(&section.said);
    let back = Side::take(serving.config, section, &mut route, sheet);
    words(&back, &mut route, sheet);
    let verifies = serving.config.verifies();
    backend::take(&Sides { front: serving.front, back: &back, verifies }, &mut route, sheet);
    rules::of_backend(&back, &mut route);
    back.acls.finish(sheet);
    sheet.add(route);
}

/// `disabled`, `description`.
fn words(side: &Side<'_>, route: &mut Route, sheet: &mut Sheet) {
    for line in side.named("disabled") {
        route.fields.set("enabled", "false");
        sheet.carried(&line.said);
    }
    for line in side.named("description") {
        route.remark(line.args().join(" "));
        sheet.carried(&line.said);
    }
}

/// How many connections there may be at all addresses.
fn most(front: &Side<'_>, route: &mut Route, sheet: &mut Sheet) {
    for line in front.named("maxconn") {
        match count(line.arg(0)) {
            Some(count) => {
                route.fields.set("max_connections", count);
                sheet.carried(&line.said);
            }
            None => route.note(&line.said, "it is no number"),
        }
    }
}

/// The addresses: a route for each set of what clients there begin with, because a route has one for all its addresses.
fn binds(front: &Side<'_>, mut route: Route, sheet: &mut Sheet) -> Vec<Route> {
    let mut binds = Vec::new();
    for line in front.named("bind") {
        match bind::read(line) {
            Ok(bind) => {
                sheet.carried(&line.said);
                binds.push((bind, &line.said));
            }
            Err(why) => route.note(&line.said, why),
        }
    }
    let mut routes: Vec<(Bind, Route)> = Vec::new();
    for (bind, said) in binds {
        let alike = |(other, _): &(Bind, Route)| {
            other.fields.differing(&bind.fields).is_empty() && other.guards == bind.guards
        };
        let at = routes.iter().position(alike).unwrap_or_else(|| {
            let mut own = route.clone();
            own.fields.take(&bind.fields);
            routes.push((bind.clone(), own));
            routes.len() - 1
        });
        let Some((_, own)) = routes.get_mut(at) else { continue };
        own.listen.extend(bind.addresses);
        bind.rest.into_iter().for_each(|why| own.note(said, why));
        bind.guards.into_iter().for_each(|why| own.lacks(said, why));
        bind.remarks.into_iter().for_each(|text| own.remark(text));
    }
    if routes.is_empty() { vec![route] } else { routes.into_iter().map(|(_, route)| route).collect() }
}
