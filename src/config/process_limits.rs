//! `[limits]`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::or_table::CountOrOff;
use super::place::{self, Place};
use super::placed::Placed;
use super::read::count;
use super::table_schema::typed_table;
use crate::model::ProcessLimits;

/// `[limits]`: what all routes share.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// How many connections all routes have at once: a number, or "off". More wait in the kernel's queues.
    #[schemars(extend("default" = "off", "examples" = [10_000]))]
    max_connections: Option<CountOrOff>,
}

typed_table!(Limits);

/// Reads the table.
pub(super) fn read(place: Place<'_>, faults: &mut Vec<Placed>) -> ProcessLimits {
    let typed: Limits = place::read(place, faults);
    let max_connections = count(place, "max_connections", typed.max_connections, faults);
    ProcessLimits { max_connections: max_connections.unwrap_or_default() }
}
