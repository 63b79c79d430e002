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

/// `POST /v1/reload`: the outcome, once the file was read, judged and carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// What became of the file.
    pub outcome: ReloadOutcome,
    /// The generation that runs now.
    pub generation: u64,
    /// What has changed, in one line; none: nothing has.
    pub changed: Option<String>,
    /// Every fault as a picture, if the file was refused.
    pub report: Option<String>,
}

/// `POST /v1/drain`: what to drain. It takes no new connections, and those that it has get time to end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// One route; none: the whole proxy, which then ends, as after SIGTERM.
    #[serde(default)]
    pub route: Option<String>,
}

/// A drain has begun. `GET /v1/routes` and `GET /v1/status` show its progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Draining {
    /// Connections that were open when it began.
    pub open: u64,
    /// How long they may take to end, in seconds; then they are reset.
    pub at_most: f64,
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
