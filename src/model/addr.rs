//! Addresses to bind and to dial.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// One address that a listening socket is bound to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenAddr {
    /// A port on every interface, IPv4 and IPv6: one dual-stack socket. Written `"8080"`.
    Any(u16),
    /// One address. `[::]:8080` takes IPv6 only, so that it can stand beside `0.0.0.0:8080`.
    Ip(SocketAddr),
    /// A Unix stream socket. Written `"unix:/path"`.
    Unix(PathBuf),
}

impl ListenAddr {
    /// Whether the kernel would refuse to listen on both at once, or a client could not tell which of them it reaches.
    ///
    /// The wildcard of a family covers every address of that family. `0.0.0.0` and `[::]` with the same port overlap
    /// too: a client of a name that resolves to both families would reach either by chance.
    pub fn overlaps(&self, other: &ListenAddr) -> bool {
        match (self, other) {
            (ListenAddr::Unix(a), ListenAddr::Unix(b)) => a == b,
            (ListenAddr::Unix(_), _) | (_, ListenAddr::Unix(_)) => false,
            (a, b) if a.port() != b.port() => false,
            (ListenAddr::Any(_), _) | (_, ListenAddr::Any(_)) => true,
            (ListenAddr::Ip(a), ListenAddr::Ip(b)) => {
                let (a, b) = (a.ip(), b.ip());
                a == b
                    || (a.is_unspecified() && b.is_unspecified())
                    || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()))
            }
        }
    }

    /// Whether a datagram or a connection to this address arrives here. IPv4 addresses are not mapped.
    pub fn receives(&self, ip: IpAddr) -> bool {
        match self {
            ListenAddr::Any(_) => true,
            ListenAddr::Ip(addr) => {
                let own = addr.ip();
                own == ip || (own.is_unspecified() && own.is_ipv4() == ip.is_ipv4())
            }
            ListenAddr::Unix(_) => false,
        }
    }

    /// The port. `None` for a Unix socket.
    pub fn port(&self) -> Option<u16> {
        match self {
            ListenAddr::Any(port) => Some(*port),
            ListenAddr::Ip(addr) => Some(addr.port()),
            ListenAddr::Unix(_) => None,
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddr::Any(port) => write!(f, "{port}"),
            ListenAddr::Ip(addr) => write!(f, "{addr}"),
            ListenAddr::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One address to dial, or a name whose addresses are dialled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UpstreamAddr {
    /// A name and a port.
    Name(String, u16),
    /// An IP address and a port, which need no resolving.
    Ip(SocketAddr),
    /// A Unix stream socket.
    Unix(PathBuf),
}

impl fmt::Display for UpstreamAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpstreamAddr::Name(name, port) => write!(f, "{name}:{port}"),
            UpstreamAddr::Ip(addr) => write!(f, "{addr}"),
            UpstreamAddr::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The address of one end of a connection, as a person should read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An IP peer. An IPv4-mapped IPv6 address is shown as its IPv4 address.
    Ip(SocketAddr),
    /// A Unix peer and its path. `None`: it has no path.
    Unix(Option<PathBuf>),
}

impl Peer {
    /// A peer from an address of the kernel. Turns an IPv4-mapped address into its IPv4 address.
    pub fn from_ip(addr: SocketAddr) -> Self {
        Peer::Ip(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
    }

    /// The IP address. `None` for a Unix peer.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Ip(addr) => Some(addr.ip()),
            Peer::Unix(_) => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Ip(addr) => write!(f, "{addr}"),
            Peer::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Peer::Unix(None) => f.write_str("unix:"),
        }
    }
}

/// The wildcard addresses of both families, to bind every interface.
pub const WILDCARDS: (Ipv4Addr, Ipv6Addr) = (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
