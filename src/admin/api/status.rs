//! `GET /v1/status`: the proxy as a whole.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// How many sockets it listens on, TCP and UDP.
    pub listeners: u64,
    /// Connections and bytes of all routes since the start, removed ones included.
    pub traffic: Traffic,
    /// Clients that were turned away before anything was read from them, on the routes of `GET /v1/routes`.
    pub turned_away: u64,
    /// How much of each limit is used.
    pub limits: Limits,
    /// Log lines that could not be written.
    pub log_lines_lost: u64,
}

/// What the process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It serves.
    Running,
    /// It is stopping: no new connections, and time for the open ones to end.
    Draining,
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
    /// The file was replaced outside of a mount that holds it alone: edits do not arrive (mount its folder).
    pub stale: bool,
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
    /// UDP sessions.
    pub sessions: Use,
    /// Kernel pipes through which bulk data moves.
    pub pipes: Use,
}

/// How much of something is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Use {
    /// How much is used now.
    pub used: u64,
    /// How much there may be at most.
    pub most: u64,
}
