//! How many connections there may be, and how fast they may come.

use super::rate::Rate;
use super::words::words;

/// The limits of a route. `Default`: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientLimits {
    /// Connections of the route at once: at least 1. `None`: as many as the descriptors allow.
    pub max_connections: Option<u32>,
    /// What becomes of a client that is one too many for the route.
    pub when_full: WhenFull,
    /// Connections of one client at once: at least 1.
    pub max_connections_per_client: Option<u32>,
    /// How fast the connections of one client may come.
    pub rate_per_client: Option<Rate>,
}

words! {
    /// What becomes of a client that is one too many for its route.
    #[derive(Default)]
    pub enum WhenFull {
        /// It is reset at once.
        #[default]
        Reset = "reset",
        /// It waits in the kernel's queue.
        Wait = "wait",
    }
}

/// The `[limits]` part of the file: what all routes share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessLimits {
    /// How many connections all routes have at once: at least 1. `None`: as many as the descriptors allow.
    pub max_connections: Option<u32>,
}

impl ProcessLimits {
    /// Each key with its value, both as the file has them.
    pub fn entries(&self) -> [(&'static str, String); 1] {
        let or_off = |value: Option<u32>| value.map_or_else(|| "off".to_owned(), |value| value.to_string());
        [("max_connections", or_off(self.max_connections))]
    }
}
