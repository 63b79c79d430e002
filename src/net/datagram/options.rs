//! Options of UDP sockets.

#![allow(unsafe_code, reason = "no kept crate sets IP_MTU_DISCOVER, UDP_GRO or SO_TIMESTAMPNS")]

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd};

/// What a forwarder wants otherwise than quinn: a datagram that is too large for the way is sent in fragments, as its sender
/// would have sent it, and nobody asks when it came.
pub(super) fn as_forwarder(socket: &UdpSocket) -> io::Result<()> {
    // Also of an IPv6 socket: it may be a dual-stack one.
    drop(set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_WANT));
    if socket.local_addr()?.is_ipv6() {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_WANT)?;
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 0)?;
    }
    set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 0)
}

/// Datagrams in one piece where they came so, and their ECN marks. A kernel without them forwards all the same.
pub(super) fn as_session(socket: &impl AsFd, v4: bool) {
    drop(set(socket, libc::SOL_UDP, libc::UDP_GRO, 1));
    drop(if v4 {
        set(socket, libc::IPPROTO_IP, libc::IP_RECVTOS, 1)
    } else {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)
    });
}

fn set(socket: &impl AsFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    let size = libc::socklen_t::try_from(size_of::<i32>()).unwrap_or_default();
    // SAFETY: the kernel reads `size` bytes of `value`, which is that large, and keeps no pointer to it.
    let answer = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
