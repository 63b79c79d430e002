//! How long a connection may take and may be silent: `connect_timeout`, `idle_timeout`, `half_close_timeout`, `max_age`,
//! `keepalive`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::family::Family;
use crate::config::place::{self, Place};
use crate::config::placed::Placed;
use crate::config::read::Spans;
use crate::config::table_schema::{TypedTable, typed_table};
use crate::config::values::{Span, SpanOrOff};
use crate::model::{Fault, Policy, Protocol, units};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Typed {
    /// How long one attempt at one address may take. At least "1ms".
    #[schemars(extend("default" = "5s", "examples" = ["5s"]))]
    connect_timeout: Option<Span>,
    /// Ends a connection on which no byte has moved in either direction for this long, or a UDP session without a
    /// datagram. At least "1ms". For UDP the default is "60s", and "off" is not allowed.
    #[schemars(extend("default" = "off", "examples" = ["10m"]))]
    idle_timeout: Option<SpanOrOff>,
    /// Ends a connection that one side has half closed, when the other has sent no byte for this long. At least "1ms".
    #[schemars(extend("default" = "off", "examples" = ["1m"]))]
    half_close_timeout: Option<SpanOrOff>,
    /// Drains a connection that is this old, give or take a tenth, so that many do not end at once: it has
    /// `drain_timeout` to end by itself, then it is reset. At least "1ms".
    #[schemars(extend("default" = "off", "examples" = ["1h"]))]
    max_age: Option<SpanOrOff>,
    /// TCP keepalive, both sides: the idle time before the first probe. Whole seconds, "1s" to "32767s".
    #[schemars(extend("default" = "60s", "examples" = ["60s"]))]
    keepalive: Option<SpanOrOff>,
}

typed_table!(Typed);

pub(super) const FAMILY: Family = Family {
    schema: Typed::schema,
    read,
    entries: |policy| {
        let (timeouts, or_off) = (&policy.timeouts, units::show_or_off);
        vec![
            ("connect_timeout", units::show(timeouts.connect)),
            ("idle_timeout", or_off(timeouts.idle)),
            ("half_close_timeout", or_off(timeouts.half_close)),
            ("max_age", or_off(timeouts.max_age)),
            ("keepalive", or_off(timeouts.keepalive)),
        ]
    },
    tcp_only: &["half_close_timeout", "max_age", "keepalive"],
    udp_only: &[],
    fit: Some(udp_idle),
};

fn read(place: Place<'_>, policy: &mut Policy, faults: &mut Vec<Placed>) {
    const MILLISECOND: Duration = Duration::from_millis(1);
    let typed: Typed = place::read(place, faults);
    let timeouts = &mut policy.timeouts;
    let mut spans = Spans { place, faults };
    if let Some(value) = spans.required("connect_timeout", typed.connect_timeout, MILLISECOND) {
        timeouts.connect = value;
    }
    if let Some(value) = spans.or_off("idle_timeout", typed.idle_timeout, MILLISECOND) {
        timeouts.idle = value;
    }
    if let Some(value) = spans.or_off("half_close_timeout", typed.half_close_timeout, MILLISECOND) {
        timeouts.half_close = value;
    }
    if let Some(value) = spans.or_off("max_age", typed.max_age, MILLISECOND) {
        timeouts.max_age = value;
    }
    if let Some(value) = keepalive(&mut spans, typed.keepalive) {
        timeouts.keepalive = value;
    }
}

/// Linux counts keepalive in whole seconds, 32767 at most (`MAX_TCP_KEEPIDLE`).
fn keepalive(spans: &mut Spans<'_, '_>, typed: Option<SpanOrOff>) -> Option<Option<Duration>> {
    let value = spans.or_off("keepalive", typed, Duration::from_secs(1))?;
    let Some(idle) = value else { return Some(None) };
    let fault = if idle.as_secs() > 32_767 {
        Fault::new(
            "the keepalive time is too long for the kernel",
            "the longest is \"32767s\" (about 9 hours)",
        )
    } else if idle.subsec_nanos() != 0 {
        let rounded = idle.as_secs() + 1;
        Fault::new("the kernel counts keepalive in whole seconds", format!("write \"{rounded}s\""))
    } else {
        return Some(value);
    };
    spans.faults.push(Placed::new(spans.place.value("keepalive"), fault));
    None
}

/// Nothing else ends a session. Of a route for both protocols "off" is meant for connections.
fn udp_idle(place: Place<'_>, policy: &mut Policy, faults: &mut Vec<Placed>) {
    if policy.protocol != Protocol::Udp {
        return;
    }
    if place.table.get("idle_timeout").is_some_and(|value| value.get_ref().as_str() == Some("off")) {
        let fault = Fault::new(
            "a udp route needs an `idle_timeout`",
            "its sessions have no other end: write a time, such as \"1h\", or remove the line for \"60s\"",
        );
        faults.push(Placed::new(place.value("idle_timeout"), fault));
    }
}
