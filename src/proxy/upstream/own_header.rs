//! The PROXY header of connections and datagrams that serve no client: checks, trials, plans.

use crate::model::{HeaderOn, Protocol, ProxyProtocol, ProxyVersion};
use crate::wire::proxy::{self, Addresses, Header};

/// Which header they begin with. An upstream that demands one from clients demands it from checks too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OwnHeader {
    version: Option<ProxyVersion>,
    /// UDP: which datagrams begin with it.
    pub on: HeaderOn,
}

impl OwnHeader {
    /// As the clients' connections of a route begin.
    pub fn of(route: &ProxyProtocol) -> Self {
        OwnHeader { version: route.send, on: route.datagrams }
    }

    /// Its bytes: LOCAL in version 2, UNKNOWN in version 1, which has no other word for it. Empty: there is none.
    pub fn bytes(self, protocol: Protocol) -> Vec<u8> {
        let header = Header { addresses: Addresses::Own, ..Header::default() };
        match self.version {
            None => Vec::new(),
            Some(ProxyVersion::V1) => proxy::write_v1(&header.addresses),
            Some(ProxyVersion::V2) => proxy::write_v2(&header, protocol == Protocol::Udp),
        }
    }
}
