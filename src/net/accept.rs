//! Accepts connections from a listening socket.

use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::net::{SocketAddrAny, SocketAddrUnix, acceptfrom_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

use super::Socket;
use super::tcp::{FLAGS, Tcp, register};
use crate::model::Peer;

/// A listening socket that is registered with one thread's runtime. Several threads may accept from the same queue.
#[derive(Debug)]
pub struct Acceptor(AsyncFd<Arc<OwnedFd>>);

/// An accepted connection that is not registered with any runtime yet.
#[derive(Debug)]
pub struct Accepted {
    socket: OwnedFd,
    peer: Peer,
}

impl Acceptor {
    /// Registers the socket with the caller's runtime.
    pub(super) fn new(socket: &Arc<OwnedFd>) -> io::Result<Self> {
        register(socket.clone(), Interest::READABLE).map(Acceptor)
    }

    /// Waits for the next connection in the kernel's queue and accepts it.
    pub async fn accept(&self) -> io::Result<Accepted> {
        let accept = |socket: &Arc<OwnedFd>| Ok(acceptfrom_with(socket, FLAGS)?);
        let (socket, from) = self.0.async_io(Interest::READABLE, accept).await?;
        Ok(Accepted { socket, peer: from.map_or(Peer::Unix(None), peer) })
    }
}

fn peer(addr: SocketAddrAny) -> Peer {
    if let Ok(addr) = SocketAddr::try_from(addr.clone()) {
        return Peer::from_ip(addr);
    }
    let addr = SocketAddrUnix::try_from(addr).ok();
    let path = addr.as_ref().and_then(SocketAddrUnix::path);
    Peer::Unix(path.map(|path| OsStr::from_bytes(path.to_bytes()).into()))
}

impl Accepted {
    /// Registers the connection with the caller's runtime.
    pub fn here(self) -> io::Result<(Socket, Peer)> {
        let Accepted { socket, peer } = self;
        let socket = match &peer {
            Peer::Ip(_) => Socket::Tcp(Tcp::new(socket)?),
            Peer::Unix(_) => Socket::Unix(UnixStream::from_std(socket.into())?),
        };
        Ok((socket, peer))
    }
}
