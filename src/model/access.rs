//! Which clients a route admits, by their address.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::cidr::{Network, NetworkSet};

/// The keys `allow` and `deny`. `Default`: everybody is admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRules {
    /// Who is admitted. `None`: all.
    pub allow: Option<NetworkList>,
    /// Who is not, even if allowed.
    pub deny: Option<NetworkList>,
}

impl AccessRules {
    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let lists = self.allow.iter().chain(&self.deny);
        lists.filter_map(|list| match list {
            NetworkList::File(path) => Some(path),
            NetworkList::Here(_) => None,
        })
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
