//! Limits of UDP sessions: `max_sessions`, `max_replies`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::family::Family;
use crate::config::place;
use crate::config::read::number;
use crate::config::table_schema::{TypedTable, typed_table};
use crate::model::units;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Typed {
    /// UDP: how many sessions the route has at once; without it, as many as the descriptors allow.
    #[schemars(range(min = 1, max = 4_294_967_295_u32), extend("examples" = [10_000]))]
    max_sessions: Option<i64>,
    /// UDP: after so many answers a session ends. 1 for DNS.
    #[schemars(range(min = 1, max = 4_294_967_295_u32), extend("examples" = [1]))]
    max_replies: Option<i64>,
}

typed_table!(Typed);

pub(super) const FAMILY: Family = Family {
    schema: Typed::schema,
    read: |place, policy, faults| {
        let typed: Typed = place::read(place, faults);
        let mut read = |key, typed| number(place, key, typed, u32::MAX, faults);
        policy.max_sessions = read("max_sessions", typed.max_sessions).or(policy.max_sessions);
        policy.max_replies = read("max_replies", typed.max_replies).or(policy.max_replies);
    },
    entries: |policy| {
        vec![
            ("max_sessions", units::or_none(policy.max_sessions)),
            ("max_replies", units::or_none(policy.max_replies)),
        ]
    },
    tcp_only: &[],
    udp_only: &["max_sessions", "max_replies"],
    fit: None,
};
