//! The steps up to a connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::Instant;

use super::explain;
use super::steps::{Count, Since, Steps};
use crate::model::UpstreamAddr;
use crate::net::{self, itself};

/// A stream to the peer.
pub(super) enum Connected {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Resolves and connects, and reports each step. `None`: it could not, and that was reported.
pub(super) async fn stream(addr: &UpstreamAddr, limit: Duration, steps: &Steps) -> Option<Connected> {
    if let UpstreamAddr::Unix(path) = addr {
        let start = Instant::now();
        return match within(limit, UnixStream::connect(path)).await {
            Ok(stream) => {
                steps.say(format_args!("connected to {addr} in {}", Since(start)));
                Some(Connected::Unix(stream))
            }
            Err(error) => {
                let why = explain::unreached(addr, &error, limit);
                steps.error(format_args!("could not connect to {addr}: {why}"));
                None
            }
        };
    }
    let addrs = resolve(addr, limit, steps).await?;
    let start = Instant::now();
    let (stream, failed) = connect(&addrs, limit).await;
    for (addr, error) in &failed {
        let why = explain::unreached(&UpstreamAddr::Ip(*addr), error, limit);
        match stream {
            Some(_) => steps.say(format_args!("no connection to {addr}: {why}")),
            None => steps.error(format_args!("could not connect to {addr}: {why}")),
        }
    }
    let stream = stream?;
    // Without this a short line may wait for the answer to the one before.
    stream.set_nodelay(true).ok();
    if let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) {
        steps.say(format_args!("connected to {peer} from {local} in {}", Since(start)));
    }
    Some(Connected::Tcp(stream))
}

/// A connection to the first address that answers, and the addresses that failed, each with its reason.
async fn connect(addrs: &[SocketAddr], limit: Duration) -> (Option<TcpStream>, Vec<(SocketAddr, io::Error)>) {
    let mut failed = Vec::new();
    for addr in addrs {
        let connected = within(limit, TcpStream::connect(addr)).await;
        match connected.and_then(|stream| itself::with_another(stream, *addr)) {
            Ok(stream) => return (Some(stream), failed),
            Err(error) => failed.push((*addr, error)),
        }
    }
    (None, failed)
}

async fn within<T>(limit: Duration, task: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    net::within(limit, task).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The addresses of a name, in the resolver's order; an address stands for itself. `None`: there are none, and that was
/// reported.
pub(super) async fn resolve(addr: &UpstreamAddr, limit: Duration, steps: &Steps) -> Option<Vec<SocketAddr>> {
    let (name, port) = match addr {
        UpstreamAddr::Ip(addr) => return Some(vec![*addr]),
        UpstreamAddr::Name(name, port) => (name, *port),
        UpstreamAddr::Unix(_) | UpstreamAddr::Original => return None,
    };
    let start = Instant::now();
    match within(limit, lookup_host((name.as_str(), port))).await {
        Ok(found) => {
            let found: Vec<SocketAddr> = found.collect();
            let count = Count(found.len() as u64, "address", "addresses");
            let list = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            steps.say(format_args!("resolved {name} -> {count} in {}: {list}", Since(start)));
            Some(found)
        }
        Err(error) => {
            let why = explain::unresolved(&error, limit);
            steps.error(format_args!("could not resolve {name}: {why}"));
            None
        }
    }
}
