//! Connects to one address.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::net::UnixStream;

use super::deadline::{Deadline, Late};
use super::error::plain;
use super::tcp::Tcp;
use super::tls::{self, Session, TlsConnector, TlsError};
use super::{Socket, Stream};
use crate::model::{Peer, UpstreamAddr};

/// Timeout and first bytes of one attempt.
#[derive(Clone, Copy, Debug)]
pub struct DialOptions<'a> {
    /// Bounds the whole attempt, including the TLS handshake.
    pub timeout: Duration,
    /// Bytes to send first, before any TLS handshake: a PROXY header. The timeout bounds this too.
    pub first: &'a [u8],
}

/// How to speak TLS to an upstream.
#[derive(Clone, Copy, Debug)]
pub struct DialTls<'a> {
    /// The client configuration: trusted authorities, our certificate, remembered sessions.
    pub connector: &'a TlsConnector,
    /// The name that the upstream's certificate must be valid for.
    pub name: &'a str,
}

/// Why an attempt to connect failed.
#[derive(Debug)]
pub enum DialError {
    /// The upstream is a name. Only its addresses can be dialled, one at a time.
    Name,
    /// The connect to this address failed.
    Connect(Peer, io::Error),
    /// The connect succeeded, but the TLS handshake failed.
    Tls(Peer, TlsError),
}

impl DialError {
    /// The error of the system call. `None` if no system call failed.
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

/// Connects to one upstream, sends the first bytes and, if `tls` is given, completes the handshake. Dropping the future
/// cancels the attempt.
pub async fn dial(
    upstream: &UpstreamAddr,
    options: DialOptions<'_>,
    tls: Option<DialTls<'_>>,
) -> Result<(Stream, Peer), DialError> {
    dial_by(pin!(Deadline::after(options.timeout)), upstream, options, tls).await
}

/// Like [`dial`], but by a limit that has begun already. The timeout in `options` does not count.
pub async fn dial_by(
    mut limit: Pin<&mut Deadline>,
    upstream: &UpstreamAddr,
    options: DialOptions<'_>,
    tls: Option<DialTls<'_>>,
) -> Result<(Stream, Peer), DialError> {
    let (socket, peer) = connect(upstream, limit.as_mut()).await?;
    if tls.is_none() && options.first.is_empty() {
        return Ok((Stream { socket, session: None }, peer));
    }
    // Boxed: a task is as large as its largest branch.
    let begun = Box::pin(limit.bound(begin(&socket, options.first, tls))).await;
    let late = |late| if tls.is_some() { TlsError::Late } else { TlsError::Io(timed_out(late)) };
    match begun.unwrap_or_else(|over| Err(late(over))) {
        Ok(session) => Ok((Stream { socket, session }, peer)),
        Err(TlsError::Io(error)) if tls.is_none() => Err(DialError::Connect(peer, error)),
        Err(error) => Err(DialError::Tls(peer, error)),
    }
}

/// Sends the first bytes and completes the TLS handshake, if there is to be one.
async fn begin(
    socket: &Socket,
    first: &[u8],
    tls: Option<DialTls<'_>>,
) -> Result<Option<Box<Session>>, TlsError> {
    socket.send_all(first).await.map_err(TlsError::Io)?;
    match tls {
        None => Ok(None),
        Some(DialTls { connector, name }) => {
            tls::connect(socket, connector, name).await.map(Box::new).map(Some)
        }
    }
}

async fn connect(upstream: &UpstreamAddr, limit: Pin<&mut Deadline>) -> Result<(Socket, Peer), DialError> {
    // All branches but the leanest are boxed: a task is as large as its largest branch.
    match upstream {
        UpstreamAddr::Ip(addr) => match attempt(*addr, limit).await {
            Ok(stream) => Ok(connected(*addr, stream)),
            Err(error) => Err(DialError::Connect(Peer::from_ip(*addr), error)),
        },
        UpstreamAddr::Name(..) => Err(DialError::Name),
        UpstreamAddr::Unix(path) => {
            let peer = Peer::Unix(Some(path.clone()));
            let attempt = Box::pin(limit.bound(UnixStream::connect(path)));
            match attempt.await.unwrap_or_else(|late| Err(timed_out(late))) {
                Ok(stream) => Ok((Socket::Unix(stream), peer)),
                Err(error) => Err(DialError::Connect(peer, error)),
            }
        }
    }
}

fn connected(addr: SocketAddr, stream: Tcp) -> (Socket, Peer) {
    (Socket::Tcp(stream), Peer::from_ip(addr))
}

async fn attempt(addr: SocketAddr, limit: Pin<&mut Deadline>) -> io::Result<Tcp> {
    limit.bound(Tcp::connect(addr)).await.unwrap_or_else(|late| Err(timed_out(late)))
}

fn timed_out(_: Late) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}
