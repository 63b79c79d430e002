//! The upstreams of one route: the share of each, and which one gets the next connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::source::Source;
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
    /// Its share relative to the others: 0 to [`LARGEST_WEIGHT`]. 0: it gets no new connections.
    pub weight: u32,
    /// Whether it gets new connections.
    pub state: EntryState,
    /// Use it only if no other upstream is available.
    pub backup: bool,
    /// Most connections that it takes at once, from all routes together: at least 1. `None`: unlimited.
    pub max_connections: Option<u32>,
    /// From where it is connected to. `None`: as the route says. `Some(None)`: as the system says, whatever the route does.
    pub source: Option<Option<Arc<Source>>>,
}

impl UpstreamEntry {
    /// From where it is connected to, in a route of this source. `None`: the system says.
    pub fn source_in<'s>(&'s self, of_route: Option<&'s Arc<Source>>) -> Option<&'s Arc<Source>> {
        match &self.source {
            Some(own) => own.as_ref(),
            None => of_route,
        }
    }

    /// Whether the file gives it new connections.
    pub fn takes_new(&self) -> bool {
        self.state == EntryState::Ready && self.weight > 0
    }
}

impl From<UpstreamSpec> for UpstreamEntry {
    fn from(spec: UpstreamSpec) -> Self {
        UpstreamEntry {
            spec,
            weight: 1,
            state: EntryState::Ready,
            backup: false,
            max_connections: None,
            source: None,
        }
    }
}

impl fmt::Display for UpstreamEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.spec)?;
        let mut said = Vec::new();
        if self.weight != 1 {
            said.push(format!("weight {}", self.weight));
        }
        if self.state != EntryState::Ready {
            said.push(format!("state {}", self.state));
        }
        if self.backup {
            said.push("backup".to_owned());
        }
        if let Some(most) = self.max_connections {
            said.push(format!("max_connections {most}"));
        }
        if let Some(source) = &self.source {
            said.push(source.as_ref().map_or_else(|| "source off".to_owned(), |own| format!("source {own}")));
        }
        if said.is_empty() { Ok(()) } else { write!(f, " ({})", said.join(", ")) }
    }
}

words! {
    /// Whether an upstream gets new connections.
    #[derive(Default)]
    pub enum EntryState {
        /// It does.
        #[default]
        Ready = "ready",
        /// It keeps those that it has, and gets no new ones.
        Drain = "drain",
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

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn entry() -> UpstreamEntry {
        UpstreamSpec::from_str("app:80").unwrap().into()
    }

    #[test]
    fn an_entry_shows_what_is_not_usual() {
        assert_eq!(entry().to_string(), "app:80");
        let source = Arc::new(Source { client: true, ..Source::default() });
        for (entry, shown) in [
            (UpstreamEntry { weight: 0, ..entry() }, "app:80 (weight 0)"),
            (UpstreamEntry { state: EntryState::Drain, ..entry() }, "app:80 (state drain)"),
            (UpstreamEntry { backup: true, ..entry() }, "app:80 (backup)"),
            (UpstreamEntry { max_connections: Some(7), ..entry() }, "app:80 (max_connections 7)"),
            (UpstreamEntry { source: Some(None), ..entry() }, "app:80 (source off)"),
            (
                UpstreamEntry { source: Some(Some(source)), weight: 2, ..entry() },
                "app:80 (weight 2, source client)",
            ),
        ] {
            assert_eq!(entry.to_string(), shown);
        }
    }

    #[test]
    fn an_entry_takes_connections_that_is_ready_and_has_a_weight() {
        for (state, weight, takes) in [
            (EntryState::Ready, 1, true),
            (EntryState::Ready, 0, false),
            (EntryState::Drain, 1, false),
            (EntryState::Drain, 0, false),
        ] {
            assert_eq!(UpstreamEntry { state, weight, ..entry() }.takes_new(), takes, "{state} {weight}");
        }
    }

    #[test]
    fn the_source_of_an_entry_goes_before_that_of_its_route() {
        let [own, of_route] = ["10.0.0.1", "10.0.0.2"]
            .map(|ip| Arc::new(Source { addresses: [ip.parse().ok(), None], ..Source::default() }));
        let with = |source| UpstreamEntry { source, ..entry() };
        assert_eq!(with(None).source_in(Some(&of_route)), Some(&of_route));
        assert_eq!(with(None).source_in(None), None);
        assert_eq!(with(Some(None)).source_in(Some(&of_route)), None);
        assert_eq!(with(Some(Some(own.clone()))).source_in(Some(&of_route)), Some(&own));
    }
}
