//! The file as it is typed. These types promise only that: what a value means is decided in `compile`.
//!
//! They are also the source of the JSON Schema, so each field's doc sentence is what an editor shows. Spans are lost
//! inside untagged, internally tagged and flattened types: none is used here.

mod admin;
mod clients;
mod health;
mod tls;
mod values;

use schemars::JsonSchema;
use serde::Deserialize;

pub(super) use admin::Admin;
pub(super) use clients::{Bandwidth, Clients, CountOrOff, Limits, ListFile, Off, OrTable, ProxyProtocol};
pub(super) use health::{Health, HealthOrOff};
pub(super) use tls::{Tls, UpstreamTls, Whether};
pub(super) use values::*;

/// What Portway forwards, route by route.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read section by section; this type is the root of the schema")]
pub(super) struct File {
    /// What Portway says about itself and about each connection.
    log: Option<Log>,
    /// What all routes share.
    limits: Option<Limits>,
    /// Where a running proxy can be looked at, and told what to do. Without it: nowhere.
    admin: Option<Admin>,
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
    /// Unique; what logs and plans call the route. Without it: the first address of `listen`, of UDP with
    /// "/udp" after it.
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
    /// TLS server names that the route serves: "app.example.com", "*.example.com". Routes may then share an address; one
    /// without `sni` and `alpn` takes the rest, as "*" says.
    #[schemars(extend("default" = "*", "examples" = ["app.example.com"]))]
    pub sni: Option<List>,
    /// Protocols above TLS that the route serves: as `sni`. Both given: both must fit.
    #[schemars(extend("default" = "*", "examples" = ["h2"]))]
    pub alpn: Option<List>,
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
    /// What is forwarded: connections ("tcp"), or datagrams in sessions ("udp").
    #[schemars(extend("default" = "tcp"))]
    pub protocol: Option<Protocol>,
    /// How long one attempt at one address may take. At least "1ms".
    #[schemars(extend("default" = "5s", "examples" = ["5s"]))]
    pub connect_timeout: Option<Span>,
    /// Ends a connection on which no byte has moved in either direction for this long, or a UDP session without a
    /// datagram. At least "1ms". Of UDP the default is "60s", and "off" is not to be had.
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
    /// UDP: how many sessions the route has at once; without it, as many as the descriptors allow.
    #[schemars(range(min = 1, max = 4_294_967_295_u32), extend("examples" = [10_000]))]
    pub max_sessions: Option<i64>,
    /// UDP: after so many answers a session ends. 1 for DNS.
    #[schemars(range(min = 1, max = 4_294_967_295_u32), extend("examples" = [1]))]
    pub max_replies: Option<i64>,
}
