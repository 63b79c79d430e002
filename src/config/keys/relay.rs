//! `relay`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::family::Family;
use crate::config::place;
use crate::config::table_schema::{TypedTable, typed_table};
use crate::model::RelayMode;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Typed {
    /// How bytes are moved: the fastest way that fits ("auto"), through kernel pipes from the first byte ("splice"), or
    /// through a buffer of the connection ("copy").
    #[schemars(extend("default" = "auto"))]
    relay: Option<RelayMode>,
}

typed_table!(Typed);

pub(super) const FAMILY: Family = Family {
    schema: Typed::schema,
    read: |place, policy, faults| {
        let typed: Typed = place::read(place, faults);
        policy.relay = typed.relay.unwrap_or(policy.relay);
    },
    entries: |policy| vec![("relay", policy.relay.to_string())],
    tcp_only: &["relay"],
    udp_only: &[],
    fit: None,
};
