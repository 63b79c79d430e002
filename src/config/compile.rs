//! A text to a table, or to every fault in it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::placed::Placed;
use super::report::Report;
use super::route::Draft;
use super::route_file::{self, RouteFile, Standing};
use super::route_files::RouteFiles;
use super::unknown::Table as Kind;
use super::{document, process};
use crate::model::{AdminSettings, Fault, ListenAddr, ProcessSettings, Route, Table};

/// A table, and the files that it was made of.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// What the files say.
    pub table: Table,
    files: RouteFiles,
}

/// A fault of a value that only trying could find.
#[derive(Clone, Debug)]
pub struct ValueFault {
    /// The keys that may have the value.
    pub keys: &'static [&'static str],
    /// The value, as text.
    pub value: String,
    /// What is wrong.
    pub fault: Fault,
}

impl Compiled {
    pub(super) fn new(table: Table, files: RouteFiles) -> Compiled {
        Compiled { table, files }
    }

    /// The files that the table was made of.
    pub fn files(&self) -> &RouteFiles {
        &self.files
    }

    /// The same, without the table.
    pub fn into_files(self) -> RouteFiles {
        self.files
    }

    /// The folder that a relative path of the table starts at.
    pub fn folder(&self) -> &Path {
        self.files.folder()
    }

    /// A report of a fault of the file as a whole.
    pub fn about(&self, fault: Fault) -> Report {
        Report::about_file(self.files.main().name(), fault)
    }

    /// A report of a fault of `[process] user` that only the system could tell.
    pub fn user_fault(&self, fault: Fault) -> Report {
        let main = self.files.main();
        let (document, _) = document::parse(main.text());
        let table = document.get("process").and_then(|value| value.get_ref().as_table());
        let at = table.and_then(|table| table.get("user")).map(Spanned::span);
        main.report(vec![Placed { at, ..Placed::whole(fault) }])
    }

    /// A report of files and variables that the text names and that cannot be read, each shown where it is named.
    pub fn file_faults(&self, faults: &[(PathBuf, Fault)]) -> Report {
        self.faults(faults.iter().map(|(path, fault)| {
            let find = move |file: &RouteFile, document: &DeTable<'_>| {
                let is_it = |value: &DeValue<'_>| {
                    value.as_str().is_some_and(|text| file.folder().join(text) == *path)
                };
                find(document, &|key, value| OUTSIDE.contains(&key) && is_it(value))
            };
            (find, fault)
        }))
    }

    /// A report of faults of values that only trying could find, each shown at the first place of one of its keys
    /// with this value.
    pub fn value_faults(&self, faults: &[ValueFault]) -> Report {
        self.faults(faults.iter().map(|ValueFault { keys, value: wanted, fault }| {
            let find = move |_: &RouteFile, document: &DeTable<'_>| {
                find(document, &|of, value| keys.contains(&of) && says(value, wanted))
            };
            (find, fault)
        }))
    }

    /// A report of faults, each at the first place where it is found; otherwise of the main file as a whole.
    fn faults<'f, F>(&self, faults: impl Iterator<Item = (F, &'f Fault)>) -> Report
    where
        F: Fn(&RouteFile, &DeTable<'_>) -> Option<Range<usize>>,
    {
        let files = self.files.newest_first();
        let documents: Vec<_> = files.iter().map(|file| (*file, document::parse(file.text()).0)).collect();
        let mut reports: Vec<(&RouteFile, Vec<Placed>)> = Vec::new();
        for (find, fault) in faults {
            let found = documents.iter().find_map(|(file, document)| Some((*file, find(file, document)?)));
            let (file, placed) = match found {
                Some((file, at)) => (file, Placed::new(at, fault.clone())),
                None => (self.files.main(), Placed::whole(fault.clone())),
            };
            note(&mut reports, file, placed);
        }
        joined(reports, self.files.main())
    }

    /// A report of faults that only trying could find: sockets that cannot be opened. Each is shown at its `listen` entry.
    pub fn listen_faults(&self, faults: &[(ListenAddr, Fault)]) -> Report {
        let files = self.files.newest_first();
        let entry = |file: &RouteFile, addr: &ListenAddr| {
            let listen = file.drafts().iter().flat_map(|draft| &draft.listen).chain(file.admin());
            let mut entries = listen.filter(|entry| entry.value.contains(addr));
            entries.next().map(|entry| file.local(entry.at.clone()))
        };
        let mut placed: Vec<(&RouteFile, Placed, usize)> = Vec::new();
        for (addr, fault) in faults {
            let found = files.iter().find_map(|file| Some((*file, entry(file, addr)?)));
            let (file, at) = found.map_or((self.files.main(), None), |(file, at)| (file, Some(at)));
            // A thousand ports of one range are one fault, and so is what no address is to blame for.
            let same = |(of, old, _): &&mut (&RouteFile, Placed, usize)| {
                old.fault.message == fault.message
                    || (at.is_some() && old.at == at && std::ptr::eq(*of, file))
            };
            match placed.iter_mut().find(same) {
                Some((.., more)) => *more += 1,
                None => placed.push((file, Placed { at, ..Placed::whole(fault.clone()) }, 0)),
            }
        }
        let mut reports = Vec::new();
        for (file, mut placed, more) in placed {
            if more > 0 {
                placed.fault.message.push_str(&format!(" (and {more} more so)"));
            }
            note(&mut reports, file, placed);
        }
        joined(reports, self.files.main())
    }
}

