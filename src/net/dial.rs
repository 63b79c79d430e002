//! Connecting to one upstream: every address that it has, so that a dead one costs little (RFC 8305).

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

use super::{Socket, resolve::resolve, tune};
use crate::model::{Peer, UpstreamAddr};

/// How long an attempt has for itself before the next address is tried beside it (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// So many addresses of a name are shown with their errors; the others are counted.
const SHOWN: usize = 4;

/// How to dial.
#[derive(Clone, Copy, Debug)]
pub struct DialOptions {
    /// For the name's look-up, and then for each attempt at one address.
    pub timeout: Duration,
    /// TCP keepalive of the new socket.
    pub keepalive: Option<Duration>,
}

/// Why an upstream could not be connected: each address that was tried, with its error.
#[derive(Debug)]
pub enum DialError {
    /// The name has no address, or the resolver did not answer.
    Resolve(io::Error),
    /// Every address failed.
    Connect(Vec<(Peer, io::Error)>),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Resolve(error) => write!(f, "the name does not resolve: {error}"),
            DialError::Connect(failed) => {
                for (i, (peer, error)) in failed.iter().take(SHOWN).enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{peer}: {}", plain(error))?;
                }
                match failed.len().checked_sub(SHOWN) {
                    Some(more @ 1..) => write!(f, " and {more} more"),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// The error without Rust's `(os error 111)`.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

impl std::error::Error for DialError {}

/// Connects to one upstream. Dropping the future ends every attempt.
pub async fn dial(upstream: &UpstreamAddr, options: DialOptions) -> Result<(Socket, Peer), DialError> {
    // Boxed, all but the leanest: a task is as large as its largest branch.
    match upstream {
        UpstreamAddr::Ip(addr) => match attempt(*addr, options).await {
            Ok(stream) => Ok(connected(*addr, stream)),
            Err(error) => Err(DialError::Connect(vec![(Peer::from_ip(*addr), error)])),
        },
        UpstreamAddr::Name(name, port) => {
            Box::pin(async {
                let addrs = resolve(name, *port, options.timeout).await.map_err(DialError::Resolve)?;
                first_of(&addrs, options).await
            })
            .await
        }
        UpstreamAddr::Unix(path) => {
            let peer = Peer::Unix(Some(path.clone()));
            let attempt = Box::pin(timeout(options.timeout, UnixStream::connect(path)));
            match attempt.await.unwrap_or_else(|_| Err(timed_out())) {
                Ok(stream) => Ok((Socket::Unix(stream), peer)),
                Err(error) => Err(DialError::Connect(vec![(peer, error)])),
            }
        }
    }
}

fn connected(addr: SocketAddr, stream: TcpStream) -> (Socket, Peer) {
    (Socket::Tcp(stream), Peer::from_ip(addr))
}

/// The first address that answers: the next one starts when the one before has failed, or [`ATTEMPT_DELAY`] after it.
async fn first_of(addrs: &[SocketAddr], options: DialOptions) -> Result<(Socket, Peer), DialError> {
    let mut waiting = addrs.iter().copied();
    let mut under_way: Vec<(SocketAddr, Pin<Box<_>>)> = Vec::with_capacity(addrs.len());
    let mut failed = Vec::with_capacity(addrs.len());
    loop {
        let next = waiting.next();
        if let Some(addr) = next {
            under_way.push((addr, Box::pin(attempt(addr, options))));
        }
        let mut head_start = pin!(sleep(ATTEMPT_DELAY));
        // `None`: it is the next address's turn.
        let ended = poll_fn(|cx| {
            for (i, (_, attempt)) in under_way.iter_mut().enumerate() {
                if let Poll::Ready(result) = attempt.as_mut().poll(cx) {
                    return Poll::Ready(Some((i, result)));
                }
            }
            if waiting.len() > 0 { head_start.as_mut().poll(cx).map(|()| None) } else { Poll::Pending }
        });
        match ended.await {
            Some((i, Ok(stream))) => return Ok(connected(under_way.swap_remove(i).0, stream)),
            Some((i, Err(error))) => failed.push((Peer::from_ip(under_way.swap_remove(i).0), error)),
            None => {}
        }
        if under_way.is_empty() && waiting.len() == 0 {
            return Err(DialError::Connect(failed));
        }
    }
}

async fn attempt(addr: SocketAddr, options: DialOptions) -> io::Result<TcpStream> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    tune(&SockRef::from(&socket), options.keepalive)?;
    timeout(options.timeout, socket.connect(addr)).await.unwrap_or_else(|_| Err(timed_out()))
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}
