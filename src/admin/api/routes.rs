//! `GET /v1/routes` and `GET /v1/upstreams`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Traffic;

/// Every route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Routes {
    /// The generation that was read.
    pub generation: u64,
    /// By name. Routes that an edit has removed follow as long as they have open connections.
    pub routes: Vec<Route>,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// "tcp" or "udp".
    pub protocol: String,
    /// Where it listens, as in the file.
    pub listen: Vec<String>,
    /// Where it leads, as in the file.
    pub upstream: Vec<String>,
    /// Whether its upstreams can be had.
    pub state: RouteState,
    /// Why it is not up: what is known of the first upstream that cannot be had.
    pub reason: Option<String>,
    /// What went through it.
    pub traffic: Traffic,
    /// How its connections have ended: by the label of the access log. Labels that never came are left out.
    pub outcomes: BTreeMap<String, u64>,
    /// Clients that were turned away before anything was read of them: by the key of the file that says so.
    pub turned_away: BTreeMap<String, u64>,
    /// Open connections that an edit has left on an earlier text of the route.
    pub retired: u64,
    /// UDP: datagrams that could not be passed on, by reason. Reasons that never came are left out.
    pub dropped: BTreeMap<String, u64>,
}

/// Whether a route's upstreams can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RouteState {
    /// All of them.
    Up,
    /// Some of them.
    Degraded,
    /// None of them.
    Down,
    /// An edit or a drain has removed it; its last connections end.
    Removed,
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
    /// The route that leads there.
    pub route: String,
    /// Its address as in the file.
    pub upstream: String,
    /// Its share beside the others.
    pub weight: u32,
    /// It is used only where no other can be had.
    pub backup: bool,
    /// No more connections at once, from all routes together.
    pub max_connections: Option<u32>,
    /// Whether it can be had.
    pub state: UpstreamState,
    /// Why it is not up.
    pub reason: Option<String>,
    /// The addresses that it stands for now; of a long range of ports only the first.
    pub addresses: Vec<Address>,
    /// Addresses that are left out of the list.
    pub more_addresses: u64,
    /// How many of all its addresses can be had.
    pub addresses_up: u64,
    /// What this route has sent there.
    pub traffic: Traffic,
    /// Attempts of this route at it that did not become a connection.
    pub failed: u64,
}

/// Whether an upstream can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamState {
    /// Every address can.
    Up,
    /// Some addresses of its name cannot.
    Degraded,
    /// No address can.
    Down,
    /// Its name has no address.
    Unresolved,
}

/// One address of an upstream, with all that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Address {
    /// What is dialled.
    pub address: String,
    /// Whether it can be had.
    pub up: bool,
    /// Why it cannot.
    pub reason: Option<String>,
    /// Connections that it has, from all routes together; those that are being made included.
    pub load: u32,
    /// How often failed connects have put it down.
    pub downs: u64,
    /// Its check, where the route has one.
    pub check: Option<Check>,
}

/// What the checks of an address have found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Whether they hold it for up.
    pub up: bool,
    /// How often they have put it down.
    pub downs: u64,
    /// How long ago the last one ended, in seconds; none: there was none yet.
    pub last: Option<f64>,
    /// How long the last one took, in seconds.
    pub took: Option<f64>,
    /// Why the last one failed; none: it passed.
    pub reason: Option<String>,
}
