//! `protocol`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::family::Family;
use crate::config::place;
use crate::config::table_schema::{TypedTable, typed_table};
use crate::model::Protocol;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Typed {
    /// What is forwarded: connections ("tcp"), datagrams in sessions ("udp"), or both on the same ports ("tcp+udp").
    #[schemars(extend("default" = "tcp"))]
    protocol: Option<Protocol>,
}

typed_table!(Typed);

pub(super) const FAMILY: Family = Family {
    schema: Typed::schema,
    read: |place, policy, faults| {
        let typed: Typed = place::read(place, faults);
        policy.protocol = typed.protocol.unwrap_or(policy.protocol);
    },
    entries: |policy| vec![("protocol", policy.protocol.to_string())],
    tcp_only: &[],
    udp_only: &[],
    fit: None,
};
