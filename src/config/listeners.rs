//! The entries of `listen`: an address, or a table with an address and who may connect to it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use toml::de::DeValue;

use super::entries::Entries;
use super::place::{self, Place};
use super::placed::{At, Placed};
use super::read::{address, listed, text};
use super::table_schema::typed_table;
use super::values::Text;
use crate::model::{Fault, ListenSpec, Mode, SocketAccess};

/// An address to listen on, and who may connect to it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    /// As it stands alone: "8080", "127.0.0.1:8080", "[::1]:8080", "0.0.0.0:7000-7009" or "unix:/path".
    #[schemars(required, extend("examples" = ["unix:/run/app.sock"]))]
    address: Option<Text>,
    /// The mode of a Unix socket's file, in octal digits: who may write to it may connect. With a `group` it is "0660".
    #[schemars(regex(pattern = "^0?[0-7]{3}$"), extend("default" = "0666", "examples" = ["0660"]))]
    mode: Option<Text>,
    /// The group of a Unix socket's file: its name or its number.
    #[schemars(extend("examples" = ["www-data"]))]
    group: Option<NameOrNumber>,
}

/// A name or a number.
#[derive(Debug, Deserialize)]
pub(super) struct NameOrNumber(pub Text);

impl JsonSchema for NameOrNumber {
    fn schema_name() -> Cow<'static, str> {
        "NameOrNumber".into()
    }

    fn json_schema(types: &mut SchemaGenerator) -> Schema {
        let name = types.subschema_for::<Text>();
        json_schema!({ "anyOf": [name, { "type": "integer", "minimum": 0 }] })
    }
}

typed_table!(Listener);

/// One listener, or a list of them.
pub(super) type Listeners = Entries<Listener>;

/// What `listen` says.
#[derive(Default)]
pub(super) struct Listen {
    /// Each placed at its address.
    pub addresses: Vec<At<ListenSpec>>,
    /// Each placed at its table.
    pub sockets: Vec<At<UnixSocket>>,
}

/// A Unix socket with a mode or a group of its own.
#[derive(Debug)]
pub(super) struct UnixSocket {
    path: PathBuf,
    access: SocketAccess,
}

/// Reads the entries.
pub(super) fn read(place: Place<'_>, typed: Option<Listeners>, faults: &mut Vec<Placed>) -> Listen {
    listed(place, "listen", typed.as_ref().map(|typed| typed.0.len()), faults);
    let typed = typed.map(|typed| typed.0).unwrap_or_default();
    let mut listen = Listen { addresses: Vec::with_capacity(typed.len()), ..Listen::default() };
    for (typed, value) in typed.iter().zip(place.items("listen")) {
        let address = match (&typed.0, value.get_ref()) {
            (Some(text), _) => address(place, "listen", text, value, faults),
            (None, DeValue::Table(table)) => {
                one(Place::of::<Listener>(table, value.span()), &mut listen.sockets, faults)
            }
            (None, _) => None,
        };
        listen.addresses.extend(address);
    }
    listen
}

/// Reads one table.
fn one(
    place: Place<'_>,
    sockets: &mut Vec<At<UnixSocket>>,
    faults: &mut Vec<Placed>,
) -> Option<At<ListenSpec>> {
    let typed: Listener = place::read(place, faults);
    let said = Access { mode: typed.mode, group: typed.group };
    let Some(value) = place.table.get("address") else {
        if !place::is_misspelt(place, "address") {
            let cure = "write { address = \"unix:/run/app.sock\", mode = \"0660\" }";
            faults.push(Placed::new(place.header(), Fault::new("the listener has no `address`", cure)));
        }
        return None;
    };
    let spec: At<ListenSpec> = address(place, "address", &typed.address?, value, faults)?;
    let access = said.read(place, &spec.value, &SocketAccess::EVERYBODY, faults);
    if let ListenSpec::Unix(path) = &spec.value {
        sockets.push(At { value: UnixSocket { path: path.clone(), access }, at: place.header() });
    }
    Some(spec)
}

/// `mode` and `group`, as typed.
pub(super) struct Access {
    pub mode: Option<Text>,
    pub group: Option<NameOrNumber>,
}

impl Access {
    /// Who may connect to this address. What has a fault is as if it were not there.
    pub fn read(
        self,
        place: Place<'_>,
        address: &ListenSpec,
        default: &SocketAccess,
        faults: &mut Vec<Placed>,
    ) -> SocketAccess {
        let no_file = !matches!(address, ListenSpec::Unix(_));
        for key in ["mode", "group"].into_iter().filter(|key| no_file && place.table.contains_key(*key)) {
            let message = format!("`{key}` is of a Unix socket's file, and {address} has none");
            let fault = Fault::new(message, "remove the key; `allow` says who may connect to a port");
            faults.push(Placed::new(place.value(key), fault));
        }
        let mode = self.mode.filter(|typed| is_written_as_text(place, typed, faults));
        let mode: Option<Mode> = mode.and_then(|typed| parsed(place, "mode", &typed, faults));
        let group = self.group.and_then(|typed| parsed(place, "group", &typed.0, faults));
        SocketAccess::said(mode, group, default)
    }
}

/// Whether a mode is a text. A number of TOML has lost its octal digits.
fn is_written_as_text(place: Place<'_>, typed: &Text, faults: &mut Vec<Placed>) -> bool {
    let Some(value) = place.table.get("mode") else { return false };
    let DeValue::Integer(number) = value.get_ref() else {
        return text("mode", typed, value, faults).is_some();
    };
    let cure = format!("put its octal digits in quotes: \"{:0>4}\"", number.as_str());
    faults.push(Placed::new(value.span(), Fault::new("`mode` takes text, not a number", cure)));
    false
}

/// The value of a key that means something.
pub(super) fn parsed<T: FromStr<Err = Fault>>(
    place: Place<'_>,
    key: &str,
    typed: &Text,
    faults: &mut Vec<Placed>,
) -> Option<T> {
    typed.0.parse().map_err(|fault| faults.push(Placed::new(place.value(key), fault))).ok()
}

/// The sockets of all routes that not everybody may connect to, by path. Notes those whose routes do not agree.
pub(super) fn sockets<'d>(
    said: impl Iterator<Item = &'d At<UnixSocket>>,
    faults: &mut Vec<Placed>,
) -> BTreeMap<PathBuf, Arc<SocketAccess>> {
    let mut found: BTreeMap<&PathBuf, (&SocketAccess, &Range<usize>)> = BTreeMap::new();
    for At { value: UnixSocket { path, access }, at } in said {
        match found.entry(path) {
            Entry::Vacant(place) => drop(place.insert((access, at))),
            Entry::Occupied(first) if *first.get().0 == *access => {}
            Entry::Occupied(first) => {
                let message = format!("two routes give `unix:{}` different modes or groups", path.display());
                let fault = Fault::new(message, "write the same in both, or leave it to one of them");
                faults.push(Placed::new(at.clone(), fault).also(first.get().1.clone(), "first here"));
            }
        }
    }
    let others = found.into_iter().filter(|(_, (access, _))| **access != SocketAccess::EVERYBODY);
    others.map(|(path, (access, _))| (path.clone(), Arc::new(access.clone()))).collect()
}
