//! The entries of `upstream`: an address, or a table with an address and what it is to the others.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::de::DeValue;

use super::entries::Entries;
use super::keys::source::{SourceTable, read_source};
use super::or_table::OrTable;
use super::place::{self, Place};
use super::placed::{At, Placed};
use super::read::{address, listed};
use super::table_schema::typed_table;
use super::values::{List, Text};
use crate::model::upstream::LARGEST_WEIGHT;
use crate::model::{EntryState, Fault, UpstreamEntry, UpstreamSpec};

/// An upstream, and what it is to the others of its route.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    /// "name:5432", "10.0.0.7:5432", "[::1]:5432", a range of ports, or "unix:/path".
    #[schemars(required, extend("examples" = ["app-1.internal:3000"]))]
    address: Option<Text>,
    /// Its share beside the others: 0 to 1000. With 0 it keeps the connections that it has, and gets no new ones.
    #[schemars(range(min = 0, max = 1000), extend("default" = 1, "examples" = [2]))]
    weight: Option<i64>,
    /// With "drain" it keeps the connections that it has, and gets no new ones.
    #[schemars(extend("default" = "ready", "examples" = ["drain"]))]
    state: Option<EntryState>,
    /// It is used only when no other upstream is available.
    #[schemars(extend("default" = false, "examples" = [true]))]
    backup: Option<bool>,
    /// How many connections it takes at once, from all routes together.
    #[schemars(range(min = 1, max = 4_294_967_295_u32), extend("examples" = [100]))]
    max_connections: Option<i64>,
    /// From where it is connected to: as `source` of the route, which holds for the others.
    #[schemars(extend("examples" = ["10.0.0.5"]))]
    source: Option<OrTable<List, SourceTable>>,
}

typed_table!(Upstream);

/// One upstream, or a list of them.
pub(super) type Upstreams = Entries<Upstream>;

/// Reads the entries. Each is placed at its address.
pub(super) fn read(
    place: Place<'_>,
    typed: Option<Upstreams>,
    faults: &mut Vec<Placed>,
) -> Vec<At<UpstreamEntry>> {
    listed(place, "upstream", typed.as_ref().map(|typed| typed.0.len()), faults);
    let typed = typed.map(|typed| typed.0).unwrap_or_default();
    let mut entries = Vec::with_capacity(typed.len());
    let mut backups: Vec<Range<usize>> = Vec::new();
    for (typed, value) in typed.iter().zip(place.items("upstream")) {
        let entry = match (&typed.0, value.get_ref()) {
            (Some(text), _) => {
                let spec: Option<At<UpstreamSpec>> = address(place, "upstream", text, value, faults);
                spec.map(|spec| At { value: spec.value.into(), at: spec.at })
            }
            (None, DeValue::Table(table)) => one(Place::of::<Upstream>(table, value.span()), faults),
            (None, _) => None,
        };
        if entry.as_ref().is_some_and(|entry| entry.value.backup) {
            backups.push(value.span());
        }
        entries.extend(entry);
    }
    if entries.len() == typed.len() && !entries.iter().any(|entry| entry.value.takes_new()) {
        let fault = Fault::new(
            "no upstream of the route gets new connections",
            "remove `state` or `weight` from at least one; to take out the route write `enabled = false` in it",
        );
        faults.extend(entries.first().map(|first| Placed::new(first.at.clone(), fault)));
    }
    if let Some(first) = backups.first().filter(|_| backups.len() == typed.len()) {
        let fault = match backups.len() {
            1 => Fault::new("the only upstream of the route is a backup", "remove `backup = true`"),
            _ => Fault::new(
                "every upstream of the route is a backup",
                "remove `backup = true` from at least one",
            ),
        };
        faults.push(Placed::new(first.clone(), fault));
    }
    entries
}

/// Reads one table.
fn one(place: Place<'_>, faults: &mut Vec<Placed>) -> Option<At<UpstreamEntry>> {
    let typed: Upstream = place::read(place, faults);
    let weight = number(place, "weight", typed.weight, 0..=LARGEST_WEIGHT, faults);
    let max_connections = number(place, "max_connections", typed.max_connections, 1..=u32::MAX, faults);
    let source = read_source(place, typed.source, faults);
    let Some(value) = place.table.get("address") else {
        if !place::is_misspelt(place, "address") {
            let fault = Fault::new("the upstream has no `address`", "write { address = \"app:3000\" }");
            faults.push(Placed::new(place.header(), fault));
        }
        return None;
    };
    let spec: At<UpstreamSpec> = address(place, "address", &typed.address?, value, faults)?;
    let entry = UpstreamEntry {
        weight: weight.unwrap_or(1),
        state: typed.state.unwrap_or_default(),
        backup: typed.backup.unwrap_or_default(),
        max_connections,
        source: source.map(|source| source.map(Arc::new)),
        ..UpstreamEntry::from(spec.value)
    };
    Some(At { value: entry, at: spec.at })
}

/// A number of this range.
fn number(
    place: Place<'_>,
    key: &str,
    typed: Option<i64>,
    range: RangeInclusive<u32>,
    faults: &mut Vec<Placed>,
) -> Option<u32> {
    let typed = typed?;
    let fault = match u32::try_from(typed) {
        Ok(number) if range.contains(&number) => return Some(number),
        Ok(0) => Fault::new(
            format!("with `{key} = 0` the upstream would have no connection"),
            "write `state = \"drain\"`; for one that waits for the others to fail write `backup = true`",
        ),
        _ => {
            let (least, most) = (range.start(), range.end());
            Fault::new(format!("`{key}` cannot be {typed}"), format!("write a number from {least} to {most}"))
        }
    };
    faults.push(Placed::new(place.value(key), fault));
    None
}
