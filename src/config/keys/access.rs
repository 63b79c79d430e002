//! Which clients are admitted: `allow`, `deny`; and where they may go: `original_destination`.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

use super::family::Family;
use crate::config::or_table::OrTable;
use crate::config::place::{self, Place};
use crate::config::placed::{At, Placed};
use crate::config::read::{address, path};
use crate::config::table_schema::{TypedTable, typed_table};
use crate::config::values::{List, Text};
use crate::model::{Fault, ListenSpec, Network, NetworkList, Networks, Policy, UpstreamEntry, UpstreamSpec};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Typed {
    /// Which networks may connect: one, a range "10.0.0.5-10.0.0.9", a list, or { file = "path" } with one a line. "all": every one.
    #[schemars(extend("default" = "all", "examples" = [["10.0.0.0/8", "2001:db8::/32"]]))]
    allow: Option<OrTable<List, ListFile>>,
    /// Which may not, even if they are allowed: as `allow`. "none": no one is kept out.
    #[schemars(extend("default" = "none", "examples" = [["192.0.2.0/24"]]))]
    deny: Option<OrTable<List, ListFile>>,
    /// Where clients may go with upstream = "original-destination": networks, as `allow`. "none": nowhere.
    #[schemars(extend("default" = "none", "examples" = [["10.0.0.0/8"]]))]
    original_destination: Option<OrTable<List, ListFile>>,
}

/// A list in a file of its own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListFile {
    /// Its path: absolute, or from the folder of this file. One network or range a line; `#` or `;` begins a comment. It is watched.
    #[schemars(required, extend("examples" = ["/etc/portway/networks.txt"]))]
    file: Option<Text>,
}

typed_table!(Typed);
typed_table!(ListFile);

/// The words for no list.
const ALL: &str = "all";
const NONE: &str = "none";
const DESTINATION: &str = "original_destination";

pub(super) const FAMILY: Family = Family {
    schema: Typed::schema,
    read: |place, policy, faults| {
        let typed: Typed = place::read(place, faults);
        let access = &mut policy.access;
        if let Some(value) = networks(place, "allow", ALL, typed.allow, faults) {
            access.allow = value;
        }
        if let Some(value) = networks(place, "deny", NONE, typed.deny, faults) {
            access.deny = value;
        }
        if let Some(value) = networks(place, DESTINATION, NONE, typed.original_destination, faults) {
            access.destinations = value;
        }
    },
    entries: |policy| {
        let list = |list: &Option<NetworkList>, none: &str| {
            list.as_ref().map_or_else(|| none.to_owned(), ToString::to_string)
        };
        let access = &policy.access;
        vec![
            ("allow", list(&access.allow, ALL)),
            ("deny", list(&access.deny, NONE)),
            (DESTINATION, list(&access.destinations, NONE)),
        ]
    },
    tcp_only: &[],
    udp_only: &[],
    fit: None,
};

/// `none`: the word for no list. `None` where the key is absent or has a fault.
fn networks(
    place: Place<'_>,
    key: &str,
    none: &str,
    typed: Option<OrTable<List, ListFile>>,
    faults: &mut Vec<Placed>,
) -> Option<Option<NetworkList>> {
    let value = place.table.get(key)?;
    let typed = match typed? {
        OrTable::Value(list) => list.0,
        OrTable::Table(_) => {
            let DeValue::Table(table) = value.get_ref() else { return None };
            let place = Place::of::<ListFile>(table, value.span());
            return list_file(place, faults).map(|path| Some(NetworkList::File(path)));
        }
    };
    if value.get_ref().as_str() == Some(none) {
        return Some(None);
    }
    if typed.is_empty() {
        let cure = format!("write networks, or {key} = \"{none}\"");
        faults.push(Placed::new(value.span(), Fault::new(format!("`{key}` is an empty list"), cure)));
        return None;
    }
    let before = faults.len();
    let mut read: Vec<Option<At<Network>>> = Vec::with_capacity(typed.len());
    for (typed, value) in typed.iter().zip(place.items(key)) {
        match word(place, key, value) {
            Some(fault) => faults.push(Placed::new(value.span(), fault)),
            None => read.push(address(place, key, typed, value, faults)),
        }
    }
    if faults.len() > before {
        return None;
    }
    let networks: Networks = read.into_iter().flatten().map(|network| network.value).collect();
    Some(Some(NetworkList::Here(Arc::new(networks))))
}

