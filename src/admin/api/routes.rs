//! `GET /v1/routes` and `GET /v1/upstreams`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByHand, SteeredByHand, Traffic};

/// Every route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Routes {
    /// The generation that was read.
    pub generation: u64,
    /// By name. Routes with `enabled = false` follow, and removed ones, as long as they have open connections.
    pub routes: Vec<Route>,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// The included file that it stands in; none: the file itself.
    #[serde(default)]
    pub file: Option<String>,
    /// "tcp", "udp" or "tcp+udp".
    pub protocol: String,
    /// Where it listens, as in the file.
    pub listen: Vec<String>,
    /// Its upstreams, as in the file.
    pub upstream: Vec<String>,
    /// Whether it listens, and its upstreams are available.
    pub state: RouteState,
    /// Why it is not up: what is known about the first address at which it cannot listen, or upstream that is not available.
    pub reason: Option<String>,
    /// What is known about the others that are not.
    #[serde(default)]
    pub more_reasons: Vec<String>,
    /// What was done to it by hand.
    pub by_hand: Option<ByHand>,
    /// What was done by hand to upstreams of it.
    #[serde(default)]
    pub steered: Vec<SteeredByHand>,
    /// Its connections and bytes.
    pub traffic: Traffic,
    /// How its connections have ended, by the label of the access log. Labels that never occurred are left out.
    #[schemars(schema_with = "super::words::outcomes")]
    pub outcomes: BTreeMap<String, u64>,
    /// Clients that were turned away, by the key of the file that says so: before anything was read from them, or (`sni, alpn`, at
    /// the first route of the address) because no route serves what they ask for.
    pub turned_away: BTreeMap<String, u64>,
    /// Open connections that still follow an earlier text of the route, after an edit.
    pub retired: u64,
    /// UDP: datagrams that could not be passed on, by reason. Reasons that never occurred are left out.
    pub dropped: BTreeMap<String, u64>,
}

/// Whether a route listens, and its upstreams are available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RouteState {
    /// All of them.
    Up,
    /// Some of them.
    Degraded,
    /// None of them.
    Down,
    /// An edit or a drain has removed it; its last connections are ending.
    Removed,
    /// It has `enabled = false`, or was disabled by hand: nothing serves it.
    Disabled,
    /// It was taken out by hand: it takes no new connections, and its last ones are ending.
    Drained,
}

/// Every upstream of every route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Upstreams {
    /// The generation that was read.
    pub generation: u64,
    /// By route, in the order of the file.
    pub upstreams: Vec<Upstream>,
}

/// One entry of a route's `upstream`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Upstream {
    /// The route that uses it.
    pub route: String,
    /// Its address, as in the file.
    pub upstream: String,
    /// Its share, relative to the others, as in the file.
    pub weight: u32,
    /// It is used only if no other is available.
    pub backup: bool,
    /// The most connections at once, from all routes together; none: no limit.
    pub max_connections: Option<u32>,
    /// From where it is connected to, by its own `source` or that of the route; none: as the system says.
    #[serde(default)]
    pub source: Option<String>,
    /// Whether it is available.
    pub state: UpstreamState,
    /// Why it is not up.
    pub reason: Option<String>,
    /// What was done to it by hand.
    #[serde(default)]
    pub by_hand: Vec<ByHand>,
    /// The addresses that it stands for now; for a long range of ports only the first.
    pub addresses: Vec<Address>,
    /// How many addresses the list leaves out.
    pub more_addresses: u64,
    /// How many of all its addresses are available.
    pub addresses_up: u64,
    /// The connections and bytes of this route to it.
    pub traffic: Traffic,
    /// Attempts of this route to connect to it that failed.
    pub failed: u64,
}

/// Whether an upstream is available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamState {
    /// Every address is available.
    Up,
    /// Some of its addresses are not available.
    Degraded,
    /// No address is available.
    Down,
    /// Its name has no address.
    Unresolved,
    /// It gets no new connections, by hand or by the file, and keeps those that it has.
    Drained,
    /// It was disabled by hand, and has no connections.
    Disabled,
}

/// One address of an upstream, with all that is known about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Address {
    /// The address that is dialled.
    pub address: String,
    /// Whether it is available.
    pub up: bool,
    /// Why it is not available; none: it is, or the reason is not known.
    pub reason: Option<String>,
    /// For how long that has been so, in seconds; none: since the start, or it is not known.
    pub since: Option<f64>,
    /// Its connections, from all routes together, those that are being made included.
    pub load: u32,
    /// How often failed connects have put it down.
    pub downs: u64,
    /// Its check; none: the route has none.
    pub check: Option<Check>,
}

/// What the checks of an address have found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Whether they consider it up. One check does not change that, but `needed` in a row.
    pub up: bool,
    /// How often they have put it down.
    pub downs: u64,
    /// How long ago the last one ended, in seconds; none: none has ended yet.
    pub last: Option<f64>,
    /// How long the last one took, in seconds.
    pub took: Option<f64>,
    /// Whether the last one passed; none: none has ended yet.
    #[serde(default)]
    pub last_ok: Option<bool>,
    /// Why the last one failed; none: it passed.
    pub reason: Option<String>,
    /// How many in a row contradict `up`.
    #[serde(default)]
    pub against: u64,
    /// How many in a row change `up`: `fall` while it is up, `rise` while it is down.
    #[serde(default)]
    pub needed: u64,
}
