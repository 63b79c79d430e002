//! What becomes of connections when an upstream goes, and how that is found: `on_down`, `on_vanish`, `health`,
//! `when_down`.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use toml::de::DeValue;

use super::family::Family;
use super::health_steps::{self, Steps};
use crate::config::place::{self, Place, kind};
use crate::config::placed::Placed;
use crate::config::read::{Spans, number, text};
use crate::config::suggest::nearest;
use crate::config::table_schema::{TypedTable, typed_table};
use crate::config::values::{MaybeText, Span, Text};
use crate::model::health::MOST_IN_A_ROW;
use crate::model::{Fault, HealthCheck, OnDown, OnVanish, Policy, Protocol, WhenDown, units};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Typed {
    /// What becomes of the open connections of an upstream that went down: they go on ("keep"), or are reset ("cut"). Only
    /// refused and unreachable connects and failed checks cut: timeouts of some clients do not end what others have.
    #[schemars(extend("default" = "keep"))]
    on_down: Option<OnDown>,
    /// What becomes of the open connections to an address that is no longer among those of its name: they go on ("keep"),
    /// have `drain_timeout` to end ("drain"), or are reset ("cut"). For UDP the default is "cut": sessions end.
    #[schemars(extend("default" = "keep"))]
    on_vanish: Option<OnVanish>,
    /// How each upstream is checked; "off": only failed connects put an upstream down.
    #[schemars(extend("default" = "off", "examples" = [{ "interval": "5s", "timeout": "2s" }]))]
    health: Option<HealthOrOff>,
    /// What becomes of a client when no upstream is available: it is reset ("reset"), the listening socket is closed until
    /// one is back ("refuse"), or it waits ("hold 10s").
    #[schemars(extend("default" = "reset", "examples" = ["hold 10s"]))]
    when_down: Option<Text>,
}

/// How each upstream is checked, beside what failed connects tell.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Health {
    /// From the beginning of one check to that of the next. At least "100ms".
    #[schemars(extend("default" = "5s", "examples" = ["5s"]))]
    interval: Option<Span>,
    /// For the whole check; no longer than the interval. At least "1ms".
    #[schemars(extend("default" = "2s", "examples" = ["2s"]))]
    timeout: Option<Span>,
    /// So many checks in a row must pass before an upstream that is down is used again: 1 to 100.
    #[schemars(range(min = 1, max = 100), extend("default" = 2, "examples" = [2]))]
    rise: Option<i64>,
    /// So many checks in a row must fail before an upstream is down: 1 to 100.
    #[schemars(range(min = 1, max = 100), extend("default" = 3, "examples" = [3]))]
    fall: Option<i64>,
    /// The port to be checked, where it is not the upstream's own.
    #[schemars(range(min = 1, max = 65535), extend("examples" = [8081]))]
    port: Option<i64>,
    /// What is sent once it is connected: text, or bytes as "hex:0d0a"; over UDP one datagram.
    #[schemars(extend("examples" = ["PING\r\n"]))]
    send: Option<Text>,
    /// What the answer must have in it: text, bytes as "hex:0d0a", or a pattern as "regex:^HTTP/1\\.[01] 2".
    #[schemars(extend("examples" = ["PONG"]))]
    expect: Option<Text>,
    /// What is said in turn, where one question is not enough: for a server that speaks first, or one that wants to hear
    /// an end. 1 to 32 steps.
    #[schemars(extend("examples" = [[{ "expect": "220 " }, { "send": "QUIT\r\n" }]]))]
    steps: Option<Steps>,
}

/// A table of [`Health`], or `"off"`: which of its keys are wrong is found in the document.
#[derive(Clone, Debug, Deserialize)]
struct HealthOrOff(MaybeText);

impl JsonSchema for HealthOrOff {
    fn schema_name() -> Cow<'static, str> {
        "HealthOrOff".into()
    }

    /// `TableSchema::table_of` finds the table.
    fn json_schema(types: &mut SchemaGenerator) -> Schema {
        let table = types.subschema_for::<Health>();
        json_schema!({ "anyOf": [{ "type": "string", "enum": ["off"] }, table] })
    }
}

typed_table!(Typed);
typed_table!(Health);

/// The shortest interval.
const SHORTEST: Duration = Duration::from_millis(100);
const EXAMPLE: &str = "{ interval = \"5s\", timeout = \"2s\" }";

pub(super) const FAMILY: Family = Family {
    schema: Typed::schema,
    read: |place, policy, faults| {
        let typed: Typed = place::read(place, faults);
        policy.on_down = typed.on_down.unwrap_or(policy.on_down);
        policy.on_vanish = typed.on_vanish.or(policy.on_vanish);
        if let Some(value) = health(place, typed.health, policy.protocol, faults) {
            policy.health = value;
        }
        if let Some(value) = when_down(place, typed.when_down, faults) {
            policy.when_down = value;
        }
    },
    entries: |policy| {
        vec![
            ("on_down", policy.on_down.to_string()),
            ("on_vanish", on_vanish(policy)),
            ("health", units::or_off(policy.health.as_ref())),
            ("when_down", policy.when_down.to_string()),
        ]
    },
    tcp_only: &["on_down", "when_down"],
    udp_only: &[],
    fit: None,
};

