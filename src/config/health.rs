//! `on_vanish`, `health` and `when_down`: from what was typed to what it means.

use std::str::FromStr;
use std::time::Duration;

use toml::de::DeValue;

use super::file::{self, Health, HealthOrOff, Text};
use super::report::Placed;
use super::schema::Section;
use super::section::{self, Place, kind};
use super::settings::{self, Spans};
use super::suggest::nearest;
use crate::model::health::MOST_IN_A_ROW;
use crate::model::{Fault, HealthCheck, OnVanish, Policy, WhenDown, units};

/// The shortest interval.
const SHORTEST: Duration = Duration::from_millis(100);
const EXAMPLE: &str = "{ interval = \"5s\", timeout = \"2s\" }";

/// Reads these keys over those that hold without them.
pub(super) fn keys(
    place: Place<'_>,
    (on_vanish, health, when_down): (Option<file::OnVanish>, Option<HealthOrOff>, Option<Text>),
    policy: &mut Policy,
    faults: &mut Vec<Placed>,
) {
    if let Some(on_vanish) = on_vanish {
        policy.on_vanish = match on_vanish {
            file::OnVanish::Keep => OnVanish::Keep,
            file::OnVanish::Drain => OnVanish::Drain,
            file::OnVanish::Cut => OnVanish::Cut,
        };
    }
    if let Some(health) = read(place, health, faults) {
        policy.health = health;
    }
    if let Some(when_down) = read_when_down(place, when_down, faults) {
        policy.when_down = when_down;
    }
}

/// Reads `health`. `None`: the key is absent, or has a fault.
fn read(
    place: Place<'_>,
    typed: Option<HealthOrOff>,
    faults: &mut Vec<Placed>,
) -> Option<Option<HealthCheck>> {
    let typed = typed?.0;
    let value = place.table.get("health")?;
    let fault = match (&typed.0, value.get_ref()) {
        (None, DeValue::Table(table)) => {
            return table_of(Place::new(Section::Health, table, value.span()), faults).map(Some);
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

fn table_of(place: Place<'_>, faults: &mut Vec<Placed>) -> Option<HealthCheck> {
    let before = faults.len();
    section::unknown_keys(place, faults);
    let typed: Health = section::read(place, Section::Health, faults);
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
        send: payload(place, "send", typed.send, faults),
        expect: payload(place, "expect", typed.expect, faults),
    };
    if faults.len() > before {
        return None;
    }
    let fault = if check.timeout > check.interval {
        let cure =
            format!("write an interval of at least \"{}\", or a shorter timeout", units::show(check.timeout));
        let at = if place.table.contains_key("interval") { "interval" } else { "timeout" };
        Placed::new(place.value(at), Fault::new("the interval is shorter than the timeout", cure))
    } else if check.send.is_some() && check.expect.is_none() {
        let cure = "add what must come back: expect = \"PONG\"; without both a connect is enough";
        Placed::new(
            place.value("send"),
            Fault::new("`send` needs an `expect`: nobody would look at the answer", cure),
        )
    } else {
        return Some(check);
    };
    faults.push(fault);
    None
}

/// A number from 1 to `most`.
fn number(
    place: Place<'_>,
    key: &str,
    typed: Option<i64>,
    most: u32,
    faults: &mut Vec<Placed>,
) -> Option<u32> {
    let typed = typed?;
    match u32::try_from(typed) {
        Ok(number) if (1..=most).contains(&number) => return Some(number),
        _ => {}
    }
    let fault = Fault::new(format!("`{key}` cannot be {typed}"), format!("write a number from 1 to {most}"));
    faults.push(Placed::new(place.value(key), fault));
    None
}

/// What is sent, or expected.
fn payload<T: FromStr<Err = Fault>>(
    place: Place<'_>,
    key: &str,
    typed: Option<Text>,
    faults: &mut Vec<Placed>,
) -> Option<T> {
    let value = place.table.get(key)?;
    let typed = typed?;
    let text = settings::text(key, &typed, value, faults)?;
    match text.parse() {
        Ok(payload) => Some(payload),
        Err(error) => {
            faults.push(Placed::new(value.span(), Fault::new(format!("`{key}`: {error}"), error.help)));
            None
        }
    }
}

/// Reads `when_down`. `None`: the key is absent, or has a fault.
fn read_when_down(place: Place<'_>, typed: Option<Text>, faults: &mut Vec<Placed>) -> Option<WhenDown> {
    const WORDS: &[&str] = &["reset", "refuse", "hold"];
    let value = place.table.get("when_down")?;
    let typed = typed?;
    let text = settings::text("when_down", &typed, value, faults)?.trim();
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
