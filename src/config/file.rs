//! The file as it is typed. These types promise only that: what a value means is decided in `compile`.
//!
//! They are also the source of the JSON Schema, so each field's doc sentence is what an editor shows. Spans are lost
//! inside untagged, internally tagged and flattened types: none is used here.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{
    Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor, value::SeqAccessDeserializer,
};

mod health;

pub(super) use health::{Health, HealthOrOff};

/// What Portway forwards, route by route.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read section by section; this type is the root of the schema")]
pub(super) struct File {
    /// What Portway says about itself and about each connection.
    log: Option<Log>,
    /// Policy keys for all routes that do not set them.
    defaults: Option<Policy>,
    /// One route: where it listens, and where it leads.
    route: Vec<Route>,
}

/// `[log]`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    /// "off", "error", "warn", "info", "debug" or "trace", and by target: "info,portway::proxy=debug".
    #[schemars(extend("default" = "info", "examples" = ["info"]))]
    pub level: Option<Text>,
    /// The look of messages and of the access log.
    #[schemars(extend("default" = "text"))]
    pub format: Option<Format>,
    /// Where the access log goes, one line for each connection: "off", "stdout", "stderr" or a path.
    #[schemars(extend("default" = "stderr", "examples" = ["stderr"]))]
    pub access: Option<Text>,
}

/// One route: where it listens, and where it leads. Any policy key may stand here too.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    /// Unique; what logs and plans call the route. Without it: the first address of `listen`.
    #[schemars(extend("examples" = ["postgres"]))]
    pub name: Option<Text>,
    /// Where clients come in: "8080" (every interface, IPv4 and IPv6), "127.0.0.1:8080", "[::1]:8080",
    /// "0.0.0.0:7000-7009" or "unix:/path".
    #[schemars(required, extend("examples" = ["127.0.0.1:8080"]))]
    pub listen: Option<List>,
    /// Where they are led: "name:5432", "10.0.0.7:5432", "[::1]:5432", a range of as many ports as `listen` has, or
    /// "unix:/path"; or a table with such an `address`. Of several, `balance` chooses.
    #[schemars(required, extend("examples" = ["db.internal:5432"]))]
    pub upstream: Option<Upstreams>,
}

/// An upstream, and what it is to the others of its route.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    /// "name:5432", "10.0.0.7:5432", "[::1]:5432", a range of ports, or "unix:/path".
    #[schemars(required, extend("examples" = ["app-1.internal:3000"]))]
    pub address: Option<Text>,
    /// Its share beside the others: 1 to 1000.
    #[schemars(range(min = 1, max = 1000), extend("default" = 1, "examples" = [2]))]
    pub weight: Option<i64>,
    /// It is used only where no other can be had.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub backup: Option<bool>,
    /// How many connections it takes at once, from all routes together.
    #[schemars(range(min = 1, max = 4_294_967_295_u32), extend("examples" = [100]))]
    pub max_connections: Option<i64>,
}

/// The policy keys: of `[defaults]`, and of each route.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    /// The transport. This version forwards TCP only.
    #[schemars(extend("default" = "tcp"))]
    #[expect(dead_code, reason = "it has one value so far; serde refuses the others")]
    pub protocol: Option<Protocol>,
    /// How long one attempt at one address may take. At least "1ms".
    #[schemars(extend("default" = "5s", "examples" = ["5s"]))]
    pub connect_timeout: Option<Span>,
    /// Ends a connection on which no byte has moved in either direction for this long. At least "1ms".
    #[schemars(extend("default" = "off", "examples" = ["10m"]))]
    pub idle_timeout: Option<SpanOrOff>,
    /// Ends a connection that one side has half closed, when the other has sent no byte for this long. At least "1ms".
    #[schemars(extend("default" = "off", "examples" = ["1m"]))]
    pub half_close_timeout: Option<SpanOrOff>,
    /// TCP keepalive, both sides: the idle time before the first probe. Whole seconds, "1s" to "32767s".
    #[schemars(extend("default" = "60s", "examples" = ["60s"]))]
    pub keepalive: Option<SpanOrOff>,
    /// What becomes of the open connections of a route that an edit changes or removes: they go on ("keep"), have
    /// `drain_timeout` to end ("drain"), or are reset ("cut").
    #[schemars(extend("default" = "keep"))]
    pub on_change: Option<OnChange>,
    /// How long a drain waits for connections to end by themselves, before it resets them. "0s" does not wait.
    #[schemars(extend("default" = "30s", "examples" = ["30s"]))]
    pub drain_timeout: Option<Span>,
    /// How bytes are moved: the fastest way that fits ("auto"), through kernel pipes from the first byte ("splice"), or
    /// through a buffer of the connection ("copy").
    #[schemars(extend("default" = "auto"))]
    pub relay: Option<Relay>,
    /// Which of several upstreams has the next connection: each in turn by weight ("round-robin"), the one with the fewest
    /// connections for its weight ("least-connections"), the better of two that chance gives ("random-two"), always the
    /// same for one client address ("source-hash"), or the first that can be had ("first"). One that does not connect is
    /// passed over.
    #[schemars(extend("default" = "round-robin"))]
    pub balance: Option<Balance>,
    /// How long an upstream that came back has less than its share, growing from a tenth. At most "1h".
    #[schemars(extend("default" = "0s", "examples" = ["10s"]))]
    pub slow_start: Option<Span>,
    /// What becomes of the open connections of an upstream that went down: they go on ("keep"), or are reset ("cut").
    #[schemars(extend("default" = "keep"))]
    pub on_down: Option<OnDown>,
    /// What becomes of the open connections to an address that is no longer among those of its name: they go on ("keep"),
    /// have `drain_timeout` to end ("drain"), or are reset ("cut").
    #[schemars(extend("default" = "keep"))]
    pub on_vanish: Option<OnVanish>,
    /// How each upstream is checked; "off": only failed connects put an upstream down.
    #[schemars(extend("default" = "off"))]
    pub health: Option<HealthOrOff>,
    /// What becomes of a client when no upstream can be had: it is reset ("reset"), the listening socket is closed until
    /// one is back ("refuse"), or it waits ("hold 10s").
    #[schemars(extend("default" = "reset", "examples" = ["hold 10s"]))]
    pub when_down: Option<Text>,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident: $($word:ident)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        pub(super) enum $name { $($word,)* }
    };
}
words!(/** `format` */ Format: Text Json);
words!(/** `protocol` */ Protocol: Tcp);
words!(/** `on_change` */ OnChange: Keep Drain Cut);
words!(/** `relay` */ Relay: Auto Copy Splice);
words!(/** `balance` */ Balance: RoundRobin LeastConnections RandomTwo SourceHash First);
words!(/** `on_down` */ OnDown: Keep Cut);
words!(/** `on_vanish` */ OnVanish: Keep Drain Cut);

