//! The upstreams of one route: the share of each, and which one gets the next connection.

use std::fmt;
use std::time::Duration;

use super::spec::UpstreamSpec;
use super::words::words;

/// The largest [`UpstreamEntry::weight`].
pub const LARGEST_WEIGHT: u32 = 1000;
/// The longest `slow_start`: one hour.
pub const LONGEST_SLOW_START: Duration = Duration::from_secs(3600);

/// One entry of `upstream`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamEntry {
    /// Its address, or a range of ports on one host.
    pub spec: UpstreamSpec,
    /// Its share relative to the others: 1 to [`LARGEST_WEIGHT`].
    pub weight: u32,
    /// Use it only if no other upstream is available.
    pub backup: bool,
    /// Most connections that it takes at once, from all routes together: at least 1. `None`: unlimited.
    pub max_connections: Option<u32>,
}

impl From<UpstreamSpec> for UpstreamEntry {
    fn from(spec: UpstreamSpec) -> Self {
        UpstreamEntry { spec, weight: 1, backup: false, max_connections: None }
    }
}

impl fmt::Display for UpstreamEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.spec)?;
        let mut said = Vec::new();
        if self.weight != 1 {
            said.push(format!("weight {}", self.weight));
        }
        if self.backup {
            said.push("backup".to_owned());
        }
        if let Some(most) = self.max_connections {
            said.push(format!("max_connections {most}"));
        }
        if said.is_empty() { Ok(()) } else { write!(f, " ({})", said.join(", ")) }
    }
}

words! {
    /// Which of several upstreams gets the next connection.
    #[derive(Default)]
    pub enum Balance {
        /// In turn, by weight.
        #[default]
        RoundRobin = "round-robin",
        /// The one with the fewest connections for its weight.
        LeastConnections = "least-connections",
        /// Of two random ones, the one with fewer connections for its weight.
        RandomTwo = "random-two",
        /// By the client's address: always the same one, as long as it is available.
        SourceHash = "source-hash",
        /// The first available one of the list.
        First = "first",
    }
}

words! {
    /// What happens to the open connections of an upstream that went down.
    #[derive(Default)]
    pub enum OnDown {
        /// They go on: those that still work are not disturbed.
        #[default]
        Keep = "keep",
        /// They are reset at once.
        Cut = "cut",
    }
}
