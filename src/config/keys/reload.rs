//! What an edit and a stop do to connections: `on_change`, `drain_timeout`, `drain_delay`.

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
    /// What becomes of the open connections that an edit concerns: they go on ("keep"), have `drain_timeout` to end ("drain"),
    /// or are reset ("cut"). Of `listen` and `upstream` it concerns those of what leaves the list, of `allow` and `deny` none, of
    /// any other key all of the route.
    #[schemars(extend("default" = "keep"))]
    on_change: Option<OnChange>,
    /// How long a drain waits for connections to end by themselves, before it resets them. "0s" does not wait.
    #[schemars(extend("default" = "30s", "examples" = ["30s"]))]
    drain_timeout: Option<Span>,
    /// How long new clients are still served once the process is told to stop: /readyz says at once that it is not ready, so
    /// that others send them elsewhere before the listening sockets close.
    #[schemars(extend("default" = "0s", "examples" = ["5s"]))]
    drain_delay: Option<Span>,
}

typed_table!(Typed);

pub(super) const FAMILY: Family = Family {
    schema: Typed::schema,
    read: |place, policy, faults| {
        let typed: Typed = place::read(place, faults);
        policy.on_change = typed.on_change.unwrap_or(policy.on_change);
        let drain = Spans { place, faults }.required("drain_timeout", typed.drain_timeout, Duration::ZERO);
        policy.timeouts.drain = drain.unwrap_or(policy.timeouts.drain);
        let delay = Spans { place, faults }.required("drain_delay", typed.drain_delay, Duration::ZERO);
        policy.timeouts.drain_delay = delay.unwrap_or(policy.timeouts.drain_delay);
    },
    entries: |policy| {
        vec![
            ("on_change", policy.on_change.to_string()),
            ("drain_timeout", units::show(policy.timeouts.drain)),
            ("drain_delay", units::show(policy.timeouts.drain_delay)),
        ]
    },
    tcp_only: &[],
    udp_only: &[],
    fit: None,
};
