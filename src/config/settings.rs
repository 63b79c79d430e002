//! `[log]` and the policy keys: from what was typed to what it means.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::clients;
use super::file::{self, Format, Relay, Text};
use super::health;
use super::protocol;
use super::report::Placed;
use super::section::{Place, kind};
use super::suggest::nearest;
use crate::model::upstream::LONGEST_SLOW_START;
use crate::model::{
    Balance, Fault, LogFormat, LogSettings, LogTarget, OnChange, OnDown, Policy, RelayMode, units,
};

/// A text, unless its quotes are missing.
pub(super) fn text<'a>(
    key: &str,
    typed: &'a Text,
    value: &Spanned<DeValue<'_>>,
    faults: &mut Vec<Placed>,
) -> Option<&'a str> {
    if value.get_ref().is_str() {
        return Some(&typed.0);
    }
    let message = format!("`{key}` takes text, not {}", kind(value.get_ref()));
    let fault = Fault::new(message, format!("put it in quotes: \"{}\"", typed.0));
    faults.push(Placed::new(value.span(), fault));
    None
}

/// Reads the policy keys of a table over those that hold without it.
pub(super) fn policy(
    place: Place<'_>,
    typed: file::Policy,
    base: &Policy,
    faults: &mut Vec<Placed>,
) -> Policy {
    let mut policy = base.clone();
    let sessions = (typed.max_sessions, typed.max_replies);
    protocol::keys(place, (typed.protocol, sessions), &mut policy, faults);
    let mut spans = Spans { place, faults };
    let millisecond = Duration::from_millis(1);
    if let Some(value) = spans.required("connect_timeout", typed.connect_timeout, millisecond) {
        policy.connect_timeout = value;
    }
    if let Some(value) = spans.or_off("idle_timeout", typed.idle_timeout, millisecond) {
        policy.idle_timeout = value;
    }
    if let Some(value) = spans.or_off("half_close_timeout", typed.half_close_timeout, millisecond) {
        policy.half_close_timeout = value;
    }
    if let Some(value) = spans.keepalive(typed.keepalive) {
        policy.keepalive = value;
    }
    if let Some(value) = spans.required("drain_timeout", typed.drain_timeout, Duration::ZERO) {
        policy.drain_timeout = value;
    }
    if let Some(on_change) = typed.on_change {
        policy.on_change = match on_change {
            file::OnChange::Keep => OnChange::Keep,
            file::OnChange::Drain => OnChange::Drain,
            file::OnChange::Cut => OnChange::Cut,
        };
    }
    if let Some(value) = spans.slow_start(typed.slow_start) {
        policy.slow_start = value;
    }
    if let Some(balance) = typed.balance {
        policy.balance = match balance {
            file::Balance::RoundRobin => Balance::RoundRobin,
            file::Balance::LeastConnections => Balance::LeastConnections,
            file::Balance::RandomTwo => Balance::RandomTwo,
            file::Balance::SourceHash => Balance::SourceHash,
            file::Balance::First => Balance::First,
        };
    }
    if let Some(on_down) = typed.on_down {
        policy.on_down = match on_down {
            file::OnDown::Keep => OnDown::Keep,
            file::OnDown::Cut => OnDown::Cut,
        };
    }
    health::keys(place, (typed.on_vanish, typed.health, typed.when_down), &mut policy, faults);
    if let Some(relay) = typed.relay {
        policy.relay = match relay {
            Relay::Auto => RelayMode::Auto,
            Relay::Copy => RelayMode::Copy,
            Relay::Splice => RelayMode::Splice,
        };
    }
    policy.clients = clients::read(place, &base.clients, faults);
    policy
}

/// A duration of at least a millisecond. `None` where the key is absent or has a fault.
pub(super) fn duration(
    place: Place<'_>,
    key: &str,
    typed: Option<file::Span>,
    faults: &mut Vec<Placed>,
) -> Option<Duration> {
    Spans { place, faults }.required(key, typed, Duration::from_millis(1))
}

/// Durations of one table. `None` where the key is absent or has a fault.
pub(super) struct Spans<'t, 'f> {
    pub place: Place<'t>,
    pub faults: &'f mut Vec<Placed>,
}

impl Spans<'_, '_> {
    pub fn required(&mut self, key: &str, typed: Option<file::Span>, least: Duration) -> Option<Duration> {
        let typed = typed?.0;
        self.note(key, &typed, |text| units::duration(text, least))
    }

    fn or_off(
        &mut self,
        key: &str,
        typed: Option<file::SpanOrOff>,
        least: Duration,
    ) -> Option<Option<Duration>> {
        let typed = typed?.0;
        self.note(key, &typed, |text| units::duration_or_off(text, least))
    }

    /// Linux counts keepalive in whole seconds, 32767 at most (`MAX_TCP_KEEPIDLE`).
    fn keepalive(&mut self, typed: Option<file::SpanOrOff>) -> Option<Option<Duration>> {
        let value = self.or_off("keepalive", typed, Duration::from_secs(1))?;
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
        self.faults.push(Placed::new(self.place.value("keepalive"), fault));
        None
    }

