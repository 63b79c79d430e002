//! One file of routes, compiled by itself: the main file, or one that it includes.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::headers::{self, RouteTable};
use super::place::{self, Place};
use super::placed::{At, Placed, shift};
use super::report::Report;
use super::route::{self, Draft};
use super::unknown::{self, Table as Kind};
use super::{
    admin, cross, document, edits, fleet, include, keys, listeners, log, process, process_limits, widths,
};
use crate::model::{Fault, Glob, ListenSpec, Policy, Route, Table};

/// A file that compiled, and where in its text everything stands that other files may speak of too.
#[derive(Debug)]
pub struct RouteFile {
    name: String,
    text: Arc<str>,
    /// Where its text begins in the space of all places: no two files of one table share a place.
    begin: usize,
    /// The folder that its relative paths begin at, from the folder of the main file.
    folder: PathBuf,
    include: Vec<Glob>,
    /// The settings of the process, and the routes with `enabled = false`. The others are in `routes`.
    settings: Table,
    /// The address of the admin endpoint.
    admin: Option<At<ListenSpec>>,
    drafts: Vec<Draft>,
    /// One for each draft.
    routes: Vec<Arc<Route>>,
}

/// What a file is to the others.
#[derive(Clone, Copy, Debug)]
pub(super) enum Standing<'p> {
    Main,
    /// The folder that its relative paths begin at.
    Included(&'p Path),
}

impl RouteFile {
    /// Compiles the main file. `name` is what a report calls it.
    pub fn main(name: &str, text: &[u8]) -> Result<RouteFile, Report> {
        RouteFile::compile(name, text, Standing::Main)
    }

    /// Compiles an included file. `path` begins at the folder of the main file.
    pub fn included(name: &str, text: &[u8], path: &Path) -> Result<RouteFile, Report> {
        RouteFile::compile(name, text, Standing::Included(path.parent().unwrap_or(Path::new(""))))
    }

    fn compile(name: &str, text: &[u8], standing: Standing<'_>) -> Result<RouteFile, Report> {
        let text = document::decode(name, text)?;
        let (document, syntax) = document::parse(text);
        let mut faults = Vec::new();
        let Read { mut settings, drafts, admin, include } = read(&document, text, standing, &mut faults);
        let (drafts, disabled): (Vec<Draft>, Vec<Draft>) =
            drafts.into_iter().partition(|draft| draft.enabled);
        let all: Vec<&Draft> = drafts.iter().collect();
        cross::check(&all, &mut faults);
        widths::check(&all, &mut faults);
        // What is not served meets no other route.
        disabled.iter().for_each(|draft| cross::check(&[draft], &mut faults));
        settings.sockets = listeners::sockets(drafts.iter().flat_map(|draft| &draft.sockets), &mut faults);
        if !syntax.is_empty() {
            faults = document::without_echoes(&document, &syntax, faults);
            faults.extend(syntax);
        }
        let text: Arc<str> = text.into();
        if !faults.is_empty() {
            return Err(Report::new(name, text, faults));
        }
        settings.disabled = disabled.iter().map(Draft::finish).collect();
        let folder = match standing {
            Standing::Main => PathBuf::new(),
            Standing::Included(folder) => folder.to_owned(),
        };
        let routes = drafts.iter().map(Draft::finish).collect();
        let name = name.to_owned();
        Ok(RouteFile { name, text, begin: 0, folder, include, settings, admin, drafts, routes })
    }

    /// What reports call it: its path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text, without a byte-order mark.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// As [`RouteFile::text`].
    pub fn shared_text(&self) -> Arc<str> {
        self.text.clone()
    }

    /// The files that it includes; paths begin at its folder.
    pub fn include(&self) -> &[Glob] {
        &self.include
    }

    /// Whether it includes the file at this path.
    pub fn includes(&self, path: &Path) -> bool {
        self.include.iter().any(|glob| glob.matches(path))
    }

