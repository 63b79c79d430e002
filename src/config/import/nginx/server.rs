//! A `server`: where it listens, where it passes to, and for whom.

use super::defaults::Defaults;
use super::lex::Directive;
use super::listen::{self, Listen};
use super::maps::{self, Case};
use super::stream::Stream;
use super::table::STREAM;
use super::{parts, upstream};
use crate::config::import::meaning::{act, meaning};
use crate::config::import::sheet::{Route, Said, Sheet, Upstream};
use crate::config::import::values::{quote, quote_all, upstream as address};

/// Makes the routes of a server: one for each set of what clients begin with at its addresses, because a route has one for
/// all of them.
pub(super) fn take(stream: &Stream<'_>, defaults: &Defaults<'_>, server: &Directive, sheet: &mut Sheet) {
    let mut route = Route::new(&server.said());
    let mut others = Vec::new();
    for directive in stream.effective(server) {
        let meaning = meaning(STREAM, &directive.name);
        if !act(meaning, &directive.said(), &directive.args, &mut route, sheet) {
            others.push(directive);
        }
    }
    let mut said = Vec::new();
    let mut listens = listens(&others, &mut route, sheet);
    listens.iter_mut().for_each(|listen| listen.role = defaults.role(server, listen));
    for listens in alike(listens) {
        let mut own = route.clone();
        parts::take(stream, &others, &listens, &mut own, sheet);
        own.once(&mut said);
        if !own.fields.has("idle_timeout") {
            own.fields.set("idle_timeout", quote("10m"));
            own.fields.remark("idle_timeout", "nginx's default");
        }
        match others.iter().copied().find(|one| one.name == "proxy_pass") {
            Some(pass) => passes(&Passing { stream, server, pass }, own, &listens, sheet),
            None => {
                sheet.give_up(&own);
                sheet.note(&server.said(), "it passes to nowhere: there is no `proxy_pass`");
            }
        }
    }
}

/// The addresses where clients begin with the same, and the server has the same role. Without any, none of them.
fn alike(listens: Vec<Listen>) -> Vec<Vec<Listen>> {
    let mut all: Vec<Vec<Listen>> = Vec::new();
    let begins = |listen: &Listen| (listen.ssl, listen.proxy_protocol, listen.role);
    for listen in listens {
        match all.iter_mut().find(|others| others.iter().all(|other| begins(other) == begins(&listen))) {
            Some(others) => others.push(listen),
            None => all.push(vec![listen]),
        }
    }
    if all.is_empty() { vec![Vec::new()] } else { all }
}

/// A server, and what it says of where to.
struct Passing<'p, 'd> {
    stream: &'p Stream<'d>,
    server: &'p Directive,
    pass: &'p Directive,
}

fn passes(passing: &Passing<'_, '_>, mut route: Route, listens: &[Listen], sheet: &mut Sheet) {
    let Passing { stream, server, pass } = passing;
    let cases = match cases(stream, pass, sheet) {
        Ok(cases) => cases,
        Err(why) => {
            sheet.give_up(&route);
            sheet.note(&server.said(), "the route needs an upstream, which cannot be carried over");
            sheet.note(&pass.said(), why);
            return;
        }
    };
    sheet.carried(&pass.said());
    let mut notes = std::mem::take(&mut route.notes);
    let chosen = cases.len() > 1 || cases.iter().any(|case| !case.rest);
    for case in cases {
        let mut route = Route { notes: notes.clone(), ..route.clone() };
        if let Some(said) = &case.said {
            route.remark(format!("line {}: {}", said.line, said.text));
            case.after.iter().for_each(|lost| route.after(said, lost));
        }
        select(&case, chosen, &mut route);
        target(stream, &case.target, &pass.said(), &mut Making { route: &mut route, sheet });
        by_protocol(route, listens, sheet);
        // What the server lacks is said once.
        notes.clear();
    }
}

