//! `[fleet]`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::listeners::{NameOrNumber, parsed};
use super::place::{self, Place};
use super::placed::Placed;
use super::table_schema::typed_table;
use crate::model::FleetSettings;

/// `[fleet]`: the nodes that serve the same routes side by side.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Fleet {
    /// How many there are, this one counted: 1 to 1000, or a name that has the address of each. They share the checks of `health`:
    /// each node makes its own so many times less often, and an upstream sees no more of them than from one node. What failed
    /// connects tell is known at once.
    #[schemars(extend("default" = 1, "examples" = [30]))]
    replicas: Option<NameOrNumber>,
}

typed_table!(Fleet);

/// Reads the table.
pub(super) fn read(place: Place<'_>, faults: &mut Vec<Placed>) -> FleetSettings {
    let typed: Fleet = place::read(place, faults);
    let replicas = typed.replicas.and_then(|typed| parsed(place, "replicas", &typed.0, faults));
    FleetSettings { replicas: replicas.unwrap_or_default() }
}
