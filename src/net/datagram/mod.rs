//! UDP sockets: many datagrams to a call where the kernel has it (recvmmsg, GRO, GSO), none cut, none reordered within a
//! flow, and answers from the very address that was written to.
//!
//! Nothing here waits for one socket: [`Poller`] says which have something, and every call returns at once.

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
use crate::state::Volume;

/// Room for datagrams while their reader is busy. The kernel cuts it to `net.core.rmem_max`, and takes memory only for what
/// waits there.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The socket of a listener.
#[derive(Debug)]
pub struct DatagramSocket {
    socket: UdpSocket,
    state: UdpSocketState,
    /// Where it is bound. Of several addresses, an answer must say from which it leaves.
    bound: SocketAddr,
}

/// What became of datagrams that were to be sent.
#[derive(Debug, Default)]
pub struct Sent {
    /// Datagrams and bytes that left.
    pub sent: Volume,
    /// Datagrams that could not, and the first reason.
    pub failed: Option<(u64, io::Error)>,
}

impl Sent {
    /// Both together.
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
    /// Takes an address. `shared`: beside a socket that shares its port ([`DatagramSocket::share_port`]).
    pub fn bind(addr: &ListenAddr, shared: bool) -> io::Result<DatagramSocket> {
        let socket = match addr {
            ListenAddr::Any(port) => match open((WILDCARDS.1, *port).into(), false, shared) {
                // A host without IPv6: its every interface is an IPv4 one.
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

    /// Over a socket that is bound.
    pub fn over(socket: UdpSocket) -> io::Result<DatagramSocket> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        options::as_forwarder(&socket)?;
        SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER)?;
        let bound = socket.local_addr()?;
        Ok(DatagramSocket { socket, state, bound })
    }

    /// Lets another socket of this process bind an address that this one covers. To be switched off again at once.
    pub fn share_port(&self, on: bool) -> io::Result<()> {
        SockRef::from(&self.socket).set_reuse_port(on)
    }

    /// The address that a client has written to, where the socket has several. A broadcast cannot be answered from its
    /// own address.
    pub fn local(&self, segments: &Segments<'_>) -> Option<IpAddr> {
        let ip = segments.to.filter(|_| self.bound.ip().is_unspecified())?;
        let plain = ip.to_canonical();
        let broadcast = matches!(plain, IpAddr::V4(v4) if v4.is_broadcast());
        (!plain.is_multicast() && !broadcast).then_some(ip)
    }

    /// Where it is bound.
    pub fn addr(&self) -> SocketAddr {
        self.bound
    }

    /// Sends to a client, from an address of the socket where it has several.
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

    /// Sends through the connected socket of a session, whose peer this is.
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

    /// Sends a segments in one call; and, where the kernel or the way does not take it so, each of its datagrams.
    fn send_each(
        &self,
        segments: &Segments<'_>,
        mut send: impl FnMut(&[u8], Option<usize>) -> io::Result<()>,
    ) -> Sent {
        let mut result = Sent::default();
        // quinn notes a kernel that has refused such a segments.
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

    /// Receives what is there into the batch, at most `most` calls' worth. Errors as recvmmsg(2), `WouldBlock` among them.
    pub fn receive(&self, batch: &mut Batch, most: usize) -> io::Result<usize> {
        batch.receive(&self.state, self.socket.as_fd(), most)
    }

    /// The same of a session's socket.
    pub fn receive_from(&self, socket: &OwnedFd, batch: &mut Batch, most: usize) -> io::Result<usize> {
        batch.receive(&self.state, socket.as_fd(), most)
    }
}

impl AsFd for DatagramSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A socket that is connected to one address: the kernel tells it of refusals, and lets in nobody else.
pub fn connect(addr: SocketAddr) -> io::Result<OwnedFd> {
    let socket = RawSocket::new(Domain::for_address(addr), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    options::as_session(&socket, addr.is_ipv4());
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.connect(&addr.into())?;
    Ok(socket.into())
}

fn open(addr: SocketAddr, v6_only: bool, shared: bool) -> io::Result<RawSocket> {
    let socket = RawSocket::new(Domain::for_address(addr), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    // No SO_REUSEADDR: of UDP it would let two programs have one address.
    socket.set_reuse_port(shared)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

fn whole(sent: rustix::io::Result<usize>) -> io::Result<()> {
    Ok(sent.map(drop)?)
}

/// Whether an error may come from the offload alone: no support (EIO, EINVAL), or a way that is narrower than a segment.
fn is_for_offload(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::IO | Errno::INVAL | Errno::MSGSIZE | Errno::OPNOTSUPP))
}
