//! UDP sockets: many datagrams per call where the kernel supports it (recvmmsg, GRO, GSO). No datagram is truncated,
//! none is reordered within a flow, and answers leave from the address that the client wrote to.
//!
//! Nothing here waits for a single socket: [`Poller`] says which ones are readable, and every call returns at once.

mod batch;
mod options;
mod poller;

pub use batch::{Batch, Parcel, Segments};
pub use poller::{Poller, Ready};

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};

use crate::model::addr::WILDCARDS;
use crate::model::source::Dscp;
use crate::model::{ListenAddr, Source};
use crate::net::error::is_of_offload;
use crate::net::source::{begin_at, connect_error, set_class, set_transparent};
use crate::net::{OfClient, itself};
use crate::state::Volume;

/// Receive buffer in bytes, for datagrams that arrive while their reader is busy. The kernel caps it at
/// `net.core.rmem_max`, and takes memory only for what waits there.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The UDP socket of a listener. All its clients share it.
#[derive(Debug)]
pub struct DatagramSocket {
    socket: UdpSocket,
    state: UdpSocketState,
    /// The bound address. If it stands for several, each answer must say from which one it leaves.
    bound: SocketAddr,
    /// Another process has the same socket: what is done to it would be done to that process.
    inherited: bool,
    deaf: AtomicBool,
    /// It also hears what is sent to addresses that are not this host's.
    transparent: AtomicBool,
}

/// The result of sending datagrams.
#[derive(Debug, Default)]
pub struct Sent {
    /// Datagrams and bytes that were sent.
    pub sent: Volume,
    /// Number of datagrams that could not be sent, and the first error. `None`: all were sent.
    pub failed: Option<(u64, io::Error)>,
}

impl Sent {
    /// Adds up two results. Of two errors, that of `self` stays.
    pub fn and(mut self, other: Sent) -> Sent {
        let failed = match (self.failed, other.failed) {
            (Some((one, reason)), Some((another, _))) => Some((one + another, reason)),
            (one, another) => one.or(another),
        };
        self.sent += other.sent;
        Sent { sent: self.sent, failed }
    }
}

