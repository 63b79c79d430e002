//! Limits on the number of connections, and on how fast clients may open them.

use super::memory::{MemoryLimit, PrereadMemory};
use super::rate::Rate;
use super::words::words;

/// The limits of a route. `Default`: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientLimits {
    /// Most connections of the route at once: at least 1. `None`: as many as the descriptors allow.
    pub max_connections: Option<u32>,
    /// What happens to a client when the route is at `max_connections`.
    pub when_full: WhenFull,
    /// Most connections of one client at once: at least 1. `None`: unlimited.
    pub max_connections_per_client: Option<u32>,
    /// How fast one client may open connections. `None`: unlimited.
    pub rate_per_client: Option<Rate>,
}

words! {
    /// What happens to a client when its route is at `max_connections`.
    #[derive(Default)]
    pub enum WhenFull {
        /// It is reset at once.
        #[default]
        Reset = "reset",
        /// It waits in the kernel's queue until a connection of the route ends.
        Wait = "wait",
    }
}

/// The `[limits]` part of the file: what all routes share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessLimits {
    /// Most connections of all routes at once: at least 1. `None`: as many as the descriptors allow.
    pub max_connections: Option<u32>,
    /// How much memory the process may use.
    pub memory: MemoryLimit,
    /// Memory of the connections that are read before they have an upstream.
    pub preread_memory: PrereadMemory,
}

impl ProcessLimits {
    /// Each key with its value, both as written in the file.
    pub fn entries(&self) -> [(&'static str, String); 3] {
        let or_off = |value: Option<u32>| value.map_or_else(|| "off".to_owned(), |value| value.to_string());
        [
            ("max_connections", or_off(self.max_connections)),
            ("memory", self.memory.to_string()),
            ("preread_memory", self.preread_memory.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_shown_as_they_are_written() {
        let shown = |limits: ProcessLimits| limits.entries().map(|(key, value)| format!("{key} {value}"));
        let usual = ["max_connections off", "memory cgroup", "preread_memory 64 MiB"];
        assert_eq!(shown(ProcessLimits::default()), usual);
        let (memory, preread_memory) = ("1 GiB".parse().unwrap(), "2 MiB".parse().unwrap());
        let odd = ProcessLimits { max_connections: Some(7), memory, preread_memory };
        assert_eq!(shown(odd), ["max_connections 7", "memory 1 GiB", "preread_memory 2 MiB"]);
        assert_eq!(PrereadMemory::default().bytes(), 67_108_864);
    }
}
