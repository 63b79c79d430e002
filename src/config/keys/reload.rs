//! What an edit does to open connections: `on_change`, `drain_timeout`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::family::Family;
use crate::config::place;
use crate::config::read::Spans;
use crate::config::table_schema::{TypedTable, typed_table};
use crate::config::values::Span;
use crate::model::{OnChange, units};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Typed {
    /// What becomes of the open connections of a route that an edit changes or removes: they go on ("keep"), have
    /// `drain_timeout` to end ("drain"), or are reset ("cut").
    #[schemars(extend("default" = "keep"))]
    on_change: Option<OnChange>,
    /// How long a drain waits for connections to end by themselves, before it resets them. "0s" does not wait.
    #[schemars(extend("default" = "30s", "examples" = ["30s"]))]
    drain_timeout: Option<Span>,
}

typed_table!(Typed);

pub(super) const FAMILY: Family = Family {
    schema: Typed::schema,
    read: |place, policy, faults| {
        let typed: Typed = place::read(place, faults);
        policy.on_change = typed.on_change.unwrap_or(policy.on_change);
        let drain = Spans { place, faults }.required("drain_timeout", typed.drain_timeout, Duration::ZERO);
        policy.timeouts.drain = drain.unwrap_or(policy.timeouts.drain);
    },
    entries: |policy| {
        vec![
            ("on_change", policy.on_change.to_string()),
            ("drain_timeout", units::show(policy.timeouts.drain)),
        ]
    },
    tcp_only: &[],
    udp_only: &[],
    fit: None,
};
