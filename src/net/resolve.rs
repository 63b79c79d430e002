//! Resolves names to addresses.

use std::io;
use std::net::IpAddr;

/// The addresses of a name, each once, in the order that the system's resolver prefers (`getaddrinfo`: `/etc/hosts`,
/// NSS, DNS; RFC 6724), so Portway sees what every other program of the host sees. Has no timeout of its own; the
/// lookup runs on a separate thread and cannot be cancelled.
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
