//! Which of several upstreams gets the next connection: `balance`, `slow_start`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::family::Family;
use crate::config::place;
use crate::config::placed::Placed;
use crate::config::read::Spans;
use crate::config::table_schema::{TypedTable, typed_table};
use crate::config::values::Span;
use crate::model::upstream::LONGEST_SLOW_START;
use crate::model::{Balance, Fault, units};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Typed {
    /// Which of several upstreams has the next connection: each in turn by weight ("round-robin"), the one with the fewest
    /// connections for its weight ("least-connections"), the better of two that chance gives ("random-two"), always the
    /// same for one client address ("source-hash"), or the first available one ("first"). One that does not connect is
    /// passed over.
    #[schemars(extend("default" = "round-robin"))]
    balance: Option<Balance>,
    /// How long an upstream that came back has less than its share, growing from a tenth. At most "1h".
    #[schemars(extend("default" = "0s", "examples" = ["10s"]))]
    slow_start: Option<Span>,
}

typed_table!(Typed);

pub(super) const FAMILY: Family = Family {
    schema: Typed::schema,
    read: |place, policy, faults| {
        let typed: Typed = place::read(place, faults);
        policy.balance = typed.balance.unwrap_or(policy.balance);
        let mut spans = Spans { place, faults };
        policy.slow_start = slow_start(&mut spans, typed.slow_start).unwrap_or(policy.slow_start);
    },
    entries: |policy| {
        vec![("balance", policy.balance.to_string()), ("slow_start", units::show(policy.slow_start))]
    },
    tcp_only: &[],
    udp_only: &[],
    fit: None,
};

fn slow_start(spans: &mut Spans<'_, '_>, typed: Option<Span>) -> Option<Duration> {
    let value = spans.required("slow_start", typed, Duration::ZERO)?;
    if value <= LONGEST_SLOW_START {
        return Some(value);
    }
    let fault = Fault::new("the slow start is too long", "the longest is \"1h\"");
    spans.faults.push(Placed::new(spans.place.value("slow_start"), fault));
    None
}
