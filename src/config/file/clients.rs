//! The policy keys of the client's side, as they are typed.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::tls::Tls;
use super::{HeaderOn, List, ProxyVersion, Scalar, Span, Text, Texts, Untrusted, WhenFull};

/// The client's side: of `[defaults]`, and of each route.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Clients {
    /// Which networks may come in: one, a list, or { file = "path" } with one a line. "all": every one.
    #[schemars(extend("default" = "all", "examples" = [["10.0.0.0/8", "2001:db8::/32"]]))]
    pub allow: Option<OrTable<List, ListFile>>,
    /// Which may not, even if they are allowed: as `allow`. "none": no one is kept out.
    #[schemars(extend("default" = "none", "examples" = [["192.0.2.0/24"]]))]
    pub deny: Option<OrTable<List, ListFile>>,
    /// How many connections the route has at once: a number, or "off".
    #[schemars(extend("default" = "off", "examples" = [1000]))]
    pub max_connections: Option<CountOrOff>,
    /// What becomes of a client that is one too many for the route: it is reset, or waits in the kernel's queue.
    #[schemars(extend("default" = "reset"))]
    pub when_full: Option<WhenFull>,
    /// How many connections one client has at once, by its IPv4 address or its IPv6 /64: a number, or "off".
    #[schemars(extend("default" = "off", "examples" = [20]))]
    pub max_connections_per_client: Option<CountOrOff>,
    /// How fast the connections of one client may come: "20/s", "100/m", "20/s burst 50", or "off".
    #[schemars(extend("default" = "off", "examples" = ["20/s"]))]
    pub rate_per_client: Option<Text>,
    /// What one connection may move in each direction: "10 MiB/s", { up = "1 MiB/s", down = "10 MiB/s" }, or "off".
    #[schemars(extend("default" = "off", "examples" = ["10 MiB/s"]))]
    pub bandwidth: Option<OrTable<Text, Bandwidth>>,
    /// The PROXY protocol: { accept = true, trusted = ["10.0.0.0/8"] } reads it, { send = "v2" } sends it; or "off".
    #[schemars(extend("default" = "off", "examples" = [{ "send": "v2" }]))]
    pub proxy_protocol: Option<OrTable<Off, ProxyProtocol>>,
    /// TLS: { cert = "app.pem", key = "app.key" } ends it here, { upstream = true } begins it here; or "off".
    #[schemars(extend("default" = "off", "examples" = [{ "cert": "app.pem", "key": "app.key" }]))]
    pub tls: Option<OrTable<Off, Tls>>,
    /// How long a client may take to begin TLS, at an address whose routes have `sni` or `alpn`: then it is led to the
    /// route without. And how long its handshake may take, where TLS ends here: then it is reset. At least "1ms".
    #[schemars(extend("default" = "5s", "examples" = ["5s"]))]
    pub sniff_timeout: Option<Span>,
}

/// `proxy_protocol`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ProxyProtocol {
    /// Whether clients of `trusted` must begin with a header. The client's address in it is the one that counts.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub accept: Option<bool>,
    /// Whose header is believed: networks, or "unix:" for whoever comes through a Unix socket of the route.
    #[schemars(extend("examples" = [["10.0.0.0/8"]]))]
    pub trusted: Option<List>,
    /// What becomes of a client that is not in `trusted`: it is reset, or served as one without a header.
    #[schemars(extend("default" = "refuse"))]
    pub untrusted: Option<Untrusted>,
    /// How long the whole header may take. At least "1ms".
    #[schemars(extend("default" = "5s", "examples" = ["5s"]))]
    pub timeout: Option<Span>,
    /// The version that is sent to the upstream. UDP has "v2" only.
    pub send: Option<ProxyVersion>,
    /// Of a udp route: which datagrams of a session begin with the header, each or the first.
    #[schemars(extend("default" = "each"))]
    pub datagrams: Option<HeaderOn>,
}

/// "off".
#[derive(Clone, Debug)]
pub(in crate::config) struct Off(pub Text);

