//! UDP sockets: many datagrams per call where the kernel supports it (recvmmsg, GRO, GSO). No datagram is truncated,
//! none is reordered within a flow, and answers leave from the address that the client wrote to.
//!
//! Nothing here waits for a single socket: [`Poller`] says which ones are readable, and every call returns at once.

mod batch;
mod options;
mod poller;

pub use batch::{Batch, Segments};
pub use poller::{Poller, Ready};

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use rustix::io::Errno;
use rustix::net::SendFlags;
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};

use crate::model::ListenAddr;
use crate::model::addr::WILDCARDS;
use crate::net::itself;
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
    /// Binds an address. `shared`: another socket covers it and shares its port ([`DatagramSocket::share_port`]).
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
        socket.set_reuse_port(false)?;
        DatagramSocket::over(socket.into())
    }

    /// Takes over a socket that is bound already, and sets its options.
    pub fn over(socket: UdpSocket) -> io::Result<DatagramSocket> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        options::as_forwarder(&socket)?;
        SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER)?;
        let bound = socket.local_addr()?;
        Ok(DatagramSocket { socket, state, bound })
    }

    /// Lets another socket of this process bind an address that this one covers. The caller must switch this off again
    /// at once.
    pub fn share_port(&self, on: bool) -> io::Result<()> {
        SockRef::from(&self.socket).set_reuse_port(on)
    }

    /// The local address that a client wrote to. `None` if the socket has only one, or for broadcast and multicast: no
    /// answer can leave from such an address.
    pub fn local(&self, segments: &Segments<'_>) -> Option<IpAddr> {
        let ip = segments.to.filter(|_| self.bound.ip().is_unspecified())?;
        let plain = ip.to_canonical();
        let broadcast = matches!(plain, IpAddr::V4(v4) if v4.is_broadcast());
        (!plain.is_multicast() && !broadcast).then_some(ip)
    }

    /// The address that the socket is bound to.
    pub fn addr(&self) -> SocketAddr {
        self.bound
    }

    /// Sends to a client. `from` is the local address to send from, if the socket has several.
    pub fn send(&self, segments: &Segments<'_>, client: SocketAddr, from: Option<IpAddr>) -> Sent {
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
    pub fn send_through(&self, socket: &OwnedFd, segments: &Segments<'_>, peer: SocketAddr) -> Sent {
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
        let mut result = Sent::default();
        // quinn remembers a kernel that has refused such a run.
        if segments.datagrams > 1 && self.state.max_gso_segments() > 1 {
            match send(segments.data, Some(segments.segment)) {
                Ok(()) => {
                    result.sent = Volume { datagrams: segments.datagrams, bytes: segments.data.len() as u64 };
                    return result;
                }
                Err(error) if !is_for_offload(&error) => {
                    result.failed = Some((segments.datagrams, error));
                    return result;
                }
                Err(_) => {}
            }
        }
        for datagram in segments.each() {
            match send(datagram, None) {
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

/// Opens a socket that is connected to one address: the kernel reports refusals on it, and delivers datagrams from
/// nobody else, not even from itself.
pub fn connect(addr: SocketAddr) -> io::Result<OwnedFd> {
    to_another(addr, session)
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

fn session(addr: SocketAddr) -> io::Result<OwnedFd> {
    let socket = RawSocket::new(Domain::for_address(addr), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    options::as_session(&socket, addr.is_ipv4());
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.connect(&addr.into())?;
    Ok(socket.into())
}

/// Opens a socket for a health check of one address. The kernel reports every refusal on it, also that of a router.
pub fn connect_to_check(addr: SocketAddr) -> io::Result<tokio::net::UdpSocket> {
    let socket = to_another(addr, |addr| {
        let socket =
            RawSocket::new(Domain::for_address(addr), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        options::as_check(&socket, addr.is_ipv4())?;
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

/// Whether an error may come from the offload alone: no support (EIO, EINVAL), or a path that is narrower than a
/// segment.
fn is_for_offload(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::IO | Errno::INVAL | Errno::MSGSIZE | Errno::OPNOTSUPP))
}
