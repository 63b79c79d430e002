//! Our own end of a connection to an upstream: what the upstream sees as its client. Whoever looks at a backend finds the
//! client by it.

use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::os::fd::AsFd;

use crate::model::Peer;

/// An address and a port in 18 bytes: every connection has room for one.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalEnd {
    port: NonZeroU16,
    ip: [u8; 16],
}

impl LocalEnd {
    /// Asks the kernel. `None`: the socket is no IP socket, or has no port.
    pub(super) fn of(socket: &impl AsFd) -> Option<LocalEnd> {
        let addr = SocketAddr::try_from(rustix::net::getsockname(socket).ok()?).ok()?;
        let ip = match addr {
            SocketAddr::V4(addr) => addr.ip().to_ipv6_mapped(),
            SocketAddr::V6(addr) => *addr.ip(),
        };
        Some(LocalEnd { port: NonZeroU16::new(addr.port())?, ip: ip.octets() })
    }

    /// As a person should read it.
    pub(super) fn peer(self) -> Peer {
        Peer::from_ip(SocketAddr::new(Ipv6Addr::from(self.ip).into(), self.port.get()))
    }
}

/// The address from which a socket is connected. `None`: it is no IP socket.
pub fn local_of(socket: &impl AsFd) -> Option<Peer> {
    LocalEnd::of(socket).map(LocalEnd::peer)
}
