//! Notices that the clients of a route cannot be distinguished, because all come from the gateway of our own network. A
//! container sees them that way if its ports are published through a userland proxy, or if they are behind a NAT.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tracing::warn;

use crate::model::Peer;

/// This many clients through the gateway, and no others, are no coincidence.
const ENOUGH: u32 = 20;
/// Nothing more can be learned about a route.
const SETTLED: u32 = u32::MAX;

/// The gateways of this network that have a private address. Read once, for the first client.
#[derive(Debug, Default)]
pub(super) struct Gateways {
    known: OnceLock<Vec<IpAddr>>,
}

impl Gateways {
    fn contains(&self, ip: IpAddr) -> bool {
        let known = self.known.get_or_init(|| {
            // Without /proc there is no hint.
            let read = |path| std::fs::read_to_string(path).unwrap_or_default();
            let mut found = v4(&read("/proc/self/net/route"));
            found.extend(v6(&read("/proc/self/net/ipv6_route")));
            found.retain(|ip| is_private(*ip));
            found
        });
        known.contains(&ip)
    }
}

/// How many clients of one route have come through a gateway. [`SETTLED`] once another one came, or after the warning.
#[derive(Debug, Default)]
pub(super) struct Origins {
    through: AtomicU32,
}

impl Origins {
    /// Notes a client of a route. Warns once if all of them come through a gateway.
    pub fn note(&self, client: &Peer, route: &str, gateways: &Gateways) {
        let through = self.through.load(Ordering::Relaxed);
        let Peer::Ip(addr) = client else { return };
        let ip = addr.ip();
        // A connection from this host says nothing about clients.
        if through == SETTLED || ip.is_loopback() {
            return;
        }
        let more = if gateways.contains(ip) { through + 1 } else { SETTLED };
        let settled = if more >= ENOUGH { SETTLED } else { more };
        // If two clients come at once, one may go uncounted. Then the next one counts.
        let counted = self.through.compare_exchange(through, settled, Ordering::Relaxed, Ordering::Relaxed);
        if counted.is_ok() && more == ENOUGH {
            warn!(
                route,
                gateway = %ip,
                "every client comes from the gateway of this network, which hides who it is from `allow`, `deny`, limits \
                 and logs: in a container use the host's network (--network host), publish its ports without the userland \
                 proxy (Docker: \"userland-proxy\": false), or accept the PROXY protocol from a proxy before it"
            );
        }
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private(),
        // Unique local addresses (RFC 4193).
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

/// The gateways of the default routes in `/proc/net/route`: destination and gateway are the second and the third
/// column, in host byte order.
fn v4(table: &str) -> Vec<IpAddr> {
    let routes = table.lines().filter_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let (destination, gateway) = (columns.next()?, columns.next()?);
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        (destination == "00000000" && gateway != 0).then(|| Ipv4Addr::from(gateway.to_ne_bytes()).into())
    });
    routes.collect()
}

/// The same in `/proc/net/ipv6_route`: destination, its prefix length, source, its prefix length, gateway.
fn v6(table: &str) -> Vec<IpAddr> {
    let routes = table.lines().filter_map(|line| {
        let mut columns = line.split_whitespace();
        let (destination, prefix) = (columns.next()?, columns.next()?);
        let gateway = u128::from_str_radix(columns.nth(2)?, 16).ok()?;
        let default = prefix == "00" && destination.bytes().all(|digit| digit == b'0');
        (default && gateway != 0).then(|| Ipv6Addr::from_bits(gateway).into())
    });
    routes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_are_found_in_the_kernel_s_tables() {
        let gateway = u32::from_ne_bytes([172, 17, 0, 1]);
        let table = format!(
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
             eth0\t00000000\t{gateway:08X}\t0003\t0\t0\t0\t00000000\n\
             eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\n"
        );
        assert_eq!(v4(&table), [IpAddr::from([172, 17, 0, 1])]);
        let zeros = "0".repeat(32);
        let table = format!(
            "fd00{} 40 {zeros} 00 {zeros} 00000100 1 0 1 eth0\n\
             {zeros} 00 {zeros} 00 fd00{}1 00000400 2 0 3 eth0\n\
             {zeros} 00 {zeros} 00 {zeros} ffffffff 1 0 200200 lo\n",
            "0".repeat(28),
            "0".repeat(27)
        );
        assert_eq!(v6(&table), ["fd00::1".parse::<IpAddr>().unwrap()]);
        assert_eq!((v4("nonsense\n\n"), v6("a b c d e")), (vec![], vec![]));
    }

    #[test]
    fn t20_a_gateway_of_a_private_network_is_one_and_no_other_is() {
        for (ip, private) in [
            ("10.0.0.1", true),
            ("172.17.0.1", true),
            ("172.31.255.254", true),
            ("192.168.1.1", true),
            ("fd00::1", true),
            ("fc00::1", true),
            ("172.32.0.1", false),
            ("192.0.2.1", false),
            ("100.64.0.1", false),
            ("fe80::1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_private(ip.parse().unwrap()), private, "{ip}");
        }
    }
}