impl DatagramSocket {
    /// Binds an address. `shared`: another socket overlaps it and shares its port ([`DatagramSocket::share_port`]). The new
    /// one is then deaf: what arrives is still for the other one.
    pub fn bind(addr: &ListenAddr, shared: bool) -> io::Result<DatagramSocket> {
        let socket = match addr {
            ListenAddr::Any(port) => match open((WILDCARDS.1, *port).into(), false, shared) {
                // A host without IPv6: every interface is IPv4.
                Err(error) if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) => {
                    open((WILDCARDS.0, *port).into(), false, shared)
                }
                other => other,
            },
            ListenAddr::Ip(addr) => open(*addr, true, shared),
            ListenAddr::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }?;
        let socket = DatagramSocket::taken_over(socket.into())?;
        if shared {
            socket.deafen();
            socket.share_port(false)?;
        }
        Ok(socket)
    }

    /// Takes over a socket that another process has bound and holds as well, and sets its options.
    pub fn over(socket: UdpSocket) -> io::Result<DatagramSocket> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        options::as_forwarder(&socket)?;
        SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER)?;
        let bound = socket.local_addr()?;
        Ok(DatagramSocket {
            socket,
            state,
            bound,
            inherited: true,
            deaf: AtomicBool::new(false),
            transparent: AtomicBool::new(false),
        })
    }

    /// Takes over a socket that no other process has, or not for long. Sets its options.
    pub fn taken_over(socket: UdpSocket) -> io::Result<DatagramSocket> {
        Ok(DatagramSocket { inherited: false, ..DatagramSocket::over(socket)? })
    }

    /// Stops hearing clients, but for what has arrived already: connects the socket to itself, so the kernel finds it for
    /// no other sender. Answers can still be sent. Does nothing to an inherited socket.
    pub fn deafen(&self) {
        let (port, v6) = (self.bound.port(), self.bound.is_ipv6());
        let own =
            SocketAddr::new(if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }, port);
        if !self.inherited && !self.deaf.swap(true, Ordering::Relaxed) {
            // Without a loopback interface it goes on hearing, and what it hears is still handed on.
            let _ = rustix::net::connect(&self.socket, &own);
        }
    }

    /// Hears clients again after [`DatagramSocket::deafen`]. Of two sockets that rank alike in the kernel (`[::]` for both
    /// families and for IPv6 alone), it now comes first: udp_lib_rehash() puts it at the head of its list.
    pub fn hear(&self) {
        if self.deaf.swap(false, Ordering::Relaxed) {
            // Fails on no socket that is bound.
            let _ = rustix::net::connect_unspec(&self.socket);
        }
    }

    /// Lets another socket of this process bind an address that this one covers. The caller must switch this off again
    /// at once.
    pub fn share_port(&self, on: bool) -> io::Result<()> {
        SockRef::from(&self.socket).set_reuse_port(on)
    }

    /// Hears from now on what is sent to other addresses too, at the same port, which a TPROXY rule leads to the socket; answers
    /// leave from there. Fails without CAP_NET_RAW and CAP_NET_ADMIN.
    pub fn be_transparent(&self) -> io::Result<()> {
        set_transparent(&SockRef::from(&self.socket))?;
        self.transparent.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether it has one address only.
    fn is_of_one(&self) -> bool {
        !self.bound.ip().is_unspecified() && !self.transparent.load(Ordering::Relaxed)
    }

    /// The local address that a client wrote to, which may be one of many hosts. The wildcard if it is unknown.
    pub fn local(&self, segments: &Segments<'_>) -> IpAddr {
        segments.to.filter(|_| !self.is_of_one()).unwrap_or(self.bound.ip().to_canonical())
    }

    /// Which address an answer must name as its own, if the client wrote to `local`. `None`: the kernel chooses, because
    /// the socket has only one, or because no answer can leave from a broadcast or multicast address. A directed
    /// broadcast (10.0.0.255) looks like any address ([`is_broadcast`]).
    pub fn source(&self, local: IpAddr) -> Option<IpAddr> {
        let broadcast = matches!(local, IpAddr::V4(v4) if v4.is_broadcast());
        let own = !self.is_of_one() && !local.is_unspecified();
        (own && !local.is_multicast() && !broadcast).then_some(local)
    }

    /// Whether another process holds the same socket.
    pub fn is_inherited(&self) -> bool {
        self.inherited
    }

    /// The address that the socket is bound to.
    pub fn addr(&self) -> SocketAddr {
        self.bound
    }

    /// Sends to a client. `from` is the local address to send from, by [`DatagramSocket::source`].
    pub fn send(&self, segments: &Segments<'_>, client: SocketAddr, from: Option<IpAddr>) -> Sent {
        let client = match client.ip() {
            IpAddr::V4(ip) if self.bound.is_ipv6() => (ip.to_ipv6_mapped(), client.port()).into(),
            _ => client,
        };
        let plain = from.is_none() && segments.ecn.is_none();
        self.send_each(segments, |data, segment| {
            if plain && segment.is_none() {
                return whole(rustix::net::sendto(&self.socket, data, SendFlags::NOSIGNAL, &client));
            }
            let transmit = Transmit {
                destination: client,
                ecn: segments.ecn,
                contents: data,
                segment_size: segment,
                src_ip: from,
            };
            self.state.try_send(UdpSockRef::from(&self.socket.as_fd()), &transmit)
        })
    }

    /// Sends through a session's connected socket. `peer` is the address that it is connected to.
    ///
    /// `dscp`: the class of service of that socket. quinn writes a class of its own, 0, beside each congestion mark and to
    /// each run: then each datagram goes by itself, in the class of the socket, which has the mark.
    pub fn send_through(
        &self,
        socket: &OwnedFd,
        segments: &Segments<'_>,
        peer: SocketAddr,
        dscp: Option<Dscp>,
    ) -> Sent {
        if let Some(dscp) = dscp {
            let ecn = segments.ecn.map_or(0, |ecn| ecn as u8);
            // Fails on no socket that has had its class set before.
            drop(set_class(&SockRef::from(socket), dscp.byte(ecn), peer.is_ipv4()));
            return Self::send_alone(segments, |data| {
                whole(rustix::net::send(socket, data, SendFlags::NOSIGNAL))
            });
        }
        self.send_each(segments, |data, segment| {
            if segments.ecn.is_none() && segment.is_none() {
                return whole(rustix::net::send(socket, data, SendFlags::NOSIGNAL));
            }
            let transmit = Transmit {
                destination: peer,
                ecn: segments.ecn,
                contents: data,
                segment_size: segment,
                src_ip: None,
            };
            self.state.try_send(UdpSockRef::from(&socket.as_fd()), &transmit)
        })
    }

    /// Sends a run in one call, or datagram by datagram if the kernel or the path does not take it in one.
    fn send_each(
        &self,
        segments: &Segments<'_>,
        mut send: impl FnMut(&[u8], Option<usize>) -> io::Result<()>,
    ) -> Sent {
        // quinn remembers a kernel that has refused such a run.
        if segments.datagrams > 1 && self.state.max_gso_segments() > 1 {
            match send(segments.data, Some(segments.segment)) {
                Ok(()) => {
                    let sent = Volume { datagrams: segments.datagrams, bytes: segments.data.len() as u64 };
                    return Sent { sent, failed: None };
                }
                Err(error) if !is_of_offload(&error) => {
                    return Sent { failed: Some((segments.datagrams, error)), ..Sent::default() };
                }
                Err(_) => {}
            }
        }
        Self::send_alone(segments, |datagram| send(datagram, None))
    }

    /// Sends a run datagram by datagram.
    fn send_alone(segments: &Segments<'_>, mut send: impl FnMut(&[u8]) -> io::Result<()>) -> Sent {
        let mut result = Sent::default();
        for datagram in segments.each() {
            match send(datagram) {
                Ok(()) => {
                    result.sent += Volume { datagrams: 1, bytes: datagram.len() as u64 };
                }
                Err(error) => match &mut result.failed {
                    Some((count, _)) => *count += 1,
                    None => result.failed = Some((1, error)),
                },
            }
        }
        result
    }

    /// Receives what is there into the batch: fills at most `most` buffers. Fails as recvmmsg(2) does, also with
    /// `WouldBlock`.
    pub fn receive(&self, batch: &mut Batch, most: usize) -> io::Result<usize> {
        batch.receive(&self.state, self.socket.as_fd(), most)
    }

    /// How many datagrams the kernel has dropped because its queue for this socket was full. A system call.
    pub fn overflowed(&self) -> u64 {
        // Fails before Linux 4.12 only.
        crate::net::options::dropped(&self.socket).map_or(0, u64::from)
    }

    /// As [`DatagramSocket::receive`], from a session's socket.
    pub fn receive_from(&self, socket: &OwnedFd, batch: &mut Batch, most: usize) -> io::Result<usize> {
        batch.receive(&self.state, socket.as_fd(), most)
    }
}

