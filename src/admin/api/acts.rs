//! The bodies and answers of the POST calls, and the body of an error answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Filter, ReloadOutcome};

/// `POST /v1/kill`: which connections to reset. At least one of the two fields must say something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// Connections to reset, by id.
    #[serde(default)]
    pub ids: Vec<u64>,
    /// Resets all connections that match the filter. An empty filter is a fault: nobody means all by saying nothing.
    #[serde(default)]
    pub filter: Option<Filter>,
}

/// The outcome of a kill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Killed {
    /// Connections that were reset.
    pub killed: u64,
    /// Ids that no open connection has.
    pub unknown: Vec<u64>,
}

/// `POST /v1/reload`: how. Without a body: as after any edit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReloadFile {
    /// Takes the file as it is, also where it was rolled back, and ends a probation.
    #[serde(default)]
    pub keep: bool,
}

/// `POST /v1/reload`: the outcome, once the file was read, judged and carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// What became of the file.
    pub outcome: ReloadOutcome,
    /// The generation that runs now.
    pub generation: u64,
    /// What has changed, in one line, also if other files were refused; none: nothing has.
    pub changed: Option<String>,
    /// Every fault as a picture, if a file was refused.
    pub report: Option<String>,
}

/// `POST /v1/drain`: what to drain: the proxy, a route or an upstream. It takes no new connections. Those of a route, and of
/// the proxy, get time to end; an upstream keeps those that it has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// One route; none: the whole proxy, which then ends, as after SIGTERM.
    #[serde(default)]
    pub route: Option<String>,
    /// One upstream of the route, as in the file; none: the route itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// After how long it ends by itself: "30m"; none: never.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<String>,
    /// Also if no other upstream of the route could take its place.
    #[serde(default)]
    pub force: bool,
}

/// `POST /v1/upgrade`: which program takes over. Its process reads the same file, gets every listening socket and what is open;
/// the old one ends once what could not move has ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// The path of the program, on a Unix socket only; none: the file that the running one was started from, as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
    /// Only find out whether it could take over.
    #[serde(default)]
    pub check: bool,
    /// Keep the process, which becomes the program: for supervisors that watch it. The first process of a container always
    /// stays.
    #[serde(default)]
    pub in_place: bool,
}

/// Another program has taken over, or could.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Upgraded {
    /// It only could: nothing has changed.
    pub checked: bool,
    /// Its process.
    pub pid: u32,
    /// That process only stands in, until the old one has become the same program.
    #[serde(default)]
    pub in_place: bool,
    /// Its version.
    pub build: String,
    /// The version of the old process.
    pub was: String,
    /// Connections that have moved to it.
    #[serde(default)]
    pub moved: u64,
    /// UDP sessions that have moved to it.
    #[serde(default)]
    pub moved_sessions: u64,
    /// Connections and sessions that end in the old process.
    pub draining: u64,
    /// Of these: connections with TLS.
    #[serde(default)]
    pub draining_tls: u64,
    /// Of these: UDP sessions.
    #[serde(default)]
    pub draining_sessions: u64,
    /// How long they have, in seconds.
    pub at_most: f64,
    /// The longest time for which clients have waited to be accepted, or a connection that moved stood still, in seconds.
    pub pause: f64,
}

/// `POST /v1/disable`: what to take out at once: a route or an upstream. Its connections are reset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Disable {
    /// The route.
    pub route: String,
    /// One upstream of the route, as in the file; none: the route itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// After how long it ends by itself: "30m"; none: never.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<String>,
    /// Also if no other upstream of the route could take its place.
    #[serde(default)]
    pub force: bool,
}

/// `POST /v1/enable`: what was done by hand to a route, or to one of its upstreams, is undone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Enable {
    /// The route.
    pub route: String,
    /// One upstream of the route, as in the file; none: the route itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
}

/// `POST /v1/weight`: another weight for an upstream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Weight {
    /// The route.
    pub route: String,
    /// The upstream, as in the file.
    pub upstream: String,
    /// Its share beside the others, from 0 to 1000. 0: it gets no new connections.
    pub weight: u32,
    /// After how long it ends by itself: "30m"; none: never.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<String>,
    /// Also if no other upstream of the route could take its place.
    #[serde(default)]
    pub force: bool,
}

/// What came of a deed by hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Steered {
    /// Whether anything is different now.
    pub changed: bool,
    /// Connections that it concerns: those that go on, or that were reset.
    pub open: u64,
}

/// What a person has done without the file. It stays over edits until it is undone, or over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ByHand {
    /// What: "drain", "disable" or "weight".
    pub act: String,
    /// With "weight": the weight.
    pub weight: Option<u32>,
    /// The user of the Unix socket, or the address that asked.
    pub by: String,
    /// When.
    pub at: String,
    /// After how many seconds from now it ends by itself; none: never.
    pub ends: Option<f64>,
}

/// A drain of a route, of an upstream or of the proxy has begun. `GET /v1/routes` and `GET /v1/status` show its progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Draining {
    /// Connections that were open when it began.
    pub open: u64,
    /// How long they may take to end, in seconds; then they are reset. None: they go on, for they are those of an upstream.
    pub at_most: Option<f64>,
}

/// The body of every error answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// What is wrong.
    pub error: String,
    /// What to do about it.
    pub help: String,
    /// All faults of a text, each as a picture. Several lines, for a fixed-width font.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
}

impl Problem {
    /// What is wrong, and what to do about it.
    pub fn new(error: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem { error: error.into(), help: help.into(), report: None }
    }
}
