//! Connecting to one address.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::plain;
use super::tcp::Tcp;
use super::tls::{self, TlsConnector, TlsError};
use super::{Socket, Stream};
use crate::model::{Peer, UpstreamAddr};

/// How to dial.
#[derive(Clone, Copy, Debug)]
pub struct DialOptions<'a> {
    /// For the attempt, TLS included.
    pub timeout: Duration,
    /// TCP keepalive of the new socket.
    pub keepalive: Option<Duration>,
    /// What is sent before TLS begins, where it does.
    pub before_tls: &'a [u8],
}

/// The TLS that is to be spoken to an upstream.
#[derive(Clone, Copy, Debug)]
pub struct DialTls<'a> {
    /// How.
    pub connector: &'a TlsConnector,
    /// The name that it must have.
    pub name: &'a str,
}

/// Why an upstream could not be connected.
#[derive(Debug)]
pub enum DialError {
    /// A name: its addresses are dialled, each by itself.
    Name,
    /// The address failed.
    Connect(Peer, io::Error),
    /// It was connected, and there TLS failed.
    Tls(Peer, TlsError),
}

impl DialError {
    /// What the system said, if it was asked.
    pub fn error(&self) -> Option<&io::Error> {
        match self {
            DialError::Name => None,
            DialError::Connect(_, error) => Some(error),
            DialError::Tls(_, error) => error.io(),
        }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Name => f.write_str("a name is not dialled, but its addresses"),
            DialError::Connect(peer, error) => write!(f, "{peer}: {}", plain(error)),
            DialError::Tls(peer, error) => write!(f, "{peer}: TLS: {error}"),
        }
    }
}

impl std::error::Error for DialError {}

/// Connects to one upstream, and begins TLS there where that is wanted. Dropping the future ends every attempt.
pub async fn dial(
    upstream: &UpstreamAddr,
    options: DialOptions<'_>,
    tls: Option<DialTls<'_>>,
) -> Result<(Stream, Peer), DialError> {
    let ends = Instant::now() + options.timeout;
    let (socket, peer) = connect(upstream, options).await?;
    let Some(DialTls { connector, name }) = tls else {
        return Ok((Stream { socket, session: None }, peer));
    };
    let begin = Box::pin(async {
        socket.send_all(options.before_tls).await.map_err(TlsError::Io)?;
        tls::connect(&socket, connector, name).await
    });
    match timeout_at(ends, begin).await.unwrap_or(Err(TlsError::Late)) {
        Ok(session) => Ok((Stream { socket, session: Some(Box::new(session)) }, peer)),
        Err(error) => Err(DialError::Tls(peer, error)),
    }
}

async fn connect(upstream: &UpstreamAddr, options: DialOptions<'_>) -> Result<(Socket, Peer), DialError> {
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

async fn attempt(addr: SocketAddr, options: DialOptions<'_>) -> io::Result<Tcp> {
    timeout(options.timeout, Tcp::connect(addr, options.keepalive)).await.unwrap_or_else(|_| Err(timed_out()))
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}
