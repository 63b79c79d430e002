//! `[limits]`.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::Deserialize;

use super::listeners::parsed;
use super::or_table::CountOrOff;
use super::place::{self, Place};
use super::placed::Placed;
use super::read::{count, text};
use super::table_schema::typed_table;
use super::values::Text;
use crate::model::{Fault, ProcessLimits};

/// `[limits]`: what all routes share.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// How many connections all routes have at once: a number, or "off". More wait in the kernel's queues.
    #[schemars(extend("default" = "off", "examples" = [10_000]))]
    max_connections: Option<CountOrOff>,
    /// How much memory there is: "512 MiB" of the process itself, "cgroup" (what its control group has), or "off". When nine
    /// tenths are used no more connections are admitted than are open then, until it is four fifths.
    #[schemars(extend("default" = "cgroup", "examples" = ["512 MiB"]))]
    memory: Option<Text>,
    /// How much memory the connections of all routes may use that have sent no whole PROXY header, TLS hello or handshake yet.
    /// When it is used up, of the client that has most of them the oldest gives way.
    #[schemars(extend("default" = "64 MiB", "examples" = ["16 MiB"]))]
    preread_memory: Option<Text>,
}

typed_table!(Limits);

/// Reads the table.
pub(super) fn read(place: Place<'_>, faults: &mut Vec<Placed>) -> ProcessLimits {
    let typed: Limits = place::read(place, faults);
    let max_connections = count(place, "max_connections", typed.max_connections, faults);
    let memory = amount(place, "memory", typed.memory, faults);
    let preread_memory = amount(place, "preread_memory", typed.preread_memory, faults);
    ProcessLimits {
        max_connections: max_connections.unwrap_or_default(),
        memory: memory.unwrap_or_default(),
        preread_memory: preread_memory.unwrap_or_default(),
    }
}

fn amount<T: FromStr<Err = Fault>>(
    place: Place<'_>,
    key: &str,
    typed: Option<Text>,
    faults: &mut Vec<Placed>,
) -> Option<T> {
    let typed = typed?;
    text(key, &typed, place.table.get(key)?, faults)?;
    parsed(place, key, &typed, faults)
}