/// Without a word connections go on, and sessions do not.
fn on_vanish(policy: &Policy) -> String {
    let of = |protocol| policy.of(protocol).on_vanish.unwrap_or_default().to_string();
    match (policy.on_vanish, policy.protocol) {
        (None, Protocol::TcpUdp) => format!("{}, of udp {}", of(Protocol::Tcp), of(Protocol::Udp)),
        (_, protocol) => of(protocol),
    }
}

/// Reads `health`. `None`: the key is absent, or has a fault.
fn health(
    place: Place<'_>,
    typed: Option<HealthOrOff>,
    protocol: Protocol,
    faults: &mut Vec<Placed>,
) -> Option<Option<HealthCheck>> {
    let typed = typed?.0;
    let value = place.table.get("health")?;
    let fault = match (&typed.0, value.get_ref()) {
        (None, DeValue::Table(table)) => {
            return table_of(Place::of::<Health>(table, value.span()), protocol, faults).map(Some);
        }
        (Some(text), DeValue::String(_)) if text.0 == "off" => return Some(None),
        (_, DeValue::String(text)) => {
            let message = format!("`health` cannot be `{text}`");
            Fault::new(message, format!("write \"off\", or {EXAMPLE}"))
        }
        (_, other) => {
            let message = format!("`health` takes a table, not {}", kind(other));
            Fault::new(message, format!("write health = {EXAMPLE}, or \"off\""))
        }
    };
    faults.push(Placed::new(value.span(), fault));
    None
}

fn table_of(place: Place<'_>, protocol: Protocol, faults: &mut Vec<Placed>) -> Option<HealthCheck> {
    let before = faults.len();
    let typed: Health = place::read(place, faults);
    let default = HealthCheck::default();
    let mut spans = Spans { place, faults };
    let interval = spans.required("interval", typed.interval, SHORTEST).unwrap_or(default.interval);
    let timeout = spans.required("timeout", typed.timeout, Duration::from_millis(1));
    let check = HealthCheck {
        interval,
        timeout: timeout.unwrap_or(default.timeout.min(interval)),
        rise: number(place, "rise", typed.rise, MOST_IN_A_ROW, faults).unwrap_or(default.rise),
        fall: number(place, "fall", typed.fall, MOST_IN_A_ROW, faults).unwrap_or(default.fall),
        port: number(place, "port", typed.port, u16::MAX.into(), faults)
            .and_then(|port| u16::try_from(port).ok()),
        steps: {
            let Health { send, expect, steps, .. } = typed;
            health_steps::read(place, health_steps::Typed { send, expect, steps }, protocol, faults)
        },
    };
    if faults.len() > before || place.has_unknown_keys() {
        return None;
    }
    if check.timeout <= check.interval {
        return Some(check);
    }
    let cure =
        format!("write an interval of at least \"{}\", or a shorter timeout", units::show(check.timeout));
    let at = if place.table.contains_key("interval") { "interval" } else { "timeout" };
    faults.push(Placed::new(place.value(at), Fault::new("the interval is shorter than the timeout", cure)));
    None
}

/// Reads `when_down`. `None`: the key is absent, or has a fault.
fn when_down(place: Place<'_>, typed: Option<Text>, faults: &mut Vec<Placed>) -> Option<WhenDown> {
    const WORDS: &[&str] = &["reset", "refuse", "hold"];
    let value = place.table.get("when_down")?;
    let typed = typed?;
    let text = text("when_down", &typed, value, faults)?.trim();
    let (word, time) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let forms = "write \"reset\", \"refuse\" or \"hold 10s\"";
    let fault = match (word, time.trim()) {
        ("reset", "") => return Some(WhenDown::Reset),
        ("refuse", "") => return Some(WhenDown::Refuse),
        ("hold", "") => Fault::new("`hold` needs a time", "write \"hold 10s\""),
        ("hold", time) => match units::duration(time, Duration::from_millis(1)) {
            Ok(time) => return Some(WhenDown::Hold(time)),
            Err(error) => Fault::new(error.to_string(), "write it like this: \"hold 10s\""),
        },
        (word, _) => match nearest(word, WORDS) {
            Some("hold") => {
                Fault::new(format!("`when_down` cannot be `{text}`"), "did you mean \"hold 10s\"?")
            }
            Some(near) if near != word => {
                Fault::new(format!("`when_down` cannot be `{text}`"), format!("did you mean \"{near}\"?"))
            }
            _ => Fault::new(format!("`when_down` cannot be `{text}`"), forms),
        },
    };
    faults.push(Placed::new(value.span(), fault));
    None
}
