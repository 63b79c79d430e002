//! Names to addresses, and the order in which to try them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

/// Every address of a name, in the order to be tried. The system's resolver decides (`getaddrinfo`: `/etc/hosts`, NSS,
/// DNS), so Portway sees what every other program of the host sees.
pub async fn resolve(name: &str, port: u16, patience: Duration) -> io::Result<Vec<SocketAddr>> {
    let found = match timeout(patience, tokio::net::lookup_host((name, port))).await {
        Ok(found) => found?,
        Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "the resolver did not answer in time")),
    };
    let addrs = interleave(found.collect());
    if addrs.is_empty() {
        Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
    } else {
        Ok(addrs)
    }
}

/// Alternates the families, beginning with that of the first address (RFC 8305, section 4), so that a family that
/// leads nowhere costs one attempt's delay and not one for each of its addresses. Repetitions are dropped.
fn interleave(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut unique: Vec<SocketAddr> = Vec::with_capacity(found.len());
    for addr in found {
        if !unique.contains(&addr) {
            unique.push(addr);
        }
    }
    let first_is_v6 = unique.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<SocketAddr>, Vec<SocketAddr>) =
        unique.iter().copied().partition(|addr| addr.is_ipv6() == first_is_v6);
    let mut first = first.into_iter();
    let mut second = second.into_iter();
    let mut order = Vec::with_capacity(unique.len());
    while order.len() < unique.len() {
        order.extend(first.next());
        order.extend(second.next());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_from_that_of_the_first_answer() {
        let addrs = |text: &str| text.split(' ').map(|a| a.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let found = addrs("[::1]:1 [::2]:1 [::3]:1 1.1.1.1:1 [::1]:1 2.2.2.2:1");
        assert_eq!(interleave(found), addrs("[::1]:1 1.1.1.1:1 [::2]:1 2.2.2.2:1 [::3]:1"));
        assert_eq!(interleave(Vec::new()), Vec::new());
    }
}
