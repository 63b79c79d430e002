//! From where a connection begins: the local address, the interface, the class of service and the mark of its packets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use rustix::io::Errno;
use socket2::{Domain, SockRef, Socket, Type};

use super::error::plain;
use super::options::set;
use crate::model::Source;
use crate::model::source::NoSuchFamily;

/// The client that an upstream is reached for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfClient {
    /// Its address, or the one that its PROXY header names. `None`: it came through a Unix socket.
    pub ip: Option<IpAddr>,
    /// Where it wanted to go, where that is its upstream. `None`: its route leads elsewhere.
    pub original: Option<SocketAddr>,
    /// How far the port that it wanted is from the first of its range, where one socket has the range; else 0.
    pub offset: u16,
}

/// Why a connection cannot begin at its source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It has no address of the family of the peer.
    #[error(transparent)]
    Family(#[from] NoSuchFamily),
    /// The source is the client's address, which is of the other family than the peer's.
    #[error("source client {0}: an upstream of the other family cannot be reached from there")]
    OtherFamily(IpAddr),
    /// The source is the client's address, and it has none.
    #[error("source client: who comes through a Unix socket has no address")]
    NoAddress,
    /// The system refuses a part of it.
    #[error("source {0}: {why}", why = why(.1))]
    Refused(String, #[source] io::Error),
}

impl SourceError {
    /// Whether a right is missing, which does not come back by itself.
    pub fn is_of_rights(&self) -> bool {
        matches!(self, SourceError::Refused(_, error) if is_of_rights(error))
    }
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}

fn is_of_rights(error: &io::Error) -> bool {
    matches!(errno(error), Some(Errno::PERM | Errno::ACCESS))
}

fn why(error: &io::Error) -> String {
    match errno(error) {
        Some(Errno::ADDRNOTAVAIL) => "no interface of this host has the address".to_owned(),
        Some(Errno::NODEV) => "there is no such interface".to_owned(),
        Some(Errno::INVAL) => "no packet goes to the upstream from there".to_owned(),
        _ if is_of_rights(error) => "this process may not set it".to_owned(),
        _ => plain(error),
    }
}

impl From<SourceError> for io::Error {
    fn from(error: SourceError) -> Self {
        io::Error::new(io::ErrorKind::AddrNotAvailable, error)
    }
}

/// Lets a socket that is not connected yet begin at its source. `client`: whom it is for. `None`: for Portway itself.
pub(super) fn begin_at(
    socket: &impl AsFd,
    source: &Source,
    peer: SocketAddr,
    client: Option<OfClient>,
) -> Result<(), SourceError> {
    let raw = SockRef::from(socket);
    let refused = |what: String| move |error| SourceError::Refused(what, error);
    let Source { addresses: _, client: is_client, interface, dscp, mark } = source;
    if let Some(interface) = interface {
        let bound = raw.bind_device(Some(interface.name().as_bytes()));
        bound.map_err(refused(format!("interface {interface}")))?;
    }
    if let Some(mark) = mark {
        raw.set_mark(mark.get()).map_err(refused(format!("mark {mark}")))?;
    }
    if let Some(dscp) = dscp {
        set_class(&raw, dscp.byte(0), peer.is_ipv4()).map_err(refused(format!("dscp {dscp}")))?;
    }
    let (own, shown) = match client.filter(|_| *is_client) {
        Some(client) => {
            let ip = address_of(client, peer)?;
            let shown = format!("client {ip}");
            set_transparent(&raw).map_err(refused(shown.clone()))?;
            (ip, shown)
        }
        None => match source.towards(peer)? {
            Some(own) => (own, own.to_string()),
            None => return Ok(()),
        },
    };
    // The port is chosen at the connect: so connections to several peers may have the same one. The client's own port is
    // not kept: the same one may come to two listeners, and again while its last connection is in TIME-WAIT here.
    set(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1).map_err(refused(shown.clone()))?;
    raw.bind(&SocketAddr::new(own, 0).into()).map_err(refused(shown))
}

/// The error of a connect(2) from a source, which names the client's address where that is to blame.
pub(super) fn connect_error(
    error: io::Error,
    source: Option<&Source>,
    client: Option<OfClient>,
) -> io::Error {
    let ip = client.filter(|_| source.is_some_and(|source| source.client)).and_then(|client| client.ip);
    match ip.filter(|_| errno(&error) == Some(Errno::INVAL)) {
        Some(ip) => SourceError::Refused(format!("client {ip}"), error).into(),
        None => error,
    }
}

/// The client's address, where packets to this peer can have it.
fn address_of(client: OfClient, peer: SocketAddr) -> Result<IpAddr, SourceError> {
    match client.ip.map(|ip| ip.to_canonical()) {
        None => Err(SourceError::NoAddress),
        Some(ip) if ip.is_ipv4() != peer.is_ipv4() => Err(SourceError::OtherFamily(ip)),
        Some(ip) => Ok(ip),
    }
}

/// Lets a socket have addresses that are not this host's (IP_TRANSPARENT). Needs CAP_NET_RAW or CAP_NET_ADMIN.
pub(super) fn set_transparent(socket: &SockRef<'_>) -> io::Result<()> {
    match socket.domain()? == Domain::IPV4 {
        true => socket.set_ip_transparent_v4(true),
        false => socket.set_ip_transparent_v6(true),
    }
}

/// Tries whether sockets can have addresses that are not this host's.
pub fn try_transparent() -> io::Result<()> {
    set_transparent(&SockRef::from(&Socket::new(Domain::IPV4, Type::DGRAM, None)?))
}

/// Sets the byte that IPv4 calls TOS and IPv6 traffic class.
pub(super) fn set_class(socket: &SockRef<'_>, byte: u8, v4: bool) -> io::Result<()> {
    match v4 {
        true => socket.set_tos_v4(byte.into()),
        false => socket.set_tclass_v6(byte.into()),
    }
}

/// Tries whether sockets can begin at a source. Sends nothing.
pub fn try_source(source: &Source) -> Result<(), SourceError> {
    let [v4, v6] = source.addresses;
    let v4 = v4.is_some() || v6.is_none();
    let families = [(v4, IpAddr::V4(Ipv4Addr::LOCALHOST)), (v6.is_some(), IpAddr::V6(Ipv6Addr::LOCALHOST))];
    for (_, peer) in families.into_iter().filter(|(used, _)| *used) {
        let peer = SocketAddr::new(peer, 9);
        let socket = Socket::new(Domain::for_address(peer), Type::DGRAM, None)
            .map_err(|error| SourceError::Refused(source.to_string(), error))?;
        begin_at(&socket, source, peer, None)?;
        if source.client {
            let refused = |error| SourceError::Refused("client".to_owned(), error);
            set_transparent(&SockRef::from(&socket)).map_err(refused)?;
        }
    }
    Ok(())
}