/// The fault of a word that other programs have for certain networks.
fn word(place: Place<'_>, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Fault> {
    let word = value.get_ref().as_str()?;
    let message = format!("`{word}` is not a network");
    let networks = match word.to_ascii_lowercase().as_str() {
        "all" | "any" | "everyone" | "*" if key == "allow" => {
            return Some(Fault::new(message, format!("write allow = \"{ALL}\"")));
        }
        "all" | "any" | "everyone" | "*" if key == "deny" && place.table.contains_key("allow") => {
            let cure = "remove the line: whom `allow` does not name is refused already";
            return Some(Fault::new(message, cure));
        }
        "all" | "any" | "everyone" | "*" => "\"0.0.0.0/0\", \"::/0\"",
        "none" | "nobody" if key != "allow" => {
            return Some(Fault::new(message, format!("write {key} = \"{NONE}\"")));
        }
        "localhost" | "loopback" | "local" => "\"127.0.0.0/8\", \"::1\"",
        "private" | "private_ranges" | "lan" | "internal" => {
            "\"10.0.0.0/8\", \"172.16.0.0/12\", \"192.168.0.0/16\", \"fc00::/7\""
        }
        _ => return None,
    };
    let alone = place.value(key) == value.span();
    Some(Fault::new(message, if alone { format!("write [{networks}]") } else { format!("write {networks}") }))
}

/// `{ file = "path" }`.
fn list_file(place: Place<'_>, faults: &mut Vec<Placed>) -> Option<PathBuf> {
    let typed: ListFile = place::read(place, faults);
    if !place.table.contains_key("file") {
        if !place::is_misspelt(place, "file") {
            let fault =
                Fault::new("the table has no `file`", "write { file = \"/etc/portway/networks.txt\" }");
            faults.push(Placed::new(place.header(), fault));
        }
        return None;
    }
    path(place, "file", typed.file, faults)
}

/// Notes what does not fit a route whose clients go where they wanted to go.
pub(in crate::config) fn fit_route(
    place: Place<'_>,
    policy: &Policy,
    listen: &[At<ListenSpec>],
    upstream: &[At<UpstreamEntry>],
    faults: &mut Vec<Placed>,
) {
    let mut note = |at: &Range<usize>, message: &str, help: &str| {
        faults.push(Placed::new(at.clone(), Fault::new(message, help)));
    };
    let Some(original) = upstream.iter().find(|entry| entry.value.spec == UpstreamSpec::Original) else {
        let says = policy.access.destinations.is_some() && !upstream.is_empty();
        if let Some((key, _)) = place.table.get_key_value(DESTINATION).filter(|_| says) {
            let cure = "remove the line, or write upstream = \"original-destination\"";
            note(&key.span(), "`original_destination` is of no use to this upstream", cure);
        }
        return;
    };
    if upstream.len() > 1 {
        let cure = "remove the other upstreams, or give them a route of their own";
        note(&original.at, "`original-destination` is the only upstream of its route", cure);
    }
    if policy.access.destinations.is_none()
        && place.table.get(DESTINATION).is_none_or(|said| said.get_ref().as_str() == Some(NONE))
    {
        let cure = "say where they may go: original_destination = [\"10.0.0.0/8\"]";
        note(&original.at, "clients may go nowhere yet", cure);
    }
    if policy.health.is_some() && place.table.contains_key("health") {
        let cure = "remove the line: each client has another upstream";
        note(&place.value("health"), "`health` cannot check `original-destination`", cure);
    }
    if let Some(unix) = listen.iter().find(|entry| matches!(entry.value, ListenSpec::Unix(_))) {
        let cure = "write an address with a port, to which a firewall rule leads clients";
        note(&unix.at, "who connects to a Unix socket wanted to go nowhere else", cure);
    }
}
