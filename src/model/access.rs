//! Which clients a route admits, by their address.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::cidr::NetworkSet;
use super::network::Network;

/// The keys `allow` and `deny`. `Default`: everybody is admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRules {
    /// Which clients are admitted. `None`: all.
    pub allow: Option<NetworkList>,
    /// Which clients are refused, even if `allow` has them. `None`: none.
    pub deny: Option<NetworkList>,
}

impl AccessRules {
    /// The files that the lists name.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let lists = self.allow.iter().chain(&self.deny);
        lists.filter_map(|list| match list {
            NetworkList::File(path) => Some(path),
            NetworkList::Here(_) => None,
        })
    }
}

/// The value of `allow` or `deny`: a list of networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkList {
    /// Written in the routes' file itself.
    Here(Arc<Networks>),
    /// In a file of its own, which is watched. A relative path starts at the folder of the routes' file.
    File(PathBuf),
}

/// Networks, both as written and as a set to search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks {
    written: Box<[Network]>,
    set: NetworkSet,
}

impl Networks {
    /// The set to search for an address.
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

/// Shows the first few networks, and how many more there are.
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
