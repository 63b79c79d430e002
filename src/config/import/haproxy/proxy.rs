//! A `frontend` or a `listen`: where clients come, who may, and which backend serves whom.

use super::backend::{self, Sides};
use super::bind::{self, Bind};
use super::config::Config;
use super::lines::Section;
use super::rules;
use super::sides::Side;
use super::switch::{self, Case};
use crate::config::import::fields::Line;
use crate::config::import::sheet::{Route, Sheet, UNLIKE};
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
    binds(&front, &mut route, sheet);
    let delay = rules::take(config, &front, &mut route, sheet);
    let cases = switch::cases(&front, &mut route, sheet);
    front.acls.finish(sheet);
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
        sheet.note(&section.said, "no backend of `mode tcp` serves it");
    }
    let many = cases.len() > 1;
    for case in cases {
        serve(&Serving { config, front: &front, many }, &case, route.clone(), sheet);
        // What the frontend lacks is said once.
        route.notes.clear();
    }
}

/// What the routes of one frontend share.
struct Serving<'s, 'c> {
    config: &'s Config<'c>,
    front: &'s Side<'c>,
    many: bool,
}

fn serve(serving: &Serving<'_, '_>, case: &Case, mut route: Route, sheet: &mut Sheet) {
    for (key, words) in [("sni", &case.sni), ("alpn", &case.alpn)] {
        if !words.is_empty() {
            route.fields.set(key, quote_all(words));
        }
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

/// What clients begin with.
fn begins(bind: &Bind) -> Vec<Line> {
    let mut lines = bind.fields.lines();
    lines.retain(|line| line.key != "max_connections");
    lines
}

/// The addresses; and how many connections there may be at all of them.
fn binds(front: &Side<'_>, route: &mut Route, sheet: &mut Sheet) {
    for line in front.named("maxconn") {
        match count(line.arg(0)) {
            Some(count) => {
                route.fields.set("max_connections", count);
                sheet.carried(&line.said);
            }
            None => route.note(&line.said, "it is no number"),
        }
    }
    let mut first: Option<Vec<Line>> = None;
    for line in front.named("bind") {
        match bind::read(line) {
            Ok(bind) if *first.get_or_insert_with(|| begins(&bind)) != begins(&bind) => {
                route.note(&line.said, UNLIKE);
            }
            Ok(bind) => {
                sheet.carried(&line.said);
                route.listen.extend(bind.addresses);
                route.fields.take(&bind.fields);
                bind.rest.into_iter().for_each(|why| route.note(&line.said, why));
                bind.guards.into_iter().for_each(|why| route.lacks(&line.said, why));
                bind.remarks.into_iter().for_each(|text| route.remark(text));
            }
            Err(why) => route.note(&line.said, why),
        }
    }
    // Who is one too many waits in the kernel's queue, as with HAProxy.
    if route.fields.has("max_connections") {
        route.fields.or_set("when_full", quote("wait"));
    }
}
