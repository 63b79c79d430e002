//! The policy keys of the client's side: from what was typed to what it means.

use std::path::PathBuf;
use std::sync::Arc;

use toml::de::DeValue;

use super::file::{self, OrTable};
use super::report::{Fault, Placed};
use super::route::{At, address};
use super::schema::Section;
use super::section::{self, Place};
use super::settings;
use crate::model::{Clients, Network, NetworkList, Networks};

/// Reads the keys of a table over those that hold without it.
pub(super) fn read(place: Place<'_>, base: &Clients, faults: &mut Vec<Placed>) -> Clients {
    let mut clients = base.clone();
    let typed: file::Clients = section::read(place, Section::Clients, faults);
    if let Some(value) = networks(place, "allow", "all", typed.allow, faults) {
        clients.allow = value;
    }
    if let Some(value) = networks(place, "deny", "none", typed.deny, faults) {
        clients.deny = value;
    }
    clients
}

/// `none`: the word for no list. `None` where the key is absent or has a fault.
fn networks(
    place: Place<'_>,
    key: &str,
    none: &str,
    typed: Option<OrTable<file::List, file::ListFile>>,
    faults: &mut Vec<Placed>,
) -> Option<Option<NetworkList>> {
    let value = place.table.get(key)?;
    let typed = match typed? {
        OrTable::Value(list) => list.0,
        OrTable::Table(_) => {
            let DeValue::Table(table) = value.get_ref() else { return None };
            let place = Place::new(Section::ListFile, table, value.span());
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
    let entries = typed.iter().zip(place.items(key));
    let read: Vec<Option<At<Network>>> =
        entries.map(|(typed, value)| address(place, key, typed, value, faults)).collect();
    if faults.len() > before {
        return None;
    }
    let networks: Networks = read.into_iter().flatten().map(|network| network.value).collect();
    Some(Some(NetworkList::Here(Arc::new(networks))))
}

/// `{ file = "path" }`.
fn list_file(place: Place<'_>, faults: &mut Vec<Placed>) -> Option<PathBuf> {
    section::unknown_keys(place, faults);
    let typed: file::ListFile = section::read(place, Section::ListFile, faults);
    let Some(value) = place.table.get("file") else {
        if !section::is_misspelt(place, "file") {
            let fault =
                Fault::new("the table has no `file`", "write { file = \"/etc/portway/networks.txt\" }");
            faults.push(Placed::new(place.header(), fault));
        }
        return None;
    };
    let text = settings::text("file", typed.file.as_ref()?, value, faults)?;
    let fault = match text {
        "" => Fault::new("the path is empty", "write the path of a file with one network a line"),
        text if text.contains(['\0', '\n']) => {
            Fault::new("the path has a NUL byte or a new line in it", "remove it")
        }
        text => return Some(text.into()),
    };
    faults.push(Placed::new(value.span(), fault));
    None
}
