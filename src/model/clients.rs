//! The client's side of a route: who may come in.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::cidr::{Network, NetworkSet};
use super::proxy_protocol::ProxyProtocol;
use super::rate::{Bandwidth, Rate};
use super::tls::Tls;
use super::units;

/// The policy of a route towards its clients. `Default` is what the documentation promises: all may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    /// Who may come in. `None`: all.
    pub allow: Option<NetworkList>,
    /// Who may not, even if allowed.
    pub deny: Option<NetworkList>,
    /// How many connections the route has at once: at least 1.
    pub max_connections: Option<u32>,
    /// What becomes of a client that is one too many for the route.
    pub when_full: WhenFull,
    /// How many connections one client has at once: at least 1.
    pub max_connections_per_client: Option<u32>,
    /// How fast the connections of one client may come.
    pub rate_per_client: Option<Rate>,
    /// What one connection may move.
    pub bandwidth: Bandwidth,
    /// Who says who they are, and whom that is said to.
    pub proxy_protocol: ProxyProtocol,
    /// Where TLS ends here, and where it begins here.
    pub tls: Tls,
    /// How long a client may take to say what it asks for, where that decides to whom it is led: at least 1 ms.
    pub sniff_timeout: Duration,
}

impl Default for Clients {
    fn default() -> Self {
        Clients {
            allow: None,
            deny: None,
            max_connections: None,
            when_full: WhenFull::Reset,
            max_connections_per_client: None,
            rate_per_client: None,
            bandwidth: Bandwidth::default(),
            proxy_protocol: ProxyProtocol::default(),
            tls: Tls::default(),
            sniff_timeout: Duration::from_secs(5),
        }
    }
}

impl Clients {
    /// Each key with its value, both as the file has them.
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        let list = |list: &Option<NetworkList>, none: &str| {
            list.as_ref().map_or_else(|| none.to_owned(), ToString::to_string)
        };
        let or_off = |value: Option<u32>| value.map_or_else(|| "off".to_owned(), |value| value.to_string());
        vec![
            ("allow", list(&self.allow, "all")),
            ("deny", list(&self.deny, "none")),
            ("max_connections", or_off(self.max_connections)),
            ("when_full", self.when_full.label().to_owned()),
            ("max_connections_per_client", or_off(self.max_connections_per_client)),
            (
                "rate_per_client",
                self.rate_per_client.map_or_else(|| "off".to_owned(), |rate| rate.to_string()),
            ),
            ("bandwidth", self.bandwidth.to_string()),
            ("proxy_protocol", self.proxy_protocol.to_string()),
            ("tls", self.tls.to_string()),
            ("sniff_timeout", units::show(self.sniff_timeout)),
        ]
    }

    /// The files that it needs.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let lists = self.allow.iter().chain(&self.deny);
        lists.filter_map(|list| match list {
            NetworkList::File(path) => Some(path),
            NetworkList::Here(_) => None,
        })
    }
}

/// What becomes of a client that is one too many for its route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It is reset at once.
    #[default]
    Reset,
    /// It waits in the kernel's queue.
    Wait,
}

impl WhenFull {
    /// The word of the file.
    pub fn label(self) -> &'static str {
        match self {
            WhenFull::Reset => "reset",
            WhenFull::Wait => "wait",
        }
    }
}

/// The `[limits]` part of the file: what all routes share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// How many connections all routes have at once: at least 1. `None`: as many as the descriptors allow.
    pub max_connections: Option<u32>,
}

impl Limits {
    /// Each key with its value, both as the file has them.
    pub fn entries(&self) -> [(&'static str, String); 1] {
        let or_off = |value: Option<u32>| value.map_or_else(|| "off".to_owned(), |value| value.to_string());
        [("max_connections", or_off(self.max_connections))]
    }
}

/// A list of networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkList {
    /// It stands in the file itself.
    Here(Arc<Networks>),
    /// It stands in a file of its own, which is watched. A relative path starts at the folder of the routes' file.
    File(PathBuf),
}

/// Networks as they were written, and as they are searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks {
    written: Box<[Network]>,
    set: NetworkSet,
}

impl Networks {
    /// For searching.
    pub fn set(&self) -> &NetworkSet {
        &self.set
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        let written: Box<[Network]> = networks.into_iter().collect();
        Networks { set: written.iter().copied().collect(), written }
    }
}

/// The first few of many.
impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4;
        for (index, network) in self.written.iter().take(SHOWN).enumerate() {
            write!(f, "{}{network}", if index == 0 { "" } else { ", " })?;
        }
        match self.written.len().checked_sub(SHOWN) {
            Some(more @ 1..) => write!(f, " and {more} more"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for NetworkList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkList::Here(networks) => write!(f, "{networks}"),
            NetworkList::File(path) => write!(f, "those of {}", path.display()),
        }
    }
}
