//! Keys that nobody knows: in the tables of the file and in those within them.

use std::sync::LazyLock;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::admin::Admin;
use super::edits::Edits;
use super::fleet::Fleet;
use super::keys;
use super::log::Log;
use super::own::Own;
use super::place::{Place, as_toml};
use super::placed::Placed;
use super::process::Process;
use super::process_limits::Limits;
use super::suggest::{list, nearest, synonym};
use super::table_schema::{TableSchema, TypedTable};
use crate::model::{Fault, Mode};

/// A table of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Root,
    Process,
    Log,
    Limits,
    Fleet,
    Edits,
    Admin,
    Defaults,
    Route,
}

/// All keys of a route: its own, and the policy keys.
pub(super) fn route_schema() -> &'static TableSchema {
    static SCHEMA: LazyLock<TableSchema> =
        LazyLock::new(|| TableSchema::join([Own::schema(), keys::schema()]));
    &SCHEMA
}

/// How many unknown keys of one table are noted. A table with more of them is not meant for us.
const NOTED: usize = 1000;

/// A table within one of the file's: the keys that lead to it, with dots between; empty: that one itself.
#[derive(Clone, Copy)]
struct Within<'p> {
    table: Table,
    path: &'p str,
}

/// Notes the keys of a table, and of the tables in it, that are not known.
pub(super) fn note(place: Place<'_>, table: Table, faults: &mut Vec<Placed>) {
    let of = Within { table, path: "" };
    unknown(place.table, place.schema, of, faults);
    if matches!(table, Table::Admin | Table::Defaults | Table::Route) {
        within(place.table, place.schema, of, faults);
    }
}

/// The tables in a table: `health`, `tls` and `tls.upstream`, each entry of `listen`, of `upstream` and of
/// `health.steps`.
fn within(table: &DeTable<'_>, schema: &TableSchema, of: Within<'_>, faults: &mut Vec<Placed>) {
    for (key, value) in table {
        // Where the key takes no list, or no table, that is its only fault.
        let (schema, tables): (_, Vec<&DeTable<'_>>) = match value.get_ref() {
            DeValue::Table(table) => (schema.table_of(key.get_ref()), vec![table]),
            DeValue::Array(items) => {
                let tables = items.iter().filter_map(|item| item.get_ref().as_table());
                (schema.tables_of(key.get_ref()), tables.collect())
            }
            _ => continue,
        };
        let Some(schema) = schema.filter(|_| !tables.is_empty()) else { continue };
        let gap = if of.path.is_empty() { "" } else { "." };
        let path = format!("{}{gap}{}", of.path, key.get_ref());
        let of = Within { path: &path, ..of };
        for table in tables {
            unknown(table, schema, of, faults);
            within(table, schema, of, faults);
        }
    }
}

fn unknown(table: &DeTable<'_>, schema: &TableSchema, of: Within<'_>, faults: &mut Vec<Placed>) {
    let unknown = table.keys().filter(|key| !schema.has(key.get_ref()));
    for key in unknown.take(NOTED) {
        faults.push(Placed::unknown_key(key.span(), fault(table, schema, of, key.get_ref())));
    }
}

/// Notes the keys at the top of the file that are not known and not noted yet.
pub(super) fn note_top(root: Place<'_>, noted: &[&str], faults: &mut Vec<Placed>) {
    let of = Within { table: Table::Root, path: "" };
    let unknown = root.table.iter().filter(|(key, _)| !root.schema.has(key.get_ref()));
    for (key, value) in unknown.filter(|(key, _)| !noted.contains(&&**key.get_ref())).take(NOTED) {
        let is_table = value.get_ref().is_table() && route_schema().table_of(key.get_ref()).is_some();
        let fault = match is_table {
            true => Fault::new(
                format!("`{}` is not known here", key.get_ref()),
                format!("write [route.{}] below the keys of its [[route]]", key.get_ref()),
            ),
            false => fault(root.table, root.schema, of, key.get_ref()),
        };
        faults.push(Placed::unknown_key(key.span(), fault));
    }
}

/// So many keys are still listed. More are nothing that a person reads: the report names the command that shows them.
const LISTED: usize = 9;

