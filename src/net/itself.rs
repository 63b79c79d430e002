//! Finds sockets that the kernel has connected to themselves.
//!
//! A socket that connects is given a port of `ip_local_port_range`. If that is the very port that it asks for, at an
//! address of this host, then TCP connects to itself (a simultaneous open, RFC 9293, section 3.5), and a UDP socket hears
//! what it sends. Either means that nobody else is there.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;
use socket2::SockRef;
use tokio::time::Instant;

/// How long a thread trusts the range of ports that it has read: an administrator may change it at any time.
const TRUSTED: Duration = Duration::from_secs(10);
/// The kernel's range, if it cannot be read: any port.
const ANY: RangeInclusive<u16> = 0..=u16::MAX;

thread_local! {
    static RANGE: Cell<Option<(Instant, u16, u16)>> = const { Cell::new(None) };
}

/// Passes a stream on that is connected to `peer`. Resets one that is connected to itself, and fails as for a port on
/// which nobody listens. Costs one system call, and only if the port is in the range that the kernel chooses from.
pub fn with_another<S: AsFd>(stream: S, peer: SocketAddr) -> io::Result<S> {
    if !is_with_itself(&stream, peer) {
        return Ok(stream);
    }
    // Without this its port would be in TIME-WAIT, and the service whose port it is could not listen.
    drop(SockRef::from(&stream).set_linger(Some(Duration::ZERO)));
    Err(Errno::CONNREFUSED.into())
}

/// Whether a socket that is connected to `peer` is connected to itself.
pub fn is_with_itself(socket: &impl AsFd, peer: SocketAddr) -> bool {
    if !is_chosen_by_the_kernel(peer.port()) {
        return false;
    }
    let local = rustix::net::getsockname(socket).ok().and_then(|addr| SocketAddr::try_from(addr).ok());
    local.is_some_and(|local| local.port() == peer.port() && local.ip().to_canonical() == reached(peer.ip()))
}

/// The address that a connect to this one reaches: Linux takes the unspecified address for the loopback address.
pub fn reached(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// Whether the kernel may give this port to a socket that connects. Both families share one range.
fn is_chosen_by_the_kernel(port: u16) -> bool {
    let now = Instant::now();
    let known = RANGE.get().filter(|(read, ..)| now.duration_since(*read) < TRUSTED);
    let (_, first, last) = known.unwrap_or_else(|| {
        let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        let (first, last) = text.ok().and_then(|text| range(&text)).unwrap_or(ANY).into_inner();
        RANGE.set(Some((now, first, last)));
        (now, first, last)
    });
    (first..=last).contains(&port)
}

/// The range in the kernel's text: the first and the last port.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut ports = text.split_whitespace().map(|port| port.parse::<u16>().ok());
    Some(ports.next()??..=ports.next()??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_text_of_a_range_is_read() {
        assert_eq!(range("32768\t60999\n"), Some(32768..=60999));
        assert_eq!((range(""), range("1"), range("a b"), range("1 70000")), (None, None, None, None));
    }

    #[test]
    fn the_unspecified_address_reaches_the_loopback_address() {
        let reaches = |text: &str| reached(text.parse().unwrap()).to_string();
        assert_eq!((reaches("0.0.0.0"), reaches("::")), ("127.0.0.1".into(), "::1".into()));
        assert_eq!((reaches("::ffff:10.0.0.1"), reaches("fe80::1")), ("10.0.0.1".into(), "fe80::1".into()));
    }
}
