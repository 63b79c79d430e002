//! Names to addresses.

use std::io;
use std::net::IpAddr;

/// Every address of a name, each once, in the order in which the system's resolver would have them tried
/// (`getaddrinfo`: `/etc/hosts`, NSS, DNS; RFC 6724), so Portway sees what every other program of the host sees. It
/// takes as long as that takes, on a thread of its own that cannot be called off.
pub async fn look_up(name: &str) -> io::Result<Vec<IpAddr>> {
    let mut unique: Vec<IpAddr> = Vec::new();
    for addr in tokio::net::lookup_host((name, 0)).await? {
        let ip = addr.ip();
        if !unique.contains(&ip) {
            unique.push(ip);
        }
    }
    Ok(unique)
}
