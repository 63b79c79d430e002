//! Addresses to bind and to dial.

use std::fmt;
use std::net::{AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

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
            (ListenAddr::Unix(a), ListenAddr::Unix(b)) => straight(a) == straight(b),
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

/// An absolute path without its ways up: `/run/x` for `/run/a/../x`. Where a folder is a link, only the file system could say
/// where its `..` leads.
pub fn straight(path: &Path) -> PathBuf {
    let mut straight = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(straight.pop()),
            part => straight.push(part),
        }
    }
    straight
}

/// How an upstream is written that is where each client wanted to go.
pub const ORIGINAL_DESTINATION: &str = "original-destination";

/// One address to dial, or a name whose addresses are dialled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UpstreamAddr {
    /// A name and a port.
    Name(String, u16),
    /// An IP address and a port, which need no resolving.
    Ip(SocketAddr),
    /// A Unix stream socket.
    Unix(PathBuf),
    /// Where the client wanted to go, before a rule of this host's firewall led it here: another address for each.
    Original,
}

impl fmt::Display for UpstreamAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpstreamAddr::Name(name, port) => write!(f, "{name}:{port}"),
            UpstreamAddr::Ip(addr) => write!(f, "{addr}"),
            UpstreamAddr::Unix(path) => write!(f, "unix:{}", path.display()),
            UpstreamAddr::Original => f.write_str(ORIGINAL_DESTINATION),
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

impl FromStr for Peer {
    type Err = AddrParseError;

    /// Reads what `Display` has written. A path that is no UTF-8 is not the same afterwards.
    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        match text.strip_prefix("unix:") {
            Some("") => Ok(Peer::Unix(None)),
            Some(path) => Ok(Peer::Unix(Some(path.into()))),
            None => text.parse().map(Peer::Ip),
        }
    }
}

/// The wildcard addresses of both families, to bind every interface.
pub const WILDCARDS: (Ipv4Addr, Ipv6Addr) = (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> ListenAddr {
        match (text.strip_prefix("unix:"), text.parse()) {
            (Some(path), _) => ListenAddr::Unix(path.into()),
            (None, Ok(port)) => ListenAddr::Any(port),
            (None, Err(_)) => ListenAddr::Ip(text.parse().unwrap()),
        }
    }

    #[test]
    fn addresses_overlap_where_a_client_could_not_tell_them_apart() {
        for (one, other, overlap) in [
            ("unix:/a", "unix:/a", true),
            ("unix:/a", "unix:/b", false),
            ("unix:/run//./a", "unix:/run/a", true),
            ("unix:/run/b/../a", "unix:/run/a", true),
            ("unix:/../a", "unix:/a", true),
            ("unix:/run/b/../a", "unix:/run/b", false),
            ("unix:/a", "80", false),
            ("80", "80", true),
            ("80", "81", false),
            ("80", "127.0.0.1:80", true),
            ("80", "[::1]:80", true),
            ("80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "[::1]:80", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("[::]:80", "[::1]:80", true),
            ("[::]:80", "127.0.0.1:80", false),
            ("[::]:80", "0.0.0.0:80", true),
            ("[::]:80", "0.0.0.0:81", false),
        ] {
            assert_eq!(at(one).overlaps(&at(other)), overlap, "{one} {other}");
            assert_eq!(at(other).overlaps(&at(one)), overlap, "{other} {one}");
        }
    }

    #[test]
    fn a_wildcard_receives_what_comes_to_its_family_and_an_address_what_comes_to_it() {
        for (addr, ip, receives) in [
            ("80", "127.0.0.1", true),
            ("80", "::1", true),
            ("127.0.0.1:80", "127.0.0.1", true),
            ("127.0.0.1:80", "127.0.0.2", false),
            ("[::1]:80", "::1", true),
            ("[::1]:80", "::2", false),
            ("0.0.0.0:80", "127.0.0.1", true),
            ("0.0.0.0:80", "::1", false),
            ("[::]:80", "::1", true),
            ("[::]:80", "127.0.0.1", false),
            ("unix:/a", "127.0.0.1", false),
        ] {
            assert_eq!(at(addr).receives(ip.parse().unwrap()), receives, "{addr} {ip}");
        }
    }

    #[test]
    fn a_peer_is_shown_as_a_person_knows_it_and_read_again() {
        let mapped = Peer::from_ip("[::ffff:192.0.2.7]:9".parse().unwrap());
        assert_eq!((mapped.to_string().as_str(), mapped.ip()), ("192.0.2.7:9", "192.0.2.7".parse().ok()));
        for (text, peer) in [
            ("192.0.2.7:9", Peer::Ip("192.0.2.7:9".parse().unwrap())),
            ("[2001:db8::7]:9", Peer::Ip("[2001:db8::7]:9".parse().unwrap())),
            ("unix:", Peer::Unix(None)),
            ("unix:/run/a", Peer::Unix(Some("/run/a".into()))),
        ] {
            assert_eq!((text.parse(), peer.to_string().as_str()), (Ok(peer.clone()), text));
        }
        assert_eq!(Peer::Unix(None).ip(), None);
        assert!("192.0.2.7".parse::<Peer>().is_err());
    }

    #[test]
    fn an_address_is_shown_as_it_is_written() {
        for text in ["80", "127.0.0.1:80", "[::1]:80", "unix:/a"] {
            assert_eq!(at(text).to_string(), text);
        }
        assert_eq!(["80", "127.0.0.1:81", "unix:/a"].map(|text| at(text).port()), [Some(80), Some(81), None]);
        for (addr, text) in [
            (UpstreamAddr::Name("app".into(), 80), "app:80"),
            (UpstreamAddr::Ip("[::1]:80".parse().unwrap()), "[::1]:80"),
            (UpstreamAddr::Unix("/a".into()), "unix:/a"),
            (UpstreamAddr::Original, "original-destination"),
        ] {
            assert_eq!(addr.to_string(), text);
        }
        assert_eq!(WILDCARDS, (Ipv4Addr::new(0, 0, 0, 0), Ipv6Addr::from_bits(0)));
    }
}
