//! `GET /v1/status`: the proxy as a whole.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ByHand;

/// The running proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Portway's version.
    pub version: String,
    /// The id of the process.
    pub pid: u32,
    /// Whether it serves or drains.
    pub phase: Phase,
    /// When it was started.
    pub started: String,
    /// How long it has been running, in seconds.
    pub uptime: f64,
    /// How many times what runs has changed: 1 after the start.
    pub generation: u64,
    /// When it last changed.
    pub generation_since: String,
    /// The file of its routes; none: they were given on the command line.
    pub file: Option<String>,
    /// The store that the file comes from; none: it comes from none.
    #[serde(default)]
    pub source: Option<Source>,
    /// What became of the edits of that file.
    pub reload: Reload,
    /// Why the file is not what runs; none: it is.
    pub pending: Option<Pending>,
    /// The files that it names (certificates, keys, lists) and that are not in force as they are on disk.
    pub pending_files: Vec<PendingFile>,
    /// What needs somebody's care before long, such as a certificate that ends.
    pub warnings: Vec<Warning>,
    /// How many routes it has, by their state.
    pub routes: RouteCounts,
    /// All that was done by hand.
    #[serde(default)]
    pub by_hand: Vec<SteeredByHand>,
    /// How many sockets it listens on, TCP and UDP.
    pub listeners: u64,
    /// Connections and bytes of all routes since the start, removed ones included.
    pub traffic: Traffic,
    /// Clients that were turned away, on the routes of `GET /v1/routes`.
    pub turned_away: u64,
    /// How much of each limit is used.
    pub limits: Limits,
    /// Log lines that could not be written.
    pub log_lines_lost: u64,
    /// The process that this one has taken over from; none: there is none, or nothing is open there any more.
    #[serde(default)]
    pub old_process: Option<OldProcess>,
}

/// A process that another one has taken over from. What could not move ends there: it has the `drain_timeout` of its route.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OldProcess {
    /// The id of the process.
    pub pid: u32,
    /// Connections and sessions that are open there. `traffic` has them too.
    pub open: u64,
    /// For how long they have at most, in seconds: what is open then is reset, and the process ends; none: it did not say.
    #[serde(default)]
    pub at_most: Option<f64>,
}

/// What the process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It serves.
    Running,
    /// It is stopping: no new connections after `drain_delay`, and time for the open ones to end.
    Draining,
}

/// A store that the file comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// Its URL.
    pub url: String,
    /// For how long the store has not said that the file is as it has it, in seconds; none: never yet, and there was no file.
    pub age: Option<f64>,
    /// The serial of the file's signature; none: it has none.
    pub serial: Option<u64>,
    /// The serial of the store's signature; none: none is asked for, or none was read.
    pub offered_serial: Option<u64>,
    /// Which share of the nodes takes that, in percent.
    pub offered_stage: Option<f64>,
    /// Why the store cannot be asked; none: it answers.
    pub away: Option<SourceTrouble>,
    /// Why this node does not take what the store has; none: it does.
    pub refused: Option<SourceTrouble>,
}

/// What is wrong with a store, or with its text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SourceTrouble {
    /// For how long it has been so, in seconds.
    pub age: f64,
    /// What it is.
    pub why: String,
}

/// What became of the edits of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reload {
    /// When the file was last judged, or read at the start.
    pub at: String,
    /// How long ago that was, in seconds.
    pub age: f64,
    /// What became of it then.
    pub outcome: ReloadOutcome,
    /// Edits that were carried out since the start.
    pub succeeded: u64,
    /// Edits that were refused since the start.
    pub refused: u64,
    /// Edits that were carried out, made things worse, and were rolled back since the start.
    #[serde(default)]
    pub rolled_back: u64,
    /// The file was replaced outside of a mount that holds it alone: edits do not arrive (mount its folder).
    pub stale: bool,
    /// For how long the last edits are still on probation, in seconds; none: none is.
    #[serde(default)]
    pub probation: Option<f64>,
}

/// What became of an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReloadOutcome {
    /// There was no edit since the start.
    Started,
    /// It was carried out.
    Reloaded,
    /// The file says what runs already.
    Unchanged,
    /// It was refused: see the pending fault.
    Refused,
    /// It was carried out, made things worse on probation, and was undone: see the pending fault.
    RolledBack,
    /// There is no file to read.
    NoFile,
}

/// Why the file is not what runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pending {
    /// When the first fault was found.
    pub since: String,
    /// The first fault in one line.
    pub headline: String,
    /// All faults, each as a picture with its place and its cure. Several lines, for a fixed-width font.
    pub report: String,
    /// How many faults there are.
    pub faults: u64,
}

/// Why a file is not in force as it is on disk: what it had before is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PendingFile {
    /// Its path.
    pub file: String,
    /// What is wrong.
    pub pending: Pending,
}

/// A route, or an upstream of it, that was steered by hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SteeredByHand {
    /// The route.
    pub route: String,
    /// The upstream, as in the file; none: the route itself.
    pub upstream: Option<String>,
    /// What was done.
    pub deed: ByHand,
}

/// What needs somebody's care before long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// The file that it is about.
    pub file: String,
    /// What is the matter.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// Routes by their state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteCounts {
    /// All routes in force.
    pub all: u64,
    /// Routes whose upstreams are all available.
    pub up: u64,
    /// Routes of which some upstream is not available.
    pub degraded: u64,
    /// Routes without an available upstream.
    pub down: u64,
    /// Routes with `enabled = false`, which are not in force.
    pub disabled: u64,
}

/// What went through a route, an upstream or the proxy. Connections of a UDP route are its sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Traffic {
    /// Connections that are open now.
    pub open: u64,
    /// Connections that were opened.
    pub opened: u64,
    /// Connections that have ended.
    pub closed: u64,
    /// Bytes sent to upstreams, those of open connections included.
    pub bytes_up: u64,
    /// Bytes sent to clients, those of open connections included.
    pub bytes_down: u64,
}

/// The limits of the process, and how much of each is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Open descriptors of the process.
    pub descriptors: Use,
    /// Connections: as many as the descriptors allow, and no more than `[limits] max_connections`.
    pub connections: Use,
    /// Those of them that are read before they have an upstream (PROXY header, TLS hello, handshake): a quarter at most.
    pub preread: Use,
    /// The memory of those, in bytes: at most `[limits] preread_memory`.
    pub preread_memory: Use,
    /// UDP sessions.
    pub sessions: Use,
    /// Kernel pipes through which bulk data moves.
    pub pipes: Use,
    /// Memory.
    pub memory: Memory,
}

/// Memory in bytes, without what the kernel would give back: of the control group that has the bound, or of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Memory {
    /// How much is used now.
    pub used: u64,
    /// How much there may be, by `[limits] memory`. `null`: there is no bound.
    pub most: Option<u64>,
}

/// How much of something is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Use {
    /// How much is used now.
    pub used: u64,
    /// How much there may be at most.
    pub most: u64,
}
