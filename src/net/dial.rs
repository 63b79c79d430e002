//! Connects to one address.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::sleep;

use super::deadline::{Deadline, Late};
use super::error::plain;
pub use super::tcp::FirstAck;
use super::tcp::{Tcp, Way};
use super::tls::{self, Session, TlsConnector, TlsError};
use super::{OfClient, Socket, Stream};
use crate::model::{Peer, SocketBuffers, Source, UpstreamAddr};

/// The pauses between two tries to connect a Unix socket whose queue is full: the first, and the longest.
const SHORTEST: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_millis(50);

/// Timeout and first bytes of one attempt.
#[derive(Clone, Copy, Debug)]
pub struct DialOptions<'a> {
    /// Bounds the whole attempt, including the TLS handshake.
    pub timeout: Duration,
    /// Bytes to send first, before any TLS handshake: a PROXY header. The timeout bounds this too.
    pub first: &'a [u8],
    /// The client that it is for. `None`: a check or a trial, which is of no client.
    pub client: Option<OfClient>,
    /// How the kernel acknowledges the upstream's part of the TCP handshake.
    pub ack: FirstAck,
    /// How much each queue of a TCP socket holds. `None`: the kernel adapts it.
    pub buffers: Option<SocketBuffers>,
}

impl<'a> DialOptions<'a> {
    /// For a check or a trial, which may wait for the upstream to speak.
    pub fn for_no_client(timeout: Duration, first: &'a [u8]) -> Self {
        DialOptions { timeout, first, client: None, ack: FirstAck::AtOnce, buffers: None }
    }
}

/// How to speak TLS to an upstream.
#[derive(Clone, Copy, Debug)]
pub struct DialTls<'a> {
    /// The client configuration: trusted authorities, our certificate, remembered sessions.
    pub connector: &'a TlsConnector,
    /// The name that the upstream's certificate must be valid for.
    pub name: &'a str,
}

/// How an upstream is reached.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reach<'a> {
    /// From where. `None`: the system says. A Unix socket is reached without.
    pub source: Option<&'a Source>,
    /// How TLS is spoken. `None`: without.
    pub tls: Option<DialTls<'a>>,
}

/// Why an attempt to connect failed.
#[derive(Debug)]
pub enum DialError {
    /// The upstream is a name. Only its addresses can be dialled, one at a time.
    Name,
    /// The upstream is where a client wanted to go, and there is no client.
    NoClient,
    /// The connect to this address failed.
    Connect(Peer, io::Error),
    /// The connect succeeded, but the TLS handshake failed.
    Tls(Peer, TlsError),
}

impl DialError {
    /// The error of the system call. `None` if no system call failed.
    pub fn error(&self) -> Option<&io::Error> {
        match self {
            DialError::Name | DialError::NoClient => None,
            DialError::Connect(_, error) => Some(error),
            DialError::Tls(_, error) => error.io(),
        }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Name => f.write_str("a name is not dialled, but its addresses"),
            DialError::NoClient => f.write_str("only clients have an original destination"),
            DialError::Connect(peer, error) => write!(f, "{peer}: {}", plain(error)),
            DialError::Tls(peer, error) => write!(f, "{peer}: TLS: {error}"),
        }
    }
}

impl std::error::Error for DialError {}

/// Connects to one upstream, sends the first bytes and, if it is reached by TLS, completes the handshake. Dropping the future
/// cancels the attempt.
pub async fn dial(
    upstream: &UpstreamAddr,
    options: &DialOptions<'_>,
    reach: Reach<'_>,
) -> Result<(Stream, Peer), DialError> {
    dial_by(pin!(Deadline::after(options.timeout)), upstream, options, reach).await
}

/// Like [`dial`], but by a limit that has begun already. The timeout in `options` does not count.
pub async fn dial_by(
    mut limit: Pin<&mut Deadline>,
    upstream: &UpstreamAddr,
    options: &DialOptions<'_>,
    Reach { source, tls }: Reach<'_>,
) -> Result<(Stream, Peer), DialError> {
    let way = Way { source, client: options.client, ack: options.ack, buffers: options.buffers };
    let (socket, peer) = connect(upstream, &way, limit.as_mut()).await?;
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

async fn connect(
    upstream: &UpstreamAddr,
    way: &Way<'_>,
    limit: Pin<&mut Deadline>,
) -> Result<(Socket, Peer), DialError> {
    // All branches but the leanest are boxed: a task is as large as its largest branch.
    let addr = match upstream {
        UpstreamAddr::Ip(addr) => *addr,
        UpstreamAddr::Original => way.client.and_then(|client| client.original).ok_or(DialError::NoClient)?,
        UpstreamAddr::Name(..) => return Err(DialError::Name),
        UpstreamAddr::Unix(path) => {
            let peer = Peer::Unix(Some(path.clone()));
            let attempt = Box::pin(limit.bound(connect_unix(path)));
            return match attempt.await.unwrap_or_else(|late| Err(timed_out(late))) {
                Ok(stream) => Ok((Socket::Unix(stream), peer)),
                Err(error) => Err(DialError::Connect(peer, error)),
            };
        }
    };
    match attempt(addr, way, limit).await {
        Ok(stream) => Ok(connected(addr, stream)),
        Err(error) => Err(DialError::Connect(Peer::from_ip(addr), error)),
    }
}

/// Connects a Unix socket. Where its queue is full the kernel says so at once (EAGAIN, unix(7)), and tells nobody when there is
/// room: as with TCP, whoever listens there has the time of a connect to accept.
async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let mut pause = SHORTEST;
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(pause).await,
            ended => return ended,
        }
        pause = (pause * 2).min(LONGEST);
    }
}

fn connected(addr: SocketAddr, stream: Tcp) -> (Socket, Peer) {
    (Socket::Tcp(stream), Peer::from_ip(addr))
}

async fn attempt(addr: SocketAddr, way: &Way<'_>, limit: Pin<&mut Deadline>) -> io::Result<Tcp> {
    let connected = limit.bound(Tcp::connect(addr, way)).await;
    connected.unwrap_or_else(|late| {
        if way.client.is_some() && way.source.is_some_and(|source| source.client) {
            let why = "no answer in time: do answers to the client's address come back through this host?";
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        Err(timed_out(late))
    })
}

fn timed_out(_: Late) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}
