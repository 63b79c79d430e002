//! One active health check of an upstream. It begins as a client's connection begins: PROXY header, TLS; then it takes
//! its steps, and ends as a client that is done.

mod datagram;
mod finding;
mod stream;

use std::net::SocketAddr;

use super::dial::Reach;
use crate::model::{HealthCheck, Protocol, UpstreamAddr};

pub use finding::{CheckError, Finding, Opening};

/// Checks once, within the check's timeout.
///
/// The header and TLS are for the upstream's own port: a separate port for checks is checked without both.
pub async fn check(
    upstream: &UpstreamAddr,
    protocol: Protocol,
    how: &HealthCheck,
    opening: Opening<'_>,
) -> Finding {
    let opening = match how.port {
        None => opening,
        Some(_) => Opening { header: &[], reach: Reach { tls: None, ..opening.reach }, ..opening },
    };
    match (protocol, at_port(upstream, how.port)) {
        // Nobody checks both at once.
        (Protocol::Tcp | Protocol::TcpUdp, upstream) => stream::check(&upstream, how, opening).await,
        (Protocol::Udp, UpstreamAddr::Ip(addr)) => {
            Finding { result: datagram::check(addr, how, opening).await, connection: None }
        }
        // No UDP route has another upstream.
        (Protocol::Udp, upstream) => Finding::failed(format!("{upstream} takes no datagrams")),
    }
}

fn at_port(upstream: &UpstreamAddr, port: Option<u16>) -> UpstreamAddr {
    match (upstream, port) {
        (UpstreamAddr::Ip(addr), Some(port)) => UpstreamAddr::Ip(SocketAddr::new(addr.ip(), port)),
        _ => upstream.clone(),
    }
}
