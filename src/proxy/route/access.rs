//! Which clients a route admits, by its `allow` and `deny` lists, and where they may go.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::model::{AccessRules, NetworkList, NetworkSet, Networks, Peer};

/// A list from a file, as the file is now.
pub type LiveList = ArcSwap<NetworkSet>;

/// The lists from files, by path as the routes' file writes it.
pub type Lists = BTreeMap<PathBuf, Arc<LiveList>>;

/// The `allow`, `deny` and `original_destination` lists of a route.
#[derive(Debug, Default)]
pub struct Access {
    allow: Option<List>,
    deny: Option<List>,
    destinations: Option<List>,
}

#[derive(Debug)]
enum List {
    Here(Arc<Networks>),
    File(Arc<LiveList>),
}

impl List {
    fn new(list: &NetworkList, files: &Lists) -> Self {
        match list {
            NetworkList::Here(networks) => List::Here(networks.clone()),
            // Every file was read before its route started.
            NetworkList::File(path) => List::File(files.get(path).cloned().unwrap_or_default()),
        }
    }

    fn contains(&self, ip: IpAddr) -> bool {
        match self {
            List::Here(networks) => networks.set().contains(ip),
            List::File(list) => list.load().contains(ip),
        }
    }
}

impl Access {
    /// The lists of a route. `files` holds the lists that it may name.
    pub fn new(rules: &AccessRules, files: &Lists) -> Self {
        let list = |list: &Option<NetworkList>| list.as_ref().map(|list| List::new(list, files));
        Access { allow: list(&rules.allow), deny: list(&rules.deny), destinations: list(&rules.destinations) }
    }

    /// Whether the lists admit a client. A client without an address came through a Unix socket, whose file mode
    /// decides that.
    pub fn admits(&self, client: &Peer) -> bool {
        let Peer::Ip(client) = client else { return true };
        let denied = self.deny.as_ref().is_some_and(|list| list.contains(client.ip()));
        !denied && self.allow.as_ref().is_none_or(|list| list.contains(client.ip()))
    }

    /// Whether clients that go where they wanted to may go to this address.
    pub fn leads_to(&self, ip: IpAddr) -> bool {
        self.destinations.as_ref().is_some_and(|list| list.contains(ip))
    }
}
