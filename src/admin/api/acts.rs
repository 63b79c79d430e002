//! What the endpoint is told to do, and what came of it; and how it says that it cannot.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Filter, ReloadOutcome};

/// `POST /v1/kill`: which connections are to be reset. At least one of the two must say something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// These.
    #[serde(default)]
    pub ids: Vec<u64>,
    /// All that the filter leaves. An empty filter is a fault: nobody means all by saying nothing.
    #[serde(default)]
    pub filter: Option<Filter>,
}

/// What came of a kill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Killed {
    /// Connections that were reset.
    pub killed: u64,
    /// Ids that no open connection has.
    pub unknown: Vec<u64>,
}

/// `POST /v1/reload`: what became of the file, once it was read, judged and carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// What became of it.
    pub outcome: ReloadOutcome,
    /// The generation that runs now.
    pub generation: u64,
    /// What has changed, in one line.
    pub changed: Option<String>,
    /// Every fault as a picture, where it was refused.
    pub report: Option<String>,
}

/// `POST /v1/drain`: what is to take no new connections and to end those it has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// One route; none: the whole proxy, which then ends, as after SIGTERM.
    #[serde(default)]
    pub route: Option<String>,
}

/// A drain has begun. `GET /v1/routes` and `GET /v1/status` tell how far it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Draining {
    /// Connections that have time to end.
    pub open: u64,
    /// How much time, in seconds; then they are reset.
    pub at_most: f64,
}

/// Every answer that is not what was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// What is wrong.
    pub error: String,
    /// What to do about it.
    pub help: String,
    /// Of a text with faults: all of them, each as a picture. Several lines, for a fixed-width font.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
}

impl Problem {
    /// What is wrong, and what to do about it.
    pub fn new(error: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem { error: error.into(), help: help.into(), report: None }
    }
}
