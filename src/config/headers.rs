//! The headers of a file: which tables are routes, and which were meant to be.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::place;
use super::placed::Placed;
use super::suggest::{list, nearest};
use super::unknown;
use crate::model::Fault;

/// A table that is a route, or was meant to be one.
pub(super) struct RouteTable<'t> {
    pub header: Range<usize>,
    pub table: &'t DeTable<'t>,
}

/// The routes of a file, and the keys at its top whose faults are noted.
#[derive(Default)]
pub(super) struct Headers<'t> {
    pub routes: Vec<RouteTable<'t>>,
    pub noted: Vec<&'t str>,
}

impl<'t> Headers<'t> {
    fn push(&mut self, header: Range<usize>, table: &'t DeTable<'t>) {
        self.routes.push(RouteTable { header, table });
    }
}

/// How many unknown tables are looked at. A file with more of them is not meant for us.
const LOOKED_AT: usize = 1000;

const CURE: &str = "write [[route]] on a line of its own, with two brackets: a file may have many routes";
const EXAMPLE: &str = "write\n[[route]]\nlisten = \"127.0.0.1:8080\"\nupstream = \"app.internal:3000\"";

/// Finds the routes. A table that is not called so and looks like one is read all the same: its header is one fault, what
/// stands in it others.
pub(super) fn read<'t>(document: &'t DeTable<'t>, faults: &mut Vec<Placed>) -> Headers<'t> {
    let mut headers = Headers::default();
    headerless(document, &mut headers, faults);
    let is_known = |name: &str| unknown::schema_of(unknown::Table::Root).has(name);
    let known = document.iter().filter(|(key, _)| is_known(key.get_ref()));
    let unknown = document.iter().filter(|(key, _)| !is_known(key.get_ref()));
    for (key, value) in known.chain(unknown.take(LOOKED_AT)) {
        let name = key.get_ref();
        match value.get_ref() {
            _ if *name == "route" => route(value, &mut headers, faults),
            _ if is_known(name) => {}
            DeValue::Table(table) if is_route(name, table) => {
                headers.noted.push(name);
                let fault = Fault::new(format!("`{name}` is not known here"), renamed(name, table, 1));
                faults.push(Placed::new(key.span(), fault));
                headers.push(value.span(), table);
            }
            DeValue::Table(table) if nearest(name, &["route"]).is_some() && named(table) => {
                headers.noted.push(name);
                named_routes(table, &mut headers, faults);
            }
            DeValue::Array(items) => {
                let tables = items.iter().filter_map(|item| Some((item.span(), item.get_ref().as_table()?)));
                let tables: Vec<_> = tables.collect();
                let Some((_, first)) = tables.first().filter(|(_, table)| is_route(name, table)) else {
                    continue;
                };
                headers.noted.push(name);
                let cure = renamed(name, first, tables.len());
                let fault = Fault::new(format!("`{name}` is not known here"), cure);
                faults.push(Placed::new(key.span(), fault));
                tables.into_iter().for_each(|(header, table)| headers.push(header, table));
            }
            _ => {}
        }
    }
    headers.routes.sort_by_key(|route| route.header.start);
    headers
}

/// Whether a table at the top is a route by its name, or by what stands in it.
fn is_route(name: &str, table: &DeTable<'_>) -> bool {
    let says = |key: &str| {
        let known = unknown::route_schema().known();
        table.keys().any(|typed| nearest(typed.get_ref(), &known) == Some(key))
    };
    let only_tables = !table.is_empty() && named(table);
    let of_a_route = unknown::route_schema().table_of(name).is_some();
    !only_tables && !of_a_route && (nearest(name, &["route"]).is_some() || says("listen") || says("upstream"))
}

/// Whether it has only tables: routes with their names.
fn named(table: &DeTable<'_>) -> bool {
    table.values().all(|value| value.get_ref().is_table()) && !table.keys().any(|key| known(key.get_ref()))
}

fn known(key: &str) -> bool {
    unknown::route_schema().has(key)
}

/// The header to write, and what the route may be called.
fn renamed(name: &str, table: &DeTable<'_>, headers: usize) -> String {
    let name = match nearest(name, &["route"]) {
        None if headers == 1 && !table.contains_key("name") => format!("\nname = \"{name}\""),
        _ => String::new(),
    };
    let more = match headers {
        1 => "",
        _ => ", here and in the other headers",
    };
    let gap = if name.is_empty() { " " } else { "\n" };
    format!("write{gap}[[route]]{name}{more}")
}

/// `route` itself: a list of tables, or what was typed in its place.
fn route<'t>(value: &'t toml::Spanned<DeValue<'t>>, headers: &mut Headers<'t>, faults: &mut Vec<Placed>) {
    let items = match value.get_ref() {
        DeValue::Array(items) => items,
        DeValue::Table(table) if !table.is_empty() && named(table) => {
            return named_routes(table, headers, faults);
        }
        DeValue::Table(table) => {
            let fault = Fault::new("a route begins with `[[route]]`", CURE);
            faults.push(Placed::new(value.span(), fault));
            return headers.push(value.span(), table);
        }
        other => {
            let message = format!("`route` is a list of tables, not {}", place::kind(other));
            return faults.push(Placed::new(value.span(), Fault::new(message, EXAMPLE)));
        }
    };
    for item in items.iter() {
        match item.get_ref() {
            DeValue::Table(table) => headers.push(item.span(), table),
            other => {
                let message = format!("a route is a table, not {}", place::kind(other));
                faults.push(Placed::new(item.span(), Fault::new(message, EXAMPLE)));
            }
        }
    }
}

/// `[route.web]`: each header is a text to write anew.
fn named_routes<'t>(table: &'t DeTable<'t>, headers: &mut Headers<'t>, faults: &mut Vec<Placed>) {
    for (key, value) in table {
        let DeValue::Table(table) = value.get_ref() else { continue };
        let name = key.get_ref();
        let cure = match table.contains_key("name") {
            true => "write [[route]]".to_owned(),
            false => format!("write\n[[route]]\nname = \"{name}\""),
        };
        let fault = Fault::new("the name of a route does not stand in its header", cure);
        faults.push(Placed::new(key.span(), fault));
        headers.push(value.span(), table);
    }
}

/// Keys of a route above the first header: one fault, for one line is missing.
fn headerless<'t>(document: &'t DeTable<'t>, headers: &mut Headers<'t>, faults: &mut Vec<Placed>) {
    if !document.contains_key("listen") || !document.contains_key("upstream") {
        return;
    }
    let mut keys: Vec<_> = document.iter().filter(|(key, _)| known(key.get_ref())).collect();
    keys.sort_by_key(|(key, _)| key.span().start);
    headers.noted.extend(keys.iter().map(|(key, _)| &**key.get_ref()));
    let Some((first, _)) = keys.first() else { return };
    let names = list(keys.iter().map(|(key, _)| format!("`{}`", key.get_ref())), "and");
    let fault = Fault::new(format!("{names} belong to a route"), "write [[route]] on a line above");
    faults.push(Placed::new(first.span(), fault));
}