impl JsonSchema for Off {
    fn schema_name() -> Cow<'static, str> {
        "Off".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["off"] })
    }
}

impl Typed for Off {
    fn one(text: Text) -> Self {
        Off(text)
    }

    fn many<'de, A: SeqAccess<'de>>(_: A) -> Result<Self, A::Error> {
        Err(A::Error::custom("a list"))
    }
}

/// `bandwidth` by direction.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Bandwidth {
    /// From the client to the upstream: "10 MiB/s", or "off".
    #[schemars(extend("default" = "off", "examples" = ["1 MiB/s"]))]
    pub up: Option<Text>,
    /// From the upstream to the client: "10 MiB/s", or "off".
    #[schemars(extend("default" = "off", "examples" = ["10 MiB/s"]))]
    pub down: Option<Text>,
}

/// `[limits]`: what all routes share.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Limits {
    /// How many connections all routes have at once: a number, or "off". More wait in the kernel's queues.
    #[schemars(extend("default" = "off", "examples" = [10_000]))]
    pub max_connections: Option<CountOrOff>,
}

/// A number from 1, or "off".
#[derive(Clone, Debug, Deserialize)]
pub(in crate::config) struct CountOrOff(pub Text);

impl JsonSchema for CountOrOff {
    fn schema_name() -> Cow<'static, str> {
        "CountOrOff".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let number = json_schema!({ "type": "integer", "minimum": 1, "maximum": u32::MAX });
        json_schema!({ "anyOf": [number, { "enum": ["off"] }] })
    }
}

/// A list in a file of its own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ListFile {
    /// Its path: absolute, or from the folder of this file. One network a line; `#` begins a comment. It is watched.
    #[schemars(required, extend("examples" = ["/etc/portway/networks.txt"]))]
    pub file: Option<Text>,
}

/// A value `V`, or a table `T`: which of the table's keys are wrong is found in the document.
#[derive(Clone, Debug)]
pub(in crate::config) enum OrTable<V, T> {
    Value(V),
    Table(PhantomData<T>),
}

struct Either<V, T>(PhantomData<(V, T)>);

impl<'de, V: Typed, T> Visitor<'de> for Either<V, T> {
    type Value = OrTable<V, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a table")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Scalar.visit_str(text).map(|text| OrTable::Value(V::one(text)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Scalar.visit_i64(number).map(|text| OrTable::Value(V::one(text)))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Scalar.visit_f64(number).map(|text| OrTable::Value(V::one(text)))
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<Self::Value, E> {
        Scalar.visit_bool(yes).map(|text| OrTable::Value(V::one(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        V::many(items).map(OrTable::Value)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Self::Value, A::Error> {
        while table.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(OrTable::Table(PhantomData))
    }
}

/// What may stand where a table may stand too.
pub(in crate::config) trait Typed: Sized {
    /// Of one value.
    fn one(text: Text) -> Self;
    /// Of a list.
    fn many<'de, A: SeqAccess<'de>>(items: A) -> Result<Self, A::Error>;
}

impl Typed for List {
    fn one(text: Text) -> Self {
        List(vec![text])
    }

    fn many<'de, A: SeqAccess<'de>>(items: A) -> Result<Self, A::Error> {
        Texts.visit_seq(items)
    }
}

impl Typed for Text {
    fn one(text: Text) -> Self {
        text
    }

    fn many<'de, A: SeqAccess<'de>>(_: A) -> Result<Self, A::Error> {
        Err(A::Error::custom("a list"))
    }
}

impl<'de, V: Typed, T> Deserialize<'de> for OrTable<V, T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(Either(PhantomData))
    }
}

impl<V: JsonSchema, T: JsonSchema> JsonSchema for OrTable<V, T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}Or{}", V::schema_name(), T::schema_name()).into()
    }

    /// `schema::Section` looks for the table at the second place.
    fn json_schema(types: &mut SchemaGenerator) -> Schema {
        let (value, table) = (types.subschema_for::<V>(), types.subschema_for::<T>());
        json_schema!({ "anyOf": [value, table] })
    }
}
