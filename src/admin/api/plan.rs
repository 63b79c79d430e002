//! `POST /v1/plan`: what a text would change of what runs. Its body is the text of a file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a text would change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Whether anything would.
    pub changes: bool,
    /// The generation that it was compared with.
    pub generation: u64,
    /// Routes that would be added.
    pub added: Vec<PlannedRoute>,
    /// Routes that would be removed.
    pub removed: Vec<PlannedRoute>,
    /// Routes that would be changed.
    pub changed: Vec<PlannedRoute>,
    /// Keys of `[log]`, `[limits]` and `[admin]` that would change; secrets are not shown.
    pub settings: Vec<KeyChange>,
    /// What would be listened on anew, and whether it can be.
    pub listeners: Vec<ListenerProbe>,
    /// Addresses that would be listened on no more.
    pub closed: Vec<String>,
    /// What would be led to anew, and whether it answers.
    pub upstreams: Vec<UpstreamProbe>,
    /// Descriptors that it would need, beside those of the connections, and how many there may be.
    pub descriptors: DescriptorBudget,
}

/// What would become of one route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedRoute {
    /// Its name.
    pub name: String,
    /// Where it listens and would listen.
    pub listen: Vec<String>,
    /// Where it leads and would lead.
    pub upstream: Vec<String>,
    /// The keys that change; of a route that is added or removed none.
    pub keys: Vec<KeyChange>,
    /// Its open connections, which the edit touches.
    pub open: u64,
    /// What becomes of them: "keep", "drain" or "cut"; none of a route that is added.
    pub on_change: Option<String>,
    /// With "drain": how long they have, in seconds.
    pub drain_timeout: Option<f64>,
}

/// A key with another value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyChange {
    /// The key; of a section other than a route with its name: "log.level".
    pub key: String,
    /// What it is now.
    pub from: String,
    /// What it would be.
    pub to: String,
}

/// Whether an address could be listened on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListenerProbe {
    /// "tcp" or "udp".
    pub protocol: String,
    /// The address.
    pub address: String,
    /// Why not; none: it could.
    pub error: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
}

/// Whether an upstream answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamProbe {
    /// The route that would lead there.
    pub route: String,
    /// The address as in the file.
    pub upstream: String,
    /// What its name stands for.
    pub addresses: Vec<String>,
    /// What became of the probe.
    pub result: ProbeResult,
    /// Why it failed.
    pub error: Option<String>,
    /// How long it took, in seconds.
    pub took: Option<f64>,
}

/// What a probe has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeResult {
    /// It takes connections.
    Connects,
    /// Its name resolves; by UDP nothing more can be known.
    Resolves,
    /// Its name does not resolve.
    Unresolved,
    /// It does not take a connection.
    Refuses,
    /// It was not tried: there are too many.
    NotTried,
}

/// Descriptors against their limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DescriptorBudget {
    /// For listeners and Portway itself, before the first connection.
    pub needed: u64,
    /// The limit of the process.
    pub limit: u64,
    /// Connections that would fit beside.
    pub connections: u64,
    /// UDP sessions that would.
    pub sessions: u64,
}