    fn slow_start(&mut self, typed: Option<file::Span>) -> Option<Duration> {
        let value = self.required("slow_start", typed, Duration::ZERO)?;
        if value <= LONGEST_SLOW_START {
            return Some(value);
        }
        let fault = Fault::new("the slow start is too long", "the longest is \"1h\"");
        self.faults.push(Placed::new(self.place.value("slow_start"), fault));
        None
    }

    fn note<T>(&mut self, key: &str, typed: &Text, read: impl Fn(&str) -> Result<T, Fault>) -> Option<T> {
        let value = self.place.table.get(key)?;
        let number = matches!(value.get_ref(), DeValue::Integer(_) | DeValue::Float(_));
        let fault = if number && !typed.0.starts_with('-') {
            let off = if typed.0 == "0" && read("off").is_ok() { "off" } else { "" };
            let cure = if off.is_empty() { format!("{}s", typed.0) } else { off.to_owned() };
            Fault::new(format!("the duration `{}` has no unit", typed.0), format!("write \"{cure}\""))
        } else if typed.0 == "false" && read("off").is_ok() {
            Fault::new(format!("`{key}` cannot be `false`"), "write \"off\"")
        } else {
            match read(&typed.0) {
                Ok(read) if value.get_ref().is_str() => return Some(read),
                Ok(_) => Fault::new(
                    format!("`{key}` takes text, not {}", kind(value.get_ref())),
                    format!("put it in quotes: \"{}\"", typed.0),
                ),
                Err(error) => Fault::new(error.to_string(), error.help),
            }
        };
        self.faults.push(Placed::new(value.span(), fault));
        None
    }
}

/// Reads `[log]`.
pub(super) fn log(place: Place<'_>, typed: file::Log, faults: &mut Vec<Placed>) -> LogSettings {
    let mut log = LogSettings::default();
    let mut read = |key: &str, typed: Option<Text>| -> Option<(String, Range<usize>)> {
        let value = place.table.get(key)?;
        let text = text(key, typed.as_ref()?, value, faults)?.to_owned();
        Some((text, value.span()))
    };
    let (level, access) = (read("level", typed.level), read("access", typed.access));
    if let Some((text, span)) = level {
        match level_fault(&text) {
            None => log.level = text,
            Some(fault) => faults.push(Placed::new(span, fault)),
        }
    }
    if let Some((text, span)) = access {
        match target(&text) {
            Ok(target) => log.access = target,
            Err(fault) => faults.push(Placed::new(span, fault)),
        }
    }
    if let Some(format) = typed.format {
        log.format = match format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        };
    }
    log
}

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// The fault of a filter: a level, or `target=level` pairs with commas between. What passes here, tracing's own parser
/// takes as well; it takes a bare word as the name of a target, which hides a misspelt level.
fn level_fault(text: &str) -> Option<Fault> {
    let example = "write a level (\"info\"), or levels by target (\"info,portway::proxy=debug\")";
    if text.trim().is_empty() {
        return Some(Fault::new("the level is empty", example));
    }
    text.split(',').find_map(|directive| {
        let (target, level) = match directive.split_once('=') {
            Some((target, level)) => (Some(target), level),
            None => (None, directive),
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-');
        if target.is_some_and(|target| target.is_empty() || !target.chars().all(legal)) {
            return Some(Fault::new(format!("`{directive}` is not a filter"), example));
        }
        if LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
            return None;
        }
        let help = match nearest(level, LEVELS) {
            _ if target.is_none() && level.contains(':') => format!("write \"{level}=debug\""),
            Some(near) => format!("did you mean \"{near}\"?"),
            None => example.to_owned(),
        };
        Some(Fault::new(format!("`{level}` is not a level"), help))
    })
}

/// Where the access log goes. A word without `/` or `.` is more likely a misspelt target than the name of a file.
fn target(text: &str) -> Result<LogTarget, Fault> {
    const WORDS: &[&str] = &["off", "stdout", "stderr"];
    match text {
        "off" => Ok(LogTarget::Off),
        "stdout" => Ok(LogTarget::Stdout),
        "stderr" => Ok(LogTarget::Stderr),
        path if path.contains(['\0', '\n']) => {
            Err(Fault::new("the path has a NUL byte or a new line in it", "remove it"))
        }
        path if path.contains(['/', '.']) => Ok(LogTarget::File(path.into())),
        "" => Err(Fault::new("`access` is empty", "write \"off\", \"stdout\", \"stderr\" or a path")),
        word => {
            let help = match nearest(word, WORDS) {
                Some(near) => format!("did you mean \"{near}\"? for a file of this name write \"./{word}\""),
                None => format!("write \"off\", \"stdout\", \"stderr\" or a path: \"./{word}\""),
            };
            Err(Fault::new(format!("the access log cannot go to `{word}`"), help))
        }
    }
}
