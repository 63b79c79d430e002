//! Connecting to one address.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout;

use super::tcp::Tcp;
use super::{Socket, plain};
use crate::model::{Peer, UpstreamAddr};

/// How to dial.
#[derive(Clone, Copy, Debug)]
pub struct DialOptions {
    /// For the attempt.
    pub timeout: Duration,
    /// TCP keepalive of the new socket.
    pub keepalive: Option<Duration>,
}

/// Why an upstream could not be connected.
#[derive(Debug)]
pub enum DialError {
    /// A name: its addresses are dialled, each by itself.
    Name,
    /// The address failed.
    Connect(Peer, io::Error),
}

impl DialError {
    /// What the system said, if it was asked.
    pub fn error(&self) -> Option<&io::Error> {
        match self {
            DialError::Name => None,
            DialError::Connect(_, error) => Some(error),
        }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Name => f.write_str("a name is not dialled, but its addresses"),
            DialError::Connect(peer, error) => write!(f, "{peer}: {}", plain(error)),
        }
    }
}

impl std::error::Error for DialError {}

/// Connects to one upstream. Dropping the future ends every attempt.
pub async fn dial(upstream: &UpstreamAddr, options: DialOptions) -> Result<(Socket, Peer), DialError> {
    // Boxed, all but the leanest: a task is as large as its largest branch.
    match upstream {
        UpstreamAddr::Ip(addr) => match attempt(*addr, options).await {
            Ok(stream) => Ok(connected(*addr, stream)),
            Err(error) => Err(DialError::Connect(Peer::from_ip(*addr), error)),
        },
        UpstreamAddr::Name(..) => Err(DialError::Name),
        UpstreamAddr::Unix(path) => {
            let peer = Peer::Unix(Some(path.clone()));
            let attempt = Box::pin(timeout(options.timeout, UnixStream::connect(path)));
            match attempt.await.unwrap_or_else(|_| Err(timed_out())) {
                Ok(stream) => Ok((Socket::Unix(stream), peer)),
                Err(error) => Err(DialError::Connect(peer, error)),
            }
        }
    }
}

fn connected(addr: SocketAddr, stream: Tcp) -> (Socket, Peer) {
    (Socket::Tcp(stream), Peer::from_ip(addr))
}

async fn attempt(addr: SocketAddr, options: DialOptions) -> io::Result<Tcp> {
    timeout(options.timeout, Tcp::connect(addr, options.keepalive)).await.unwrap_or_else(|_| Err(timed_out()))
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}
