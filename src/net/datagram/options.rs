//! Options of UDP sockets.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;

use crate::net::options::set;

/// Undoes what quinn sets and a forwarder does not want: a datagram that is too large for the path is sent in
/// fragments, as its sender would have sent it, and receive timestamps are off.
pub(super) fn as_forwarder(socket: &UdpSocket) -> io::Result<()> {
    // Also on an IPv6 socket: it may be dual-stack.
    drop(set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_WANT));
    if socket.local_addr()?.is_ipv6() {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_WANT)?;
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 0)?;
    }
    set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 0)
}

/// Asks for merged datagrams (GRO) and their ECN marks. Forwarding works on a kernel without them too, so errors are
/// ignored.
pub(super) fn as_session(socket: &impl AsFd, v4: bool) {
    drop(set(socket, libc::SOL_UDP, libc::UDP_GRO, 1));
    drop(if v4 {
        set(socket, libc::IPPROTO_IP, libc::IP_RECVTOS, 1)
    } else {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)
    });
}

/// Asks for every ICMP error (ip(7), IP_RECVERR). Without it the kernel reports only that a port or a protocol is
/// unreachable, and not that a host or a network is.
pub(super) fn as_check(socket: &impl AsFd, v4: bool) -> io::Result<()> {
    match v4 {
        true => set(socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1),
        false => set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1),
    }
}