    /// Its routes, those with `enabled = false` as well.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter().chain(&self.settings.disabled)
    }

    /// How many of its routes have `enabled = false`.
    pub fn disabled(&self) -> usize {
        self.settings.disabled.len()
    }

    /// Gives it the places from this one on. Returns the first one behind them.
    pub fn move_to(&mut self, begin: usize) -> usize {
        self.drafts.iter_mut().for_each(|draft| draft.shift(self.begin, begin));
        self.admin.iter_mut().for_each(|admin| admin.shift(self.begin, begin));
        self.begin = begin;
        self.places().end
    }

    /// A report of a fault of its `include`.
    pub fn include_fault(&self, fault: Fault) -> Report {
        let (document, _) = document::parse(&self.text);
        let at = document.get("include").map(toml::Spanned::span);
        self.report(vec![Placed { at, ..Placed::whole(fault) }])
    }

    /// A report of faults whose places are ranges of its text.
    pub(super) fn report(&self, faults: Vec<Placed>) -> Report {
        Report::new(&self.name, self.text.clone(), faults)
    }

    /// All its places: each begins at a byte of its text.
    pub(super) fn places(&self) -> Range<usize> {
        self.begin..self.begin + self.text.len()
    }

    /// The range of its text that is at this place.
    pub(super) fn local(&self, mut at: Range<usize>) -> Range<usize> {
        shift(&mut at, self.begin, 0);
        at
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn settings(&self) -> &Table {
        &self.settings
    }

    pub(super) fn drafts(&self) -> &[Draft] {
        &self.drafts
    }

    /// The routes that are served.
    pub(super) fn served(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The address of its admin endpoint.
    pub(super) fn admin(&self) -> Option<&At<ListenSpec>> {
        self.admin.as_ref()
    }
}

/// After so many faults reading stops: nobody cures the rest by hand, and each costs memory.
const ENOUGH: usize = 20_000;

/// What stands in a file.
pub(super) struct Read {
    /// Everything but the routes.
    pub settings: Table,
    pub drafts: Vec<Draft>,
    /// The address of the admin endpoint.
    pub admin: Option<At<ListenSpec>>,
    pub include: Vec<Glob>,
}

/// Reads every section.
pub(super) fn read(
    document: &DeTable<'_>,
    text: &str,
    standing: Standing<'_>,
    faults: &mut Vec<Placed>,
) -> Read {
    let root = Place::new(unknown::schema_of(Kind::Root), document, 0..0);
    let headers = headers::read(document, faults);
    unknown::note_top(root, &headers.noted, faults);
    let (mut settings, mut admin, mut include) = (Table::default(), None, Vec::new());
    match standing {
        Standing::Main => {
            include = include::read(root, faults);
            admin = sections(document, &mut settings, faults);
        }
        Standing::Included(_) => include::of_the_main_file(document, faults),
    }
    let (mut defaults, mut says_sniff_timeout) = (Policy::default(), false);
    if let Some(place) = single(document, Kind::Defaults, "defaults", faults) {
        defaults = keys::read(place, &defaults, faults);
        says_sniff_timeout = place.table.contains_key("sniff_timeout");
    }
    let mut drafts = Vec::new();
    let mut last = Arc::default();
    for RouteTable { header, table } in headers.routes {
        if faults.len() > ENOUGH {
            break;
        }
        let mut draft = route::read(table, header, &defaults, faults);
        draft.says_sniff_timeout |= says_sniff_timeout;
        if let Standing::Included(folder) = standing {
            Arc::make_mut(&mut draft.policy).begin_at(folder);
        }
        share(&mut draft.policy, &mut last);
        drafts.push(draft);
    }
    if let (Some(at), Some(settings)) = (&admin, &settings.admin) {
        cross::admin_overlaps(settings, at, drafts.iter().filter(|draft| draft.enabled), faults);
    }
    if drafts.is_empty() && include.is_empty() && faults.is_empty() {
        faults.push(Placed::whole(no_route(text, standing)));
    }
    Read { settings, drafts, admin, include }
}

/// Reads what only the main file has. Returns the place of the admin endpoint's address.
fn sections(
    document: &DeTable<'_>,
    settings: &mut Table,
    faults: &mut Vec<Placed>,
) -> Option<At<ListenSpec>> {
    if let Some(place) = single(document, Kind::Process, "process", faults) {
        settings.process = process::read(place, faults);
    }
    if let Some(place) = single(document, Kind::Log, "log", faults) {
        settings.log = log::read(place, faults);
    }
    if let Some(place) = single(document, Kind::Limits, "limits", faults) {
        settings.limits = process_limits::read(place, faults);
    }
    if let Some(place) = single(document, Kind::Fleet, "fleet", faults) {
        settings.fleet = fleet::read(place, faults);
    }
    if let Some(place) = single(document, Kind::Edits, "edits", faults) {
        settings.edits = edits::read(place, faults);
    }
    let admin = single(document, Kind::Admin, "admin", faults).and_then(|place| admin::read(place, faults));
    let (admin, at) = admin?;
    settings.admin = Some(admin);
    Some(at)
}

/// Most routes have the policy of the one before: it is most of a route.
fn share(policy: &mut Arc<Policy>, last: &mut Arc<Policy>) {
    if **policy == **last {
        *policy = last.clone();
    } else {
        *last = policy.clone();
    }
}

fn no_route(text: &str, standing: Standing<'_>) -> Fault {
    let message = if text.trim().is_empty() { "the file is empty" } else { "the file has no route" };
    let or = match standing {
        Standing::Main => "",
        Standing::Included(_) => ", or remove the file",
    };
    let cure = format!(
        "write at least one{or}:\n[[route]]\nlisten = \"127.0.0.1:8080\"\nupstream = \"app.internal:3000\""
    );
    Fault::new(message, cure)
}

/// A table that stands once, such as `[log]`. Its unknown keys are noted.
pub(super) fn single<'t>(
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
