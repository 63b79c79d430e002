//! A text to a table, or to every fault in it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::headers::{self, RouteTable};
use super::place::{self, Place};
use super::placed::{At, Placed};
use super::report::Report;
use super::route::{self, Draft};
use super::unknown::{self, Table as Kind};
use super::{admin, cross, document, keys, listeners, log, process_limits, widths};
use crate::model::{AdminSettings, Fault, ListenAddr, ListenSpec, Policy, Table};

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
    /// The folder that a relative path of the text starts at.
    pub fn folder(&self) -> &Path {
        Path::new(&self.name).parent().unwrap_or(Path::new(""))
    }

    /// A report of a fault of the file as a whole.
    pub fn about(&self, fault: Fault) -> Report {
        Report::about_file(&self.name, fault)
    }

    /// A report of files that the text names and that cannot be read, each shown at its path.
    pub fn file_faults(&self, faults: &[(PathBuf, Fault)]) -> Report {
        let (document, _) = document::parse(&self.text);
        let place = |(path, fault): &(PathBuf, Fault)| match in_table(&document, path) {
            Some(at) => Placed::new(at, fault.clone()),
            None => Placed::whole(fault.clone()),
        };
        Report::new(&self.name, self.text.clone(), faults.iter().map(place).collect())
    }

    /// A report of faults that only trying could find: sockets that cannot be opened. Each is shown at its `listen` entry.
    pub fn listen_faults(&self, faults: &[(ListenAddr, Fault)]) -> Report {
        let mut placed: Vec<(Placed, usize)> = Vec::new();
        for (addr, fault) in faults {
            let entry = self.listen.iter().find(|entry| entry.value.contains(addr));
            let at = entry.map(|entry| &entry.at);
            // A thousand ports of one range are one fault, and so is what no address is to blame for.
            let same = |(old, _): &&mut (Placed, usize)| {
                old.fault.message == fault.message || (at.is_some() && old.at.as_ref() == at)
            };
            match placed.iter_mut().find(same) {
                Some((_, more)) => *more += 1,
                None => placed.push((Placed { at: at.cloned(), ..Placed::whole(fault.clone()) }, 0)),
            }
        }
        for (placed, more) in placed.iter_mut().filter(|(_, more)| *more > 0) {
            placed.fault.message.push_str(&format!(" (and {more} more so)"));
        }
        let placed = placed.into_iter().map(|(placed, _)| placed);
        Report::new(&self.name, self.text.clone(), placed.collect())
    }
}

/// Compiles the text of a file. `name` is what the report calls it.
pub fn compile(name: &str, text: &[u8]) -> Result<Compiled, Report> {
    let text = document::decode(name, text)?;
    let (document, syntax) = document::parse(text);
    let mut faults = Vec::new();
    let (mut table, drafts, admin) = read(&document, text, &mut faults);
    let (drafts, disabled): (Vec<Draft>, Vec<Draft>) = drafts.into_iter().partition(|draft| draft.enabled);
    cross::check(&drafts, &mut faults);
    widths::check(&drafts, &mut faults);
    // What is not served meets no other route.
    disabled.iter().for_each(|draft| cross::check(std::slice::from_ref(draft), &mut faults));
    table.sockets = listeners::sockets(drafts.iter().flat_map(|draft| &draft.sockets), &mut faults);
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
    let mut finish = |draft: Draft| draft.finish(&mut policy);
    table.routes = drafts.into_iter().map(&mut finish).map(|route| (route.name.clone(), route)).collect();
    table.disabled = disabled.into_iter().map(finish).collect();
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
    let root = Place::new(unknown::schema_of(Kind::Root), document, 0..0);
    let headers = headers::read(document, faults);
    unknown::note_top(root, &headers.noted, faults);
    let mut table = Table::default();
    if let Some(place) = single(document, Kind::Log, "log", faults) {
        table.log = log::read(place, faults);
    }
    if let Some(place) = single(document, Kind::Limits, "limits", faults) {
        table.limits = process_limits::read(place, faults);
    }
    let admin = single(document, Kind::Admin, "admin", faults).and_then(|place| admin::read(place, faults));
    let (mut defaults, mut says_sniff_timeout) = (Policy::default(), false);
    if let Some(place) = single(document, Kind::Defaults, "defaults", faults) {
        defaults = keys::read(place, &defaults, faults);
        says_sniff_timeout = place.table.contains_key("sniff_timeout");
    }
    let mut drafts = Vec::new();
    for RouteTable { header, table } in headers.routes {
        if faults.len() > ENOUGH {
            break;
        }
        let mut draft = route::read(table, header, &defaults, faults);
        draft.says_sniff_timeout |= says_sniff_timeout;
        drafts.push(draft);
    }
    let admin = admin.map(|(settings, at)| {
        cross::admin_overlaps(&settings, &at, drafts.iter().filter(|draft| draft.enabled), faults);
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

/// A table that stands once: `[log]`, `[limits]`, `[admin]`, `[defaults]`. Its unknown keys are noted.
fn single<'t>(
    document: &'t DeTable<'t>,
    kind: Kind,
    key: &str,
    faults: &mut Vec<Placed>,
) -> Option<Place<'t>> {
    let value = document.get(key)?;
    if let DeValue::Table(table) = value.get_ref() {
        let place = Place::new(unknown::schema_of(kind), table, value.span());
        unknown::note(place, kind, faults);
        return Some(place);
    }
    let message = format!("`{key}` is a table, not {}", place::kind(value.get_ref()));
    faults
        .push(Placed::new(value.span(), Fault::new(message, format!("write [{key}] on a line of its own"))));
    None
}

/// The keys whose values are paths of files.
const FILES: [&str; 6] = ["file", "cert", "key", "client_ca", "crl", "ca"];

/// The first place where a table names a file.
fn in_table(table: &DeTable<'_>, path: &Path) -> Option<Range<usize>> {
    let is_it = |value: &Spanned<DeValue<'_>>| {
        value.get_ref().as_str().is_some_and(|text| Path::new(text) == path).then(|| value.span())
    };
    let places = table.iter().filter_map(|(key, value)| match value.get_ref() {
        DeValue::Table(table) => in_table(table, path),
        DeValue::Array(items) if FILES.contains(&&**key.get_ref()) => items.iter().find_map(is_it),
        DeValue::Array(items) => {
            let tables = items.iter().filter_map(|item| item.get_ref().as_table());
            tables.filter_map(|table| in_table(table, path)).min_by_key(|at| at.start)
        }
        _ if FILES.contains(&&**key.get_ref()) => is_it(value),
        _ => None,
    });
    // A table has its keys in the order of the alphabet.
    places.min_by_key(|at| at.start)
}