fn listens(others: &[&Directive], route: &mut Route, sheet: &mut Sheet) -> Vec<Listen> {
    let mut all = Vec::new();
    for directive in others.iter().filter(|directive| directive.name == "listen") {
        let said = directive.said();
        match listen::read(directive) {
            Ok(listen) => {
                sheet.carried(&said);
                if !listen.rest.is_empty() {
                    route.note(
                        &said,
                        format!("`{}`: a socket has no such setting here", listen.rest.join(" ")),
                    );
                }
                all.push(listen);
            }
            Err(why) => route.note(&said, why),
        }
    }
    all
}

/// Whom the server passes where.
fn cases(stream: &Stream<'_>, pass: &Directive, sheet: &mut Sheet) -> Result<Vec<Case>, String> {
    let target = pass.arg(0);
    if !target.contains('$') {
        return Ok(vec![Case { target: target.to_owned(), rest: true, ..Case::default() }]);
    }
    let Some(map) = stream.map(target) else {
        return Err(format!(
            "nothing says what `{target}` can be: write a route for each upstream, with its `sni`"
        ));
    };
    match maps::cases(map, sheet) {
        Ok(cases) => {
            sheet.carried(&map.said());
            Ok(cases)
        }
        Err(why) => {
            sheet.note(&map.said(), why.clone());
            map.inside()
                .iter()
                .for_each(|entry| sheet.note(&entry.said(), "a line of a map that is not carried over"));
            Err(why)
        }
    }
}

/// Says whom the route is for, where it is not for all.
fn select(case: &Case, chosen: bool, route: &mut Route) {
    if !case.rest {
        for (key, words) in [("sni", &case.sni), ("alpn", &case.alpn)] {
            if !words.is_empty() {
                route.fields.set(key, quote_all(words));
            }
        }
    }
    if chosen && !route.fields.has("sniff_timeout") {
        route.fields.set("sniff_timeout", quote("30s"));
        route.fields.remark("sniff_timeout", "nginx's default");
    }
}

/// A route in the making, and the sheet.
struct Making<'m> {
    route: &'m mut Route,
    sheet: &'m mut Sheet,
}

fn target(stream: &Stream<'_>, target: &str, said: &Said, making: &mut Making<'_>) {
    if let Some(block) = stream.upstream(target) {
        making.route.name = target.to_owned();
        return upstream::take(block, making.route, making.sheet);
    }
    match address(target.strip_suffix(':').unwrap_or(target)) {
        Ok(address) => making.route.upstream.push(Upstream::at(address)),
        Err(why) => making.route.note(said, why),
    }
}

/// A route for connections, one for datagrams, or one for both where they have the same addresses.
fn by_protocol(route: Route, listens: &[Listen], sheet: &mut Sheet) {
    let of = |udp: bool| -> Vec<String> {
        listens.iter().filter(|listen| listen.udp == udp).map(|listen| listen.address.clone()).collect()
    };
    let (tcp, udp) = (of(false), of(true));
    if tcp == udp && !tcp.is_empty() && !route.fields.has("tls") && !route.fields.has("proxy_protocol") {
        let mut both = Route { listen: tcp, ..route };
        both.fields.set("protocol", quote("tcp+udp"));
        return sheet.add(both);
    }
    if !udp.is_empty() {
        let mut datagrams = Route { listen: udp, ..route.clone() };
        if datagrams.fields.get("proxy_protocol.send") == Some("\"v1\"") {
            datagrams.fields.remove("proxy_protocol");
            let said = datagrams.said.clone();
            datagrams.note(&said, "`proxy_protocol`: its version 1 knows no datagrams; send = \"v2\" does");
        }
        datagrams.udp();
        sheet.add(datagrams);
    }
    if !tcp.is_empty() || listens.is_empty() {
        let mut connections = Route { listen: tcp, ..route };
        connections.fields.remove("max_replies");
        sheet.add(connections);
    }
}
