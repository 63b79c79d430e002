//! Accepts connections from a listening socket.

use std::ffi::OsStr;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::task::{Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
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
        let (socket, from) = poll_fn(|cx| {
            loop {
                let mut guard = ready!(self.0.poll_read_ready(cx))?;
                match acceptfrom_with(guard.get_inner(), FLAGS) {
                    Err(Errno::AGAIN) => guard.clear_ready(),
                    accepted => {
                        if accepted.is_ok() && is_empty(guard.get_inner()) {
                            guard.clear_ready();
                        }
                        return Poll::Ready(accepted.map_err(io::Error::from));
                    }
                }
            }
        })
        .await?;
        Ok(Accepted { socket, peer: from.map_or(Peer::Unix(None), peer) })
    }
}

/// Whether the kernel's queue is empty. An accept that finds it empty has made a socket and a file before it looks
/// (`do_accept()` in the kernel), and costs some times as much. Whoever comes after this look raises an event of his own.
fn is_empty(listening: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(listening, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())) == Ok(0)
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
