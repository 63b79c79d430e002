//! Several upstreams of one route: what each is to the others, and which one a connection is led to.

use std::fmt;
use std::time::Duration;

use super::spec::UpstreamSpec;
use super::words::words;

/// The largest weight.
pub const LARGEST_WEIGHT: u32 = 1000;
/// The longest slow start.
pub const LONGEST_SLOW_START: Duration = Duration::from_secs(3600);

/// One entry of `upstream`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamEntry {
    /// Its address, or a range of ports on one host.
    pub spec: UpstreamSpec,
    /// Its share beside the others: 1 to [`LARGEST_WEIGHT`].
    pub weight: u32,
    /// It is used only where no other can be had.
    pub backup: bool,
    /// How many connections it takes at once, from all routes together: at least 1.
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
    /// Which of several upstreams a connection is led to.
    #[derive(Default)]
    pub enum Balance {
        /// In turn, by weight.
        #[default]
        RoundRobin = "round-robin",
        /// The one with the fewest connections for its weight.
        LeastConnections = "least-connections",
        /// The better of two that chance gives.
        RandomTwo = "random-two",
        /// By the client's address: the same one, as long as it can be had.
        SourceHash = "source-hash",
        /// The first of the list that can be had.
        First = "first",
    }
}

words! {
    /// What becomes of the open connections of an upstream that went down.
    #[derive(Default)]
    pub enum OnDown {
        /// They go on as they are: those that work still work.
        #[default]
        Keep = "keep",
        /// They are reset at once.
        Cut = "cut",
    }
}
