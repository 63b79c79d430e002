//! The candidates of a route: the addresses that its upstreams resolve to now.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Balance, UpstreamAddr};
use crate::proxy::upstream::{Check, Endpoint, Name};
use crate::state::{NameOf, Pool, Serves, Steering, Tally};

/// One upstream of the file, at one listener.
#[derive(Debug)]
pub(super) struct Entry {
    /// The upstream as written, with its port for this listener.
    pub addr: Arc<UpstreamAddr>,
    /// Its name. `None`: it is an address.
    pub name: Option<Arc<Name>>,
    /// Its counters, which all listeners of the route share.
    pub tally: Arc<Tally>,
    /// What is decided about it while it runs.
    pub steering: Arc<Steering>,
}

impl Entry {
    /// The addresses that it resolves to, each with its relation to the others of its name.
    pub fn addresses(&self, group: usize) -> Vec<(UpstreamAddr, Option<NameOf>)> {
        let (Some(name), UpstreamAddr::Name(_, port)) = (&self.name, &*self.addr) else {
            return vec![(UpstreamAddr::clone(&self.addr), None)];
        };
        let addrs = name.addrs();
        // Replicas may see different addresses for a name (each network of containers has its own), so a name with one
        // address is known by the name that they share. With several addresses, each is known by itself.
        let known_as = (addrs.len() == 1).then(|| self.addr.to_string());
        let preferred = addrs.first().is_some_and(|first| first.is_ipv6());
        let address = |ip: &IpAddr| {
            let of = NameOf { group, second: ip.is_ipv6() != preferred, known_as: known_as.clone() };
            (UpstreamAddr::Ip(SocketAddr::new(*ip, *port)), Some(of))
        };
        addrs.iter().map(address).collect()
    }
}

/// Every address that the upstreams of a route resolve to, by the latest answers.
#[derive(Debug)]
pub struct Candidates {
    /// Chooses the order in which they are tried. A step's index is for [`Candidates::get`].
    pub pool: Pool,
    pub(super) list: Vec<Candidate>,
    /// The sum of the versions of all names. It changes when an answer does.
    pub(super) version: u64,
}

/// One address to try.
#[derive(Debug)]
pub struct Candidate {
    /// Its address, health and TLS, shared by all routes that use it.
    pub endpoint: Arc<Endpoint>,
    /// What its health check finds. `None`: the route has none.
    pub check: Option<Check>,
    /// The name it is an address of. `None`: the upstream is an address.
    pub name: Option<Arc<Name>>,
    /// The upstream as written.
    pub written: Arc<UpstreamAddr>,
    /// The index of that upstream in the route.
    pub entry: usize,
    /// The counters of that upstream.
    pub tally: Arc<Tally>,
    /// Whether it leads back to the listener. Such a candidate is never tried.
    pub leads_back: bool,
}

impl Candidates {
    /// No candidates, at a version that names never have.
    pub(super) fn none() -> Self {
        let pool = Pool::new(Vec::new(), Balance::default(), Duration::ZERO);
        Candidates { pool, list: Vec::new(), version: u64::MAX }
    }

    /// The candidate at a step's index.
    pub fn get(&self, index: usize) -> Option<&Candidate> {
        self.list.get(index)
    }

    /// Whether the candidate at a step's index has become one that nobody may connect to, since it was chosen.
    pub fn is_disabled(&self, index: usize) -> bool {
        self.pool.members().get(index).is_some_and(|member| member.serves() == Serves::Disabled)
    }

    /// Why each of those that get no new connections gets none.
    pub fn closed(&self) -> impl Iterator<Item = String> {
        let members = self.pool.members().iter().filter(|member| !member.takes_new());
        members.map(|member| format!("{}: it gets no new connections", member.upstream.addr()))
    }

    /// All candidates, in the order of the file.
    pub fn list(&self) -> &[Candidate] {
        &self.list
    }
}

impl Candidate {
    /// How often its check has found it down. 0 without a check.
    pub fn checked_downs(&self) -> u64 {
        self.check.as_ref().map_or(0, |check| check.state.downs())
    }
}