fn fault(within: &DeTable<'_>, schema: &TableSchema, of: Within<'_>, key: &str) -> Fault {
    let Within { table, path } = of;
    let shown = |key: &str| match (table, key) {
        (Table::Root, "route") => "`[[route]]`".to_owned(),
        (Table::Root, "include") => "`include`".to_owned(),
        (Table::Root, key) => format!("`[{key}]`"),
        (_, key) => format!("`{key}`"),
    };
    let message = match (table, path) {
        (Table::Root, _) => format!("`{key}` is not known here"),
        (Table::Process, _) => format!("`[process]` has no key `{key}`"),
        (Table::Log, _) => format!("`[log]` has no key `{key}`"),
        (Table::Limits, _) => format!("`[limits]` has no key `{key}`"),
        (Table::Fleet, _) => format!("`[fleet]` has no key `{key}`"),
        (Table::Edits, _) => format!("`[edits]` has no key `{key}`"),
        (Table::Admin, _) => format!("`[admin]` has no key `{key}`"),
        (Table::Defaults, "") => format!("`[defaults]` has no key `{key}`"),
        (Table::Route, "") => format!("a route has no key `{key}`"),
        (_, "listen") => format!("a listener has no key `{key}`"),
        (_, "upstream") => format!("an upstream has no key `{key}`"),
        (_, "allow" | "deny") => format!("a list in a file has no key `{key}`"),
        (_, path) => format!("`{path}` has no key `{key}`"),
    };
    let is_free = |word: &str| !within.contains_key(word);
    // HAProxy's `mode` is a word, that of a socket's file has digits.
    let is_of_file = |value: &Spanned<DeValue<'_>>| {
        value.get_ref().as_str().is_some_and(|text| text.parse::<Mode>().is_ok())
    };
    let is_misplaced = key == "mode" && within.get(key).is_some_and(is_of_file);
    let help = match synonym(key, &schema.known(), is_free).filter(|_| !is_misplaced) {
        Some(word) if is_free(word) => format!("did you mean {}?", shown(word)),
        _ => help(schema, of, key, shown),
    };
    Fault::new(message, help)
}

/// What the key was meant to be, or where it belongs.
fn help(schema: &TableSchema, of: Within<'_>, key: &str, shown: impl Fn(&str) -> String) -> String {
    let Within { table, path } = of;
    let (route, defaults) = (route_schema(), keys::schema());
    let in_route = (table, path) == (Table::Route, "");
    match key {
        "disabled" | "disable" if in_route => return "write enabled = false".to_owned(),
        "include" => {
            return "put it above the first header: it is of the file as a whole".to_owned();
        }
        "description" | "comment" | "note" | "remark" => return "write it as a comment, after #".to_owned(),
        "port" if path == "upstream" => {
            return "remove it: the port stands in `address`, as in \"app:3000\"".to_owned();
        }
        "address" | "addr" | "port" if in_route => {
            return "remove the line: `listen` and `upstream` have the addresses, with their ports"
                .to_owned();
        }
        _ => {}
    }
    if !in_route && route.has(key) && !defaults.has(key) {
        return format!("`{key}` belongs to a route: put it below a line `[[route]]`");
    }
    if table == Table::Root && defaults.has(key) {
        return format!(
            "for all routes put `{key}` below a line `[defaults]`, for one below its `[[route]]`"
        );
    }
    if table != Table::Log && Log::schema().has(key) {
        return format!("`{key}` belongs to `[log]`");
    }
    for table in ["upstream", "health", "tls", "listen"] {
        let Some(inner) = route.table_of(table).filter(|inner| in_route && inner.has(key)) else { continue };
        let example = inner.example(key).map(as_toml).unwrap_or_default();
        return match table {
            "upstream" => {
                format!(
                    "`{key}` belongs to an upstream: upstream = {{ address = \"app:3000\", {key} = {example} }}"
                )
            }
            "listen" => {
                format!(
                    "`{key}` belongs to a listener: listen = {{ address = \"unix:/run/app.sock\", {key} = {example} }}"
                )
            }
            table => format!("`{key}` belongs to `{table}`: {table} = {{ {key} = {example} }}"),
        };
    }
    let known = schema.known();
    match nearest(key, &known) {
        Some(near) => format!("did you mean {}?", shown(near)),
        None if known.len() > LISTED => "remove the line: no key has such a name".to_owned(),
        None => format!("the keys are {}", list(known.iter().map(|key| shown(key)), "and")),
    }
}

/// The schema of each table that stands once.
pub(super) fn schema_of(table: Table) -> &'static TableSchema {
    static ROOT: LazyLock<TableSchema> = LazyLock::new(|| {
        let keys = ["include", "process", "log", "limits", "fleet", "edits", "admin", "defaults", "route"];
        TableSchema::of_words(&keys)
    });
    match table {
        Table::Root => &ROOT,
        Table::Process => Process::schema(),
        Table::Log => Log::schema(),
        Table::Limits => Limits::schema(),
        Table::Fleet => Fleet::schema(),
        Table::Edits => Edits::schema(),
        Table::Admin => Admin::schema(),
        Table::Defaults => keys::schema(),
        Table::Route => route_schema(),
    }
}