impl AsFd for DatagramSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Opens a socket for a client that is connected to one address, from its source if there is one: the kernel reports refusals on
/// it, and delivers datagrams from nobody else, not even from itself.
pub fn connect(addr: SocketAddr, source: Option<&Source>, client: OfClient) -> io::Result<OwnedFd> {
    if addr.ip().is_multicast() {
        return Err(io::Error::other("it is a multicast address, and an upstream is one host"));
    }
    to_another(addr, |addr| session(addr, source, client))
}

fn to_another(
    addr: SocketAddr,
    connected: impl Fn(SocketAddr) -> io::Result<OwnedFd>,
) -> io::Result<OwnedFd> {
    let socket = connected(addr)?;
    if !itself::is_with_itself(&socket, addr) {
        return Ok(socket);
    }
    // While the first one lives, the kernel gives the second another port. Then nobody has the first one's port, and
    // what is sent there is refused.
    let other = connected(addr)?;
    drop(socket);
    Ok(other)
}

fn session(addr: SocketAddr, source: Option<&Source>, client: OfClient) -> io::Result<OwnedFd> {
    let socket = RawSocket::new(Domain::for_address(addr), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    options::as_session(&socket, addr.is_ipv4());
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    if let Some(source) = source {
        begin_at(&socket, source, addr, Some(client))?;
    }
    match socket.connect(&addr.into()) {
        Ok(()) => Ok(socket.into()),
        Err(error) => match addr.ip() {
            IpAddr::V4(ip) if is_broadcast(ip) => {
                Err(io::Error::other("it is a broadcast address, and an upstream is one host"))
            }
            _ => Err(connect_error(error, source, Some(client))),
        },
    }
}

/// Whether an address is one of broadcast in a network of this host: only netmasks can tell, and the kernel has them. An
/// answer from it would fail with EINVAL, and quinn would then do without GSO and ECN for good.
pub fn is_broadcast(ip: Ipv4Addr) -> bool {
    // Any port: nothing is sent.
    let addr = SocketAddr::from((ip, 9));
    let socket = RawSocket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP));
    let allowed = |socket: &RawSocket, on| {
        socket.set_broadcast(on).and_then(|()| socket.connect(&addr.into())).map_err(|error| error.kind())
    };
    socket.is_ok_and(|socket| {
        allowed(&socket, false) == Err(io::ErrorKind::PermissionDenied) && allowed(&socket, true).is_ok()
    })
}

/// Whether a datagram waits in a session's socket.
pub fn has_any(socket: &OwnedFd) -> bool {
    rustix::net::recv(socket, &mut [0; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT).is_ok()
}

/// Opens a socket for a health check of one address. The kernel reports every refusal on it, also that of a router.
pub fn connect_to_check(addr: SocketAddr, source: Option<&Source>) -> io::Result<tokio::net::UdpSocket> {
    let socket = to_another(addr, |addr| {
        let socket =
            RawSocket::new(Domain::for_address(addr), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        options::as_check(&socket, addr.is_ipv4())?;
        if let Some(source) = source {
            begin_at(&socket, source, addr, None)?;
        }
        socket.connect(&addr.into())?;
        Ok(socket.into())
    })?;
    tokio::net::UdpSocket::from_std(socket.into())
}

fn open(addr: SocketAddr, v6_only: bool, shared: bool) -> io::Result<RawSocket> {
    let socket = RawSocket::new(Domain::for_address(addr), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    // No SO_REUSEADDR: with UDP it would let two programs bind one address.
    socket.set_reuse_port(shared)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

fn whole(sent: rustix::io::Result<usize>) -> io::Result<()> {
    Ok(sent.map(drop)?)
}
