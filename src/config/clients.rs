//! The policy keys of the client's side: from what was typed to what it means.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use toml::de::DeValue;

use super::file::{self, OrTable};
use super::proxy_protocol;
use super::report::Placed;
use super::route::{At, address};
use super::schema::Section;
use super::section::{self, Place};
use super::settings;
use super::tls;
use crate::model::{Bandwidth, Clients, Fault, Limits, Network, NetworkList, Networks, WhenFull};

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
    if let Some(value) = count(place, "max_connections", typed.max_connections, faults) {
        clients.max_connections = value;
    }
    if let Some(value) = typed.when_full {
        clients.when_full = match value {
            file::WhenFull::Reset => WhenFull::Reset,
            file::WhenFull::Wait => WhenFull::Wait,
        };
    }
    if let Some(value) = count(place, "max_connections_per_client", typed.max_connections_per_client, faults)
    {
        clients.max_connections_per_client = value;
    }
    if let Some(value) = or_off(place, "rate_per_client", typed.rate_per_client, faults) {
        clients.rate_per_client = value;
    }
    if let Some(value) = bandwidth(place, typed.bandwidth, faults) {
        clients.bandwidth = value;
    }
    if let Some(value) = proxy_protocol::read(place, typed.proxy_protocol, faults) {
        clients.proxy_protocol = value;
    }
    if let Some(value) = tls::read(place, typed.tls, faults) {
        clients.tls = value;
    }
    if let Some(value) = settings::duration(place, "sniff_timeout", typed.sniff_timeout, faults) {
        clients.sniff_timeout = value;
    }
    clients
}

/// Reads `[limits]`.
pub(super) fn limits(place: Place<'_>, faults: &mut Vec<Placed>) -> Limits {
    section::unknown_keys(place, faults);
    let typed: file::Limits = section::read(place, Section::Limits, faults);
    let max_connections = count(place, "max_connections", typed.max_connections, faults);
    Limits { max_connections: max_connections.unwrap_or_default() }
}

/// A number from 1, or "off". `None` where the key is absent or has a fault.
fn count(
    place: Place<'_>,
    key: &str,
    typed: Option<file::CountOrOff>,
    faults: &mut Vec<Placed>,
) -> Option<Option<u32>> {
    let (value, typed) = (place.table.get(key)?, typed?.0.0);
    let (number, off) = (value.get_ref().is_integer(), value.get_ref().as_str() == Some("off"));
    let cure = || format!("write a number from 1, or \"off\": {key} = 100");
    let fault = match typed.parse::<i64>().ok().map(u32::try_from) {
        _ if off => return Some(None),
        Some(Ok(0)) if number => Fault::new(
            format!("with `{key} = 0` no client could come in"),
            "write a number from 1; to keep all out, remove the route",
        ),
        Some(Ok(count)) if number => return Some(Some(count)),
        Some(_) if number => {
            Fault::new(format!("`{key}` cannot be {typed}"), format!("the most is {}", u32::MAX))
        }
        Some(_) => Fault::new(
            format!("`{key}` takes a number, not text"),
            format!("remove the quotes: {key} = {typed}"),
        ),
        None => Fault::new(format!("`{key}` cannot be `{typed}`"), cure()),
    };
    faults.push(Placed::new(value.span(), fault));
    None
}

/// A text that means something, or "off". `None` where the key is absent or has a fault.
fn or_off<T: FromStr<Err = Fault>>(
    place: Place<'_>,
    key: &str,
    typed: Option<file::Text>,
    faults: &mut Vec<Placed>,
) -> Option<Option<T>> {
    let (value, typed) = (place.table.get(key)?, typed?);
    let fault = match typed.0.parse::<T>() {
        _ if value.get_ref().as_str() == Some("off") => return Some(None),
        Ok(read) => {
            settings::text(key, &typed, value, faults)?;
            return Some(Some(read));
        }
        Err(error) => Fault::new(error.to_string(), error.help),
    };
    faults.push(Placed::new(value.span(), fault));
    None
}

fn bandwidth(
    place: Place<'_>,
    typed: Option<OrTable<file::Text, file::Bandwidth>>,
    faults: &mut Vec<Placed>,
) -> Option<Bandwidth> {
    let value = place.table.get("bandwidth")?;
    match typed? {
        OrTable::Value(text) => {
            let both = or_off(place, "bandwidth", Some(text), faults)?;
            Some(Bandwidth { up: both, down: both })
        }
        OrTable::Table(_) => {
            let DeValue::Table(table) = value.get_ref() else { return None };
            let place = Place::new(Section::Bandwidth, table, value.span());
            section::unknown_keys(place, faults);
            let typed: file::Bandwidth = section::read(place, Section::Bandwidth, faults);
            if table.is_empty() {
                let fault =
                    Fault::new("the table has neither `up` nor `down`", "write { down = \"10 MiB/s\" }");
                faults.push(Placed::new(value.span(), fault));
            }
            let up = or_off(place, "up", typed.up, faults);
            let down = or_off(place, "down", typed.down, faults);
            Some(Bandwidth { up: up.flatten(), down: down.flatten() })
        }
    }
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
    if !place.table.contains_key("file") {
        if !section::is_misspelt(place, "file") {
            let fault =
                Fault::new("the table has no `file`", "write { file = \"/etc/portway/networks.txt\" }");
            faults.push(Placed::new(place.header(), fault));
        }
        return None;
    }
    path(place, "file", typed.file, faults)
}

/// The path of a file that is read. `None` where the key is absent or has a fault.
pub(super) fn path(
    place: Place<'_>,
    key: &str,
    typed: Option<file::Text>,
    faults: &mut Vec<Placed>,
) -> Option<PathBuf> {
    let value = place.table.get(key)?;
    let text = settings::text(key, typed.as_ref()?, value, faults)?;
    let fault = match text {
        "" if key == "file" => {
            Fault::new("the path is empty", "write the path of a file with one network a line")
        }
        "" => Fault::new("the path is empty", "write the path of a file in PEM"),
        text if text.contains(['\0', '\n']) => {
            Fault::new("the path has a NUL byte or a new line in it", "remove it")
        }
        text => return Some(text.into()),
    };
    faults.push(Placed::new(value.span(), fault));
    None
}
