//! What a failed step means, for someone at three in the morning.

use std::io::{self, ErrorKind};
use std::time::Duration;

use crate::model::{UpstreamAddr, units};

/// Why a connection, or a datagram, did not reach its peer; `limit` is how long it had.
pub(super) fn unreached(addr: &UpstreamAddr, error: &io::Error, limit: Duration) -> String {
    let unix = matches!(addr, UpstreamAddr::Unix(_));
    match error.kind() {
        ErrorKind::ConnectionRefused if unix => {
            "connection refused: the socket's file is there, but no program listens on it".into()
        }
        ErrorKind::ConnectionRefused => {
            "connection refused: nothing listens there (or a firewall rejects it)".into()
        }
        ErrorKind::NotFound if unix => "there is no such file: is the program running?".into(),
        ErrorKind::PermissionDenied if unix => {
            "permission denied: see the rights of the file and its folders".into()
        }
        ErrorKind::PermissionDenied => "permission denied: a firewall rule of this host forbids it".into(),
        ErrorKind::NetworkUnreachable => {
            "network unreachable: this host has no route to that address (see `ip route`)".into()
        }
        ErrorKind::HostUnreachable => {
            "host unreachable: no host answers for that address, or a router rejects it".into()
        }
        ErrorKind::ConnectionReset => "connection reset: the peer took it and cut it at once".into(),
        ErrorKind::AddrNotAvailable => "this host has no address or no free port to connect from".into(),
        ErrorKind::TimedOut if unix => {
            format!("no answer within {}: the program does not take its connections", units::show(limit))
        }
        ErrorKind::TimedOut if error.raw_os_error().is_none() => {
            format!(
                "no answer within {}: the host is down, or a firewall drops the packets",
                units::show(limit)
            )
        }
        // ETIMEDOUT: the kernel's patience was shorter than ours.
        ErrorKind::TimedOut => "no answer: the host is down, or a firewall drops the packets".into(),
        _ if unix && error.raw_os_error() == Some(rustix::io::Errno::PROTOTYPE.raw_os_error()) => {
            "it is a datagram socket, not a stream socket".into()
        }
        _ => error.to_string(),
    }
}

/// Why a name has no address; `limit` is how long the resolver had.
pub(super) fn unresolved(error: &io::Error, limit: Duration) -> String {
    if error.kind() == ErrorKind::TimedOut {
        return format!(
            "no answer within {}: check the name servers in /etc/resolv.conf",
            units::show(limit)
        );
    }
    let text = error.to_string();
    // Without std's own words, which precede those of getaddrinfo(3).
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    format!("{text}: check the spelling, /etc/hosts, and the name servers in /etc/resolv.conf")
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn each_error_says_what_it_means() {
        let (host, unix) =
            (UpstreamAddr::Ip(([10, 0, 0, 1], 80).into()), UpstreamAddr::Unix("/run/x".into()));
        for (addr, errno, expected) in [
            (
                &unix,
                Errno::CONNREFUSED,
                "connection refused: the socket's file is there, but no program listens on it",
            ),
            (
                &host,
                Errno::CONNREFUSED,
                "connection refused: nothing listens there (or a firewall rejects it)",
            ),
            (&unix, Errno::NOENT, "there is no such file: is the program running?"),
            (&host, Errno::NOENT, "No such file or directory (os error 2)"),
            (&unix, Errno::ACCESS, "permission denied: see the rights of the file and its folders"),
            (&host, Errno::ACCESS, "permission denied: a firewall rule of this host forbids it"),
            (
                &host,
                Errno::NETUNREACH,
                "network unreachable: this host has no route to that address (see `ip route`)",
            ),
            (
                &host,
                Errno::HOSTUNREACH,
                "host unreachable: no host answers for that address, or a router rejects it",
            ),
            (&host, Errno::CONNRESET, "connection reset: the peer took it and cut it at once"),
            (&host, Errno::ADDRNOTAVAIL, "this host has no address or no free port to connect from"),
            // The kernel's patience was shorter than ours.
            (&host, Errno::TIMEDOUT, "no answer: the host is down, or a firewall drops the packets"),
            (&unix, Errno::PROTOTYPE, "it is a datagram socket, not a stream socket"),
            (&host, Errno::PROTOTYPE, "Protocol wrong type for socket (os error 91)"),
        ] {
            assert_eq!(unreached(addr, &errno.into(), Duration::from_secs(5)), expected);
        }
        let late = || io::Error::from(ErrorKind::TimedOut);
        let unreached = |addr| unreached(addr, &late(), Duration::from_secs(5));
        assert_eq!(
            unreached(&host),
            "no answer within 5s: the host is down, or a firewall drops the packets"
        );
        assert_eq!(unreached(&unix), "no answer within 5s: the program does not take its connections");
        assert_eq!(
            unresolved(&late(), Duration::from_secs(5)),
            "no answer within 5s: check the name servers in /etc/resolv.conf"
        );
    }
}