/// Adds a fault to those of its file.
fn note<'f>(reports: &mut Vec<(&'f RouteFile, Vec<Placed>)>, file: &'f RouteFile, placed: Placed) {
    match reports.iter_mut().find(|(of, _)| std::ptr::eq(*of, file)) {
        Some((_, all)) => all.push(placed),
        None => reports.push((file, vec![placed])),
    }
}

fn joined(reports: Vec<(&RouteFile, Vec<Placed>)>, main: &RouteFile) -> Report {
    let reports = reports.into_iter().map(|(file, faults)| file.report(faults));
    reports.reduce(Report::and).unwrap_or_else(|| main.report(Vec::new()))
}

/// Compiles the text of a file, without those that it includes. `name` is what the report calls it.
pub fn compile(name: &str, text: &[u8]) -> Result<Compiled, Report> {
    RouteFile::main(name, text).map(|main| alone(RouteFiles::new(main)))
}

/// The table of a main file alone, which was checked when it was compiled.
pub(super) fn alone(files: RouteFiles) -> Compiled {
    let routes = files.main().served().iter().map(named);
    Compiled::new(Table { routes: Arc::new(routes.collect()), ..files.main().settings().clone() }, files)
}

/// A route by its name.
pub(super) fn named(route: &Arc<Route>) -> (String, Arc<Route>) {
    (route.name.clone(), route.clone())
}

/// The `[admin]` of a text that has faults elsewhere.
pub fn admin_of(text: &[u8]) -> Option<AdminSettings> {
    let text = document::decode("", text).ok()?;
    let (document, _) = document::parse(text);
    route_file::read(&document, text, Standing::Main, &mut Vec::new()).settings.admin
}

/// The `[process]` of a text, which may have faults elsewhere.
pub fn process_of(text: &[u8]) -> ProcessSettings {
    let Ok(text) = document::decode("", text) else { return ProcessSettings::default() };
    let (document, _) = document::parse(text);
    let place = route_file::single(&document, Kind::Process, "process", &mut Vec::new());
    place.map(|place| process::read(place, &mut Vec::new())).unwrap_or_default()
}

/// The routes of a text, which may have faults elsewhere.
pub fn routes_of(text: &[u8]) -> Vec<Arc<Route>> {
    let Ok(text) = document::decode("", text) else { return Vec::new() };
    let (document, _) = document::parse(text);
    let drafts = route_file::read(&document, text, Standing::Main, &mut Vec::new()).drafts;
    drafts.iter().filter(|draft| draft.enabled).map(Draft::finish).collect()
}

/// The keys whose values are paths of files, or name a variable.
const OUTSIDE: [&str; 7] = ["file", "cert", "key", "client_ca", "crl", "ca", "env"];

/// The first place where a key of a table, or an entry of its list, is what is looked for.
fn find(table: &DeTable<'_>, is_it: &impl Fn(&str, &DeValue<'_>) -> bool) -> Option<Range<usize>> {
    let places = table.iter().filter_map(|(key, value)| match value.get_ref() {
        DeValue::Table(table) => find(table, is_it),
        DeValue::Array(items) => {
            let in_item = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
                DeValue::Table(table) => find(table, is_it),
                entry => is_it(key.get_ref(), entry).then(|| item.span()),
            };
            items.iter().filter_map(in_item).min_by_key(|at| at.start)
        }
        other => is_it(key.get_ref(), other).then(|| value.span()),
    });
    // A table has its keys in the order of the alphabet.
    places.min_by_key(|at| at.start)
}

/// Whether a value is this text, or this number.
fn says(value: &DeValue<'_>, wanted: &str) -> bool {
    let number = |value: &DeInteger<'_>| i64::from_str_radix(value.as_str(), value.radix()).ok();
    match value {
        DeValue::Integer(value) => number(value).is_some_and(|number| number.to_string() == wanted),
        other => other.as_str() == Some(wanted),
    }
}
