//! The addresses that a route's upstreams stand for now.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Balance, UpstreamAddr};
use crate::proxy::upstream::{Check, Endpoint, Name};
use crate::state::{NameOf, Pool, Tally};

/// An upstream as the file has it, at one listener.
#[derive(Debug)]
pub(super) struct Entry {
    /// As written.
    pub addr: Arc<UpstreamAddr>,
    /// Of a name.
    pub name: Option<Arc<Name>>,
    /// Its counters.
    pub tally: Arc<Tally>,
}

impl Entry {
    /// The addresses that it stands for, each with what it is to the others of its name.
    pub fn addresses(&self, group: usize) -> Vec<(UpstreamAddr, Option<NameOf>)> {
        let (Some(name), UpstreamAddr::Name(_, port)) = (&self.name, &*self.addr) else {
            return vec![(UpstreamAddr::clone(&self.addr), None)];
        };
        let addrs = name.addrs();
        // Replicas may see a name's one address differently (each network of containers has its own): its name is what
        // they share. Of several addresses each is known by itself.
        let known_as = (addrs.len() == 1).then(|| self.addr.to_string());
        let preferred = addrs.first().is_some_and(|first| first.is_ipv6());
        let address = |ip: &IpAddr| {
            let of = NameOf { group, second: ip.is_ipv6() != preferred, known_as: known_as.clone() };
            (UpstreamAddr::Ip(SocketAddr::new(*ip, *port)), Some(of))
        };
        addrs.iter().map(address).collect()
    }
}

/// Every address that the upstreams stand for, as the names were answered last.
#[derive(Debug)]
pub struct Candidates {
    /// In which order they are tried. A step's index is for [`Candidates::get`].
    pub pool: Pool,
    pub(super) list: Vec<Candidate>,
    /// Of all names' versions together.
    pub(super) version: u64,
}

/// One address.
#[derive(Debug)]
pub struct Candidate {
    /// What is known of it.
    pub endpoint: Arc<Endpoint>,
    /// Its check, where the route has one.
    pub check: Option<Arc<Check>>,
    /// The name that it is an address of.
    pub name: Option<Arc<Name>>,
    /// The upstream as written.
    pub written: Arc<UpstreamAddr>,
    /// Which of the route's upstreams that is.
    pub entry: usize,
    /// The counters of that upstream.
    pub tally: Arc<Tally>,
}

impl Candidates {
    /// Of a version that no names have.
    pub(super) fn none() -> Self {
        let pool = Pool::new(Vec::new(), Balance::default(), Duration::ZERO);
        Candidates { pool, list: Vec::new(), version: u64::MAX }
    }

    /// The candidate of a step.
    pub fn get(&self, index: usize) -> Option<&Candidate> {
        self.list.get(index)
    }

    /// All of them.
    pub fn list(&self) -> &[Candidate] {
        &self.list
    }
}

impl Candidate {
    /// How often its check has found it down.
    pub fn checked_downs(&self) -> u64 {
        self.check.as_ref().map_or(0, |check| check.state.downs())
    }
}
