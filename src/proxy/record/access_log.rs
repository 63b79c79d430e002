//! The access log: one line per [`Record`].

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde::{Serialize, Serializer};

use super::{Connected, Record};
use crate::model::{ListenAddr, LogFormat, Peer, UpstreamAddr};
use crate::sink::Sink;

/// The access log. Records go nowhere until [`AccessLog::write_to`] sets a sink. Clones share the sink.
#[derive(Clone, Debug, Default)]
pub struct AccessLog {
    out: Arc<ArcSwapOption<Out>>,
}

#[derive(Debug)]
struct Out {
    sink: Arc<Sink>,
    format: LogFormat,
}

impl AccessLog {
    /// Sets where records go from now on, and in which format. `None`: nowhere.
    pub fn write_to(&self, target: Option<(Arc<Sink>, LogFormat)>) {
        self.out.store(target.map(|(sink, format)| Arc::new(Out { sink, format })));
    }

    /// Whether anybody reads records.
    pub fn is_on(&self) -> bool {
        self.out.load().is_some()
    }

    /// Writes a record. Never blocks: a line that cannot be written is counted as lost.
    pub fn write(&self, record: &Record) {
        if let Some(out) = &*self.out.load() {
            out.sink.write(line(record, out.format).as_bytes());
        }
    }
}

/// Formats a record as one line, with its line feed.
pub fn line(record: &Record, format: LogFormat) -> String {
    let mut line = match format {
        LogFormat::Text => text(record),
        // None of these fields fails to serialize.
        LogFormat::Json => serde_json::to_string(&Json::of(record)).unwrap_or_default(),
    };
    line.push('\n');
    line
}

fn text(record: &Record) -> String {
    let mut line = String::with_capacity(320);
    let _ = write!(line, "{} id={}", ended(record), record.id);
    field(&mut line, "route", &record.route.name);
    field(&mut line, "client", &record.client);
    field(&mut line, "listener", &record.listener);
    match &record.upstream {
        Some(connected) => field(&mut line, "upstream", &connected.written),
        None => line.push_str(" upstream=-"),
    }
    if let Some(peer) = peer(record) {
        field(&mut line, "peer", peer);
    }
    if let Some(local) = &record.local {
        field(&mut line, "local", local);
    }
    word(&mut line, "outcome", record.outcome.label());
    word(&mut line, "blame", record.outcome.blame().label());
    word(&mut line, "up", record.bytes.up);
    word(&mut line, "down", record.bytes.down);
    if let Some(datagrams) = record.datagrams {
        word(&mut line, "up_datagrams", datagrams.up);
        word(&mut line, "down_datagrams", datagrams.down);
    }
    match record.connect {
        Some(connect) => word(&mut line, "connect_ms", Millis(connect)),
        None => line.push_str(" connect_ms=-"),
    }
    word(&mut line, "duration_ms", Millis(record.duration));
    word(&mut line, "path", record.path.label());
    if let Some(detail) = &record.detail {
        field(&mut line, "detail", detail);
    }
    line
}

/// Appends ` key=value`, of a value that is known to be a plain word.
fn word(line: &mut String, key: &str, value: impl fmt::Display) {
    for part in [" ", key, "="] {
        line.push_str(part);
    }
    // Writing to a string cannot fail.
    let _ = write!(line, "{value}");
}

/// Appends ` key=value`. The value is quoted unless it reads as one plain word.
fn field(line: &mut String, key: &str, value: impl fmt::Display) {
    let start = line.len() + " =".len() + key.len();
    word(line, key, value);
    let value = &line[start..];
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '"' | '\\' | '=');
    if !value.is_empty() && value.chars().all(plain) {
        return;
    }
    let value = line.split_off(start);
    line.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c if c.is_control() || (c.is_whitespace() && c != ' ') => {
                let _ = write!(line, "\\u{{{:x}}}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line.push('"');
}

/// A record in JSON: the keys of the text, in the same order. What the text shows as `-` is `null`, but for the route.
#[derive(Serialize)]
struct Json<'a> {
    timestamp: Shown<humantime::Rfc3339Timestamp>,
    id: u64,
    route: &'a str,
    client: Shown<&'a Peer>,
    listener: Shown<&'a ListenAddr>,
    upstream: Option<Shown<&'a UpstreamAddr>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<Shown<&'a Peer>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<Shown<&'a Peer>>,
    outcome: &'static str,
    blame: &'static str,
    up: u64,
    down: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    up_datagrams: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    down_datagrams: Option<u64>,
    connect_ms: Option<f64>,
    duration_ms: f64,
    path: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

impl<'a> Json<'a> {
    fn of(record: &'a Record) -> Self {
        Json {
            timestamp: Shown(ended(record)),
            id: record.id,
            route: &record.route.name,
            client: Shown(&record.client),
            listener: Shown(&record.listener),
            upstream: record.upstream.as_ref().map(|connected| Shown(&*connected.written)),
            peer: peer(record).map(Shown),
            local: record.local.as_ref().map(Shown),
            outcome: record.outcome.label(),
            blame: record.outcome.blame().label(),
            up: record.bytes.up,
            down: record.bytes.down,
            up_datagrams: record.datagrams.map(|datagrams| datagrams.up),
            down_datagrams: record.datagrams.map(|datagrams| datagrams.down),
            connect_ms: record.connect.map(|connect| Millis(connect).number()),
            duration_ms: Millis(record.duration).number(),
            path: record.path.label(),
            detail: record.detail.as_deref(),
        }
    }
}

/// Serializes a value as the string that it displays.
struct Shown<T>(T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// When the connection ended, by the wall clock: RFC 3339, UTC.
fn ended(record: &Record) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_millis(record.ended)
}

/// The address that was connected. `None`: it is the upstream as written, or there was none.
fn peer(record: &Record) -> Option<&Peer> {
    let Connected { written, peer } = record.upstream.as_ref()?;
    let same = match (&**written, peer) {
        (UpstreamAddr::Ip(written), Peer::Ip(connected)) => written == connected,
        (UpstreamAddr::Unix(written), Peer::Unix(connected)) => Some(written) == connected.as_ref(),
        _ => false,
    };
    (!same).then_some(peer)
}

/// A time in milliseconds, to the microsecond.
struct Millis(Duration);

impl Millis {
    fn number(&self) -> f64 {
        // Exact up to 285 years.
        self.0.as_micros() as f64 / 1000.0
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1000, micros % 1000)
    }
}
