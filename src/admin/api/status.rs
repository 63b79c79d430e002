//! `GET /v1/status`: the proxy as a whole.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The running proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Portway's version.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// What it does.
    pub phase: Phase,
    /// When it was started.
    pub started: String,
    /// How long it has been running, in seconds.
    pub uptime: f64,
    /// How many times what runs has changed: 1 since the start.
    pub generation: u64,
    /// When it last changed.
    pub generation_since: String,
    /// The file of its routes; none: they were given on the command line.
    pub file: Option<String>,
    /// What became of the edits of that file.
    pub reload: Reload,
    /// Why the file is not what runs; none: it is.
    pub pending: Option<Pending>,
    /// How many routes it has, by their state.
    pub routes: RouteCounts,
    /// How many sockets it listens on, TCP and UDP.
    pub listeners: u64,
    /// What went through all routes since the start, those that are no more included.
    pub traffic: Traffic,
    /// Clients that were turned away before anything was read of them, on the routes that are.
    pub turned_away: u64,
    /// What is used of what there is.
    pub limits: Limits,
    /// Lines of the logs that could not be written.
    pub log_lines_lost: u64,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It serves.
    Running,
    /// It was told to stop: no new connections, and time for those that are open.
    Draining,
}

/// What became of the edits of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reload {
    /// When the file was last judged, or read for the start.
    pub at: String,
    /// How long ago that was, in seconds.
    pub age: f64,
    /// What became of it.
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
    /// There was none since the start.
    Started,
    /// It runs.
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
    /// Since when.
    pub since: String,
    /// The first fault in one line.
    pub headline: String,
    /// All of them, each as a picture with its place and its cure. Several lines, for a fixed-width font.
    pub report: String,
    /// How many they are.
    pub faults: u64,
}

/// Routes by their state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteCounts {
    /// All that are in force.
    pub all: u64,
    /// Every upstream can be had.
    pub up: u64,
    /// Some cannot.
    pub degraded: u64,
    /// None can.
    pub down: u64,
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
    /// Bytes that were sent to upstreams, those of open connections included.
    pub bytes_up: u64,
    /// Bytes that were sent to clients, those of open connections included.
    pub bytes_down: u64,
}

/// What is used of what there is.
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
    /// So much is used now.
    pub used: u64,
    /// So much there may be.
    pub most: u64,
}
