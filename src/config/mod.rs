//! Floor 2: the text of a file becomes a [`Table`], or a [`Report`] of every fault in it.
//!
//! Pure: text in, values out. No file is opened here, nothing is logged, no clock is read. [`Plan`] is what leads from
//! one table to another; the server carries it out and `portway plan` prints it.
//!
//! The way of a text: bytes → a document with a place for each value (`document`) → what was typed, section by section
//! (`section`, `file`) → what it means (`settings`, `route`) → what the routes mean together (`cross`) → a table.
//! A fault on the way is noted with its place, and reading goes on.

mod admin;
mod clients;
mod cross;
mod document;
mod file;
mod files;
mod health;
mod picture;
mod plan;
mod protocol;
mod proxy_protocol;
mod report;
mod route;
mod schema;
mod section;
mod selector;
mod settings;
mod suggest;
mod syntax;
mod tls;
mod upstreams;

use std::ops::Range;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

pub use files::network_list;
pub use plan::{Binding, Delta, Plan, key_changes};
pub use report::Report;
pub use schema::schema;

use crate::model::{AdminSettings, Fault, ListenAddr, ListenSpec, Policy, Table};
use report::Placed;
use route::{At, Draft};
use schema::Section;
use section::Place;

/// A file that compiled, and where in its text each listener stands.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// What the file says.
    pub table: Table,
    name: String,
    text: Arc<str>,
    listen: Vec<At<ListenSpec>>,
}

impl Compiled {
    /// A report of faults that only trying could find: sockets that cannot be had. Each is shown at its `listen` entry.
    pub fn listen_faults(&self, faults: &[(ListenAddr, Fault)]) -> Report {
        let place = |(addr, fault): &(ListenAddr, Fault)| {
            let entry = self.listen.iter().find(|entry| entry.value.contains(addr));
            let nowhere =
                || Placed { fault: fault.clone(), at: None, label: String::new(), also: Vec::new() };
            entry.map_or_else(nowhere, |entry| Placed::new(entry.at.clone(), fault.clone()))
        };
        Report::new(&self.name, self.text.clone(), faults.iter().map(place).collect())
    }
}

/// Compiles the text of a file. `name` is what the report calls it.
pub fn compile(name: &str, text: &[u8]) -> Result<Compiled, Report> {
    let text = document::decode(name, text)?;
    let (document, syntax) = document::parse(text);
    let mut faults = Vec::new();
    let (mut table, drafts, admin) = read(&document, text, &mut faults);
    cross::check(&drafts, &mut faults);
    if !syntax.is_empty() {
        faults = document::without_echoes(&document, &syntax, faults);
        faults.extend(syntax);
    }
    let text: Arc<str> = text.into();
    if !faults.is_empty() {
        return Err(Report::new(name, text, faults));
    }
    let listen = drafts.iter().flat_map(|draft| draft.listen.iter().cloned()).chain(admin).collect();
    let mut policy = Arc::default();
    let routes = drafts.into_iter().map(|draft| draft.finish(&mut policy));
    let routes = routes.map(|route| (route.name.clone(), route));
    table.routes = routes.collect();
    Ok(Compiled { table, name: name.to_owned(), text, listen })
}

/// The `[admin]` of a text that has faults elsewhere.
pub fn admin_of(text: &[u8]) -> Option<AdminSettings> {
    let text = document::decode("", text).ok()?;
    let (document, _) = document::parse(text);
    let (table, ..) = read(&document, text, &mut Vec::new());
    table.admin
}

/// After so many faults reading stops: nobody cures the rest by hand, and each costs memory.
const ENOUGH: usize = 20_000;

