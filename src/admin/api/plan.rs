//! `POST /v1/plan`: what a text would change in what runs. The body is the text of a file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a text would change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Whether it would change anything.
    pub changes: bool,
    /// The generation that it was compared with.
    pub generation: u64,
    /// Routes that would be added.
    pub added: Vec<PlannedRoute>,
    /// Routes that would be removed.
    pub removed: Vec<PlannedRoute>,
    /// Routes that would be changed.
    pub changed: Vec<PlannedRoute>,
    /// Keys of `[process]`, `[log]`, `[limits]` and `[admin]` that would change (secrets are not shown), which routes have
    /// `enabled = false`, and modes and groups of Unix sockets.
    pub settings: Vec<KeyChange>,
    /// Addresses that would be opened, and whether they can be.
    pub listeners: Vec<ListenerProbe>,
    /// Addresses that would be closed.
    pub closed: Vec<String>,
    /// Files and Unix sockets that a posted text names and the running one does not. Whoever posts it over TCP learns
    /// nothing of them.
    pub not_tried: Vec<String>,
    /// Upstreams that would be new, and whether they answer.
    pub upstreams: Vec<UpstreamProbe>,
    /// Descriptors that it would need, without those of connections, and how many there may be.
    pub descriptors: DescriptorBudget,
}

/// What would become of one route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedRoute {
    /// Its name.
    pub name: String,
    /// The included file that it stands in; none: the file itself.
    #[serde(default)]
    pub file: Option<String>,
    /// Where it would listen; for a removed route, where it listens.
    pub listen: Vec<String>,
    /// Its upstreams, as they would be; for a removed route, as they are.
    pub upstream: Vec<String>,
    /// The keys that change; empty for a route that is added or removed.
    pub keys: Vec<KeyChange>,
    /// The rules of the firewall that it would need (nftables), where one socket has a range of ports.
    #[serde(default)]
    pub rules: Vec<String>,
    /// How many of its open connections the edit concerns.
    pub open: u64,
    /// The first hundred of them.
    #[serde(default)]
    pub concerned: Vec<ConcernedConnection>,
    /// What becomes of them: "keep", "drain" or "cut"; none for a route that is added.
    pub on_change: Option<String>,
    /// With "drain": how long they have, in seconds.
    pub drain_timeout: Option<f64>,
}

/// An open connection that an edit concerns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConcernedConnection {
    /// Its id.
    pub id: u64,
    /// "tcp" or "udp".
    pub protocol: String,
    /// The client's address.
    pub client: String,
    /// The listener that accepted it.
    pub listener: String,
    /// Its upstream, as in the file; none: it is not connected yet.
    pub upstream: Option<String>,
}

/// A key whose value changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyChange {
    /// The key; outside of routes it begins with its section, or names its socket: "log.level", "mode of unix:/run/app.sock".
    pub key: String,
    /// Its value now.
    pub from: String,
    /// Its value after the change.
    pub to: String,
}

/// Whether an address could be listened on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListenerProbe {
    /// "tcp" or "udp".
    pub protocol: String,
    /// The address that was tried.
    pub address: String,
    /// Why not; none: it could.
    pub error: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
}

/// Whether an upstream answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamProbe {
    /// The route that would use it.
    pub route: String,
    /// Its address, as in the file.
    pub upstream: String,
    /// The addresses that it stands for.
    pub addresses: Vec<String>,
    /// The outcome of the probe.
    pub result: ProbeResult,
    /// Why it failed.
    pub error: Option<String>,
    /// How long the probe took, in seconds; none: it was not tried.
    pub took: Option<f64>,
}

/// What a probe has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeResult {
    /// It accepts connections.
    Connects,
    /// Its name resolves; over UDP nothing more can be known.
    Resolves,
    /// Its name does not resolve.
    Unresolved,
    /// It does not accept a connection.
    Refuses,
    /// It accepts connections, and fails the check of its route.
    FailsCheck,
    /// It was not tried: there are too many.
    NotTried,
}

/// Descriptors against their limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DescriptorBudget {
    /// Needed for listeners and Portway itself, before the first connection.
    pub needed: u64,
    /// The limit of the process.
    pub limit: u64,
    /// Connections that would fit into the rest.
    pub connections: u64,
    /// UDP sessions that would fit into the rest.
    pub sessions: u64,
}
