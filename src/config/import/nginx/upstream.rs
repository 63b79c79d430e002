//! `upstream`: servers, and how one of them is chosen.

use super::lex::Directive;
use super::table::UPSTREAM;
use crate::config::import::meaning::{act, meaning};
use crate::config::import::sheet::{Route, Said, Sheet, Upstream};
use crate::config::import::values;
use crate::model::upstream::LARGEST_WEIGHT;

/// Forwards a route to the servers of a block.
pub(super) fn take(block: &Directive, route: &mut Route, sheet: &mut Sheet) {
    sheet.carried(&block.said());
    for directive in block.inside() {
        let said = directive.said();
        if act(meaning(UPSTREAM, &directive.name), &said, &directive.args, route, sheet) {
            continue;
        }
        match directive.name.as_str() {
            "server" => server(directive, route, sheet),
            _ => method(directive, &said, route, sheet),
        }
    }
}

fn method(directive: &Directive, said: &Said, route: &mut Route, sheet: &mut Sheet) {
    let words: Vec<&str> = directive.args.iter().map(String::as_str).collect();
    let balance = match (directive.name.as_str(), words.as_slice()) {
        ("least_conn", _) => "least-connections",
        ("hash", ["$remote_addr" | "$binary_remote_addr", ..]) => "source-hash",
        ("random", ["two"] | ["two", "least_conn"]) => "random-two",
        ("random", []) => {
            route.note(said, "\"random-two\" takes the better of two that chance gives");
            "random-two"
        }
        ("hash", _) => {
            route.note(said, "only the client's address is hashed: balance = \"source-hash\"");
            return;
        }
        _ => {
            route.note(said, "balance = \"least-connections\" or \"random-two\" comes nearest");
            return;
        }
    };
    sheet.carried(said);
    route.fields.set("balance", values::quote(balance));
}

fn server(directive: &Directive, route: &mut Route, sheet: &mut Sheet) {
    let said = directive.said();
    let address = directive.arg(0).strip_suffix(':').unwrap_or(directive.arg(0));
    let mut upstream = match values::upstream(address) {
        Ok(address) => Upstream::at(address),
        Err(why) => return route.note(&said, why),
    };
    sheet.carried(&said);
    for word in directive.args.iter().skip(1) {
        if let Err(why) = parameter(word, &mut upstream) {
            route.note(&said, why);
        }
    }
    route.upstream.push(upstream);
}

/// A parameter of a server.
fn parameter(word: &str, upstream: &mut Upstream) -> Result<(), &'static str> {
    let (key, value) = word.split_once('=').unwrap_or((word, ""));
    let passive =
        "an upstream is down after connects that failed, until one succeeds; `health` checks it beside that";
    match key {
        "weight" => match value.parse::<u32>() {
            Ok(1) => {}
            Ok(weight) if weight <= LARGEST_WEIGHT => upstream.fields.set("weight", weight.to_string()),
            _ => return Err("weights go from 0 to 1000: divide all of them alike"),
        },
        "max_conns" if value == "0" => {}
        "max_conns" => match values::count(value) {
            Some(count) => upstream.fields.set("max_connections", count),
            None => return Err("it is no number"),
        },
        "backup" => upstream.fields.set("backup", "true"),
        "down" => upstream.fields.set("state", "\"drain\""),
        // Names are looked up again and again.
        "resolve" => {}
        "max_fails" | "fail_timeout" => return Err(passive),
        "slow_start" => return Err("`slow_start` is a key of the route"),
        "service" => return Err("SRV records are not looked up: write the addresses"),
        _ => return Err("Portway does not know it"),
    }
    Ok(())
}