/// Reads every section. The table that comes back has no routes yet. With the place of the admin endpoint's address.
fn read(
    document: &DeTable<'_>,
    text: &str,
    faults: &mut Vec<Placed>,
) -> (Table, Vec<Draft>, Option<At<ListenSpec>>) {
    section::unknown_keys(Place::new(Section::Root, document, 0..0), faults);
    let mut table = Table::default();
    if let Some(place) = single(document, Section::Log, "log", faults) {
        section::unknown_keys(place, faults);
        let typed = section::read(place, Section::Log, faults);
        table.log = settings::log(place, typed, faults);
    }
    if let Some(place) = single(document, Section::Limits, "limits", faults) {
        table.limits = clients::limits(place, faults);
    }
    let admin =
        single(document, Section::Admin, "admin", faults).and_then(|place| admin::read(place, faults));
    let (mut defaults, mut says_sniff_timeout) = (Policy::default(), false);
    if let Some(place) = single(document, Section::Defaults, "defaults", faults) {
        section::unknown_keys(place, faults);
        let typed = section::read(place, Section::Policy, faults);
        defaults = settings::policy(place, typed, &Policy::default(), faults);
        says_sniff_timeout = place.table.contains_key("sniff_timeout");
    }
    let mut drafts = Vec::new();
    for (header, route) in routes(document, faults) {
        if faults.len() > ENOUGH {
            break;
        }
        let mut draft = route::read(route, header, &defaults, faults);
        draft.says_sniff_timeout |= says_sniff_timeout;
        drafts.push(draft);
    }
    let admin = admin.map(|(settings, at)| {
        admin::overlaps((&settings, &at), &drafts, faults);
        table.admin = Some(settings);
        at
    });
    if drafts.is_empty() && faults.is_empty() {
        let message = if text.trim().is_empty() { "the file is empty" } else { "the file has no route" };
        let cure =
            "write at least one:\n[[route]]\nlisten = \"127.0.0.1:8080\"\nupstream = \"app.internal:3000\"";
        faults.push(Placed::whole(Fault::new(message, cure)));
    }
    (table, drafts, admin)
}

/// A table that stands once: `[log]`, `[limits]`, `[admin]`, `[defaults]`.
fn single<'t>(
    document: &'t DeTable<'t>,
    section: Section,
    key: &str,
    faults: &mut Vec<Placed>,
) -> Option<Place<'t>> {
    let value = document.get(key)?;
    if let DeValue::Table(table) = value.get_ref() {
        return Some(Place::new(section, table, value.span()));
    }
    let message = format!("`{key}` is a table, not {}", section::kind(value.get_ref()));
    faults
        .push(Placed::new(value.span(), Fault::new(message, format!("write [{key}] on a line of its own"))));
    None
}

/// The tables of `route`, with their headers. Where it is misspelt, which is noted elsewhere, they are read all the same.
fn routes<'t>(document: &'t DeTable<'t>, faults: &mut Vec<Placed>) -> Vec<(Range<usize>, &'t DeTable<'t>)> {
    let cure = "write [[route]] on a line of its own, with two brackets: a file may have many routes";
    let misspelt = || document.iter().find(|(key, _)| suggest::nearest(key.get_ref(), &["route"]).is_some());
    let Some((_, value)) = document.get_key_value("route").or_else(misspelt) else { return Vec::new() };
    let items = match value.get_ref() {
        DeValue::Array(items) => items,
        DeValue::Table(table) => {
            let fault = Fault::new("a route begins with `[[route]]`", cure);
            faults.push(Placed::new(value.span(), fault));
            return vec![(value.span(), table)];
        }
        other => {
            let message = format!("`route` is a list of tables, not {}", section::kind(other));
            faults.push(Placed::new(value.span(), Fault::new(message, cure)));
            return Vec::new();
        }
    };
    let mut tables = Vec::with_capacity(items.len());
    for item in items.iter() {
        match item.get_ref() {
            DeValue::Table(table) => tables.push((item.span(), table)),
            other => {
                let message = format!("a route is a table, not {}", section::kind(other));
                faults.push(Placed::new(item.span(), Fault::new(message, cure)));
            }
        }
    }
    tables
}
