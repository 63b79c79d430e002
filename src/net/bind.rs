//! Listening sockets.

use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket as RawSocket, Type};

use super::Acceptor;
use super::options::tune;
use crate::model::ListenAddr;
use crate::model::addr::WILDCARDS;

/// As many waiting connections as the kernel allows; it cuts the number to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// A socket that listens. Clients wait in its queue until an [`Acceptor`] takes them.
#[derive(Debug)]
pub enum StreamListener {
    /// TCP over IPv4, IPv6 or both.
    Tcp(Arc<OwnedFd>),
    /// A Unix socket, and its file where it is ours.
    Unix(Arc<OwnedFd>, Option<SocketFile>),
}

impl StreamListener {
    /// Has the runtime of the caller wait for connections. The queue stays one, however many wait for it.
    pub fn acceptor(&self) -> io::Result<Acceptor> {
        match self {
            StreamListener::Tcp(socket) | StreamListener::Unix(socket, _) => Acceptor::new(socket),
        }
    }

    /// Lets another socket of this process bind an address that this one covers: an edit from `0.0.0.0:80` to
    /// `127.0.0.1:80` opens the new socket before it closes the old one. To be switched off again at once. (Linux
    /// remembers that the port was shared: a program of the same user that asks for SO_REUSEPORT could still join.)
    pub fn share_port(&self, on: bool) -> io::Result<()> {
        match self {
            StreamListener::Tcp(listener) => SockRef::from(listener).set_reuse_port(on),
            StreamListener::Unix(..) => Ok(()),
        }
    }

    /// Sets what accepted sockets inherit.
    pub fn set_keepalive(&self, keepalive: Option<Duration>) -> io::Result<()> {
        match self {
            StreamListener::Tcp(listener) => tune(&SockRef::from(listener), keepalive),
            StreamListener::Unix(..) => Ok(()),
        }
    }
}

/// The file of a Unix listener: removed with it, unless another has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(SocketFile { path: path.to_owned(), identity: identity(path)? })
    }
}

/// Device and inode.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let meta = std::fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // Best effort: whoever binds next replaces a dead file.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// An address that nobody else can have, and on which nobody is heard yet: clients notice nothing until
/// [`Bound::listen`].
#[derive(Debug)]
pub struct Bound {
    socket: RawSocket,
    /// Of a Unix socket.
    file: Option<SocketFile>,
}

/// Takes an address. Fails as the system calls do; nothing is left behind then. `shared`: beside a socket that shares
/// its port ([`StreamListener::share_port`]), which it must do until this one listens.
pub fn bind(addr: &ListenAddr, shared: bool) -> io::Result<Bound> {
    match addr {
        ListenAddr::Any(port) => match tcp((WILDCARDS.1, *port).into(), false, shared) {
            // A host without IPv6 (ipv6.disable=1): its every interface is an IPv4 one.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) => {
                tcp((WILDCARDS.0, *port).into(), false, shared)
            }
            other => other,
        },
        ListenAddr::Ip(addr) => tcp(*addr, true, shared),
        ListenAddr::Unix(path) => unix(path),
    }
}

impl Bound {
    /// Lets nobody but its own user connect to a Unix socket.
    pub fn keep_private(&self) -> io::Result<()> {
        match &self.file {
            Some(file) => std::fs::set_permissions(&file.path, Permissions::from_mode(0o600)),
            None => Ok(()),
        }
    }

    /// Begins to take connections into the kernel's queue. Another program may have begun on the same port first.
    pub fn listen(self, keepalive: Option<Duration>) -> io::Result<StreamListener> {
        let Bound { socket, file } = self;
        socket.listen(BACKLOG)?;
        let listener = match file {
            Some(file) => StreamListener::Unix(Arc::new(socket.into()), Some(file)),
            None => {
                socket.set_reuse_port(false)?;
                StreamListener::Tcp(Arc::new(socket.into()))
            }
        };
        listener.set_keepalive(keepalive)?;
        Ok(listener)
    }
}

fn tcp(addr: SocketAddr, v6_only: bool, shared: bool) -> io::Result<Bound> {
    let socket = RawSocket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // A restart may bind at once, beside connections of the last run that are in TIME-WAIT.
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    socket.set_reuse_port(shared)?;
    socket.bind(&addr.into())?;
    Ok(Bound { socket, file: None })
}

fn unix(path: &Path) -> io::Result<Bound> {
    remove_if_dead(path)?;
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(Bound { socket, file: Some(SocketFile::at(path)?) })
}

/// Removes the socket file of a program that is gone. One that still listens is left alone, and so is anything that
/// is not a socket: `bind` then says that the address is in use.
fn remove_if_dead(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    // Non-blocking: a listener with a full queue is alive, and would hold a blocking call for ever.
    let probe = RawSocket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Ok(()),
    }
}