/// A text. Numbers and booleans are taken too: `compile` sees in the document that the quotes are missing, and says so.
#[derive(Clone, Debug)]
pub(super) struct Text(pub String);

/// A duration with its unit.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Span(pub Text);

/// A duration with its unit, or `"off"`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SpanOrOff(pub Text);

/// One text, or a list of them.
#[derive(Clone, Debug)]
pub(super) struct List(pub Vec<Text>);

/// One upstream, or a list of them.
#[derive(Clone, Debug)]
pub(super) struct Upstreams(pub Vec<MaybeText>);

/// A text, or a table: which of its keys are wrong is found in the document.
#[derive(Clone, Debug)]
pub(super) struct MaybeText(pub Option<Text>);

struct Scalar;

impl Visitor<'_> for Scalar {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_owned()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<Text, E> {
        Ok(Text(yes.to_string()))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(Scalar)
    }
}

struct Texts;

impl<'de> Visitor<'de> for Texts {
    type Value = List;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a list of texts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<List, E> {
        Scalar.visit_str(text).map(|text| List(vec![text]))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<List, E> {
        Scalar.visit_i64(number).map(|text| List(vec![text]))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<List, E> {
        Scalar.visit_f64(number).map(|text| List(vec![text]))
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<List, E> {
        Scalar.visit_bool(yes).map(|text| List(vec![text]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<List, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(items)).map(List)
    }
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(Texts)
    }
}

struct OneUpstream;

impl<'de> Visitor<'de> for OneUpstream {
    type Value = MaybeText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a table")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<MaybeText, E> {
        Scalar.visit_str(text).map(|text| MaybeText(Some(text)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<MaybeText, E> {
        Scalar.visit_i64(number).map(|text| MaybeText(Some(text)))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<MaybeText, E> {
        Scalar.visit_f64(number).map(|text| MaybeText(Some(text)))
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<MaybeText, E> {
        Scalar.visit_bool(yes).map(|text| MaybeText(Some(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<MaybeText, A::Error> {
        while table.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(MaybeText(None))
    }
}

impl<'de> Deserialize<'de> for MaybeText {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(OneUpstream)
    }
}

struct ManyUpstreams;

impl<'de> Visitor<'de> for ManyUpstreams {
    type Value = Upstreams;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a table or a list of them")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Upstreams, E> {
        OneUpstream.visit_str(text).map(|one| Upstreams(vec![one]))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Upstreams, E> {
        OneUpstream.visit_i64(number).map(|one| Upstreams(vec![one]))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Upstreams, E> {
        OneUpstream.visit_f64(number).map(|one| Upstreams(vec![one]))
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<Upstreams, E> {
        OneUpstream.visit_bool(yes).map(|one| Upstreams(vec![one]))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Upstreams, A::Error> {
        OneUpstream.visit_map(table).map(|one| Upstreams(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Upstreams, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(items)).map(Upstreams)
    }
}

impl<'de> Deserialize<'de> for Upstreams {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(ManyUpstreams)
    }
}

impl JsonSchema for Upstreams {
    fn schema_name() -> Cow<'static, str> {
        "Upstreams".into()
    }

    /// `schema::Section::Upstream` looks for the table at the second place.
    fn json_schema(types: &mut SchemaGenerator) -> Schema {
        let (text, table) = (types.subschema_for::<Text>(), types.subschema_for::<Upstream>());
        let list = json_schema!({ "type": "array", "items": { "anyOf": [text, table] }, "minItems": 1 });
        json_schema!({ "anyOf": [text, table, list] })
    }
}

impl JsonSchema for Text {
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

impl JsonSchema for List {
    fn schema_name() -> Cow<'static, str> {
        "List".into()
    }

    fn json_schema(texts: &mut SchemaGenerator) -> Schema {
        let text = texts.subschema_for::<Text>();
        json_schema!({ "anyOf": [text, { "type": "array", "items": text, "minItems": 1 }] })
    }
}

/// Numbers with their units, as `humantime` reads them.
macro_rules! span_pattern {
    ($start:literal) => {
        concat!(
            "^\\s*(",
            $start,
            "([0-9]+(\\.[0-9]+)?\\s*(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds|second|secs|sec|s|minutes|minute|mins|min|m",
            "|hours|hour|hrs|hr|h|days|day|d|weeks|week|wks|wk|w|months|month|M|years|year|yrs|yr|y)\\s*)+)\\s*$"
        )
    };
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": span_pattern!("") })
    }
}

impl JsonSchema for SpanOrOff {
    fn schema_name() -> Cow<'static, str> {
        "DurationOrOff".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": span_pattern!("off|") })
    }
}
