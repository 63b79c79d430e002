//! Binds listening sockets: TCP and Unix.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket as RawSocket, Type};

use super::Acceptor;
use super::options::{free_buffers, tune};
use super::socket_file::{SocketFile, Wanted, not_own};
use super::source::set_transparent;
use crate::model::addr::WILDCARDS;
use crate::model::{ListenAddr, SocketAccess, SocketOptions};

/// Length of the accept queue. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// A listening socket. Clients wait in its queue until an [`Acceptor`] accepts them: one of this process, or of another that
/// has the socket too.
#[derive(Debug)]
pub enum StreamListener {
    /// TCP over IPv4, IPv6 or both.
    Tcp(Arc<OwnedFd>),
    /// A Unix socket and its file. `None`: Portway did not create the file.
    Unix(Arc<OwnedFd>, Option<Box<SocketFile>>),
}

impl AsFd for StreamListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            StreamListener::Tcp(socket) | StreamListener::Unix(socket, _) => socket.as_fd(),
        }
    }
}

impl StreamListener {
    /// Registers the socket with the caller's runtime. All acceptors share one queue.
    pub fn acceptor(&self) -> io::Result<Acceptor> {
        match self {
            StreamListener::Tcp(socket) | StreamListener::Unix(socket, _) => Acceptor::new(socket),
        }
    }

    /// Lets another socket of this process bind an address that this one covers: an edit from `0.0.0.0:80` to
    /// `127.0.0.1:80` opens the new socket before it closes the old one. The caller must switch this off again at once.
    /// (Linux remembers that the port was shared: a program of the same user that sets SO_REUSEPORT could still join.)
    pub fn share_port(&self, on: bool) -> io::Result<()> {
        match self {
            StreamListener::Tcp(listener) => SockRef::from(listener).set_reuse_port(on),
            StreamListener::Unix(..) => Ok(()),
        }
    }

    /// Lets others connect to a Unix socket from now on. Connections stay. Does nothing for TCP, and for a socket whose
    /// file Portway did not create.
    pub fn allow(&self, access: &SocketAccess) -> io::Result<()> {
        match self {
            StreamListener::Unix(_, Some(file)) => file.allow(&Wanted::of(access)?),
            StreamListener::Unix(_, None) | StreamListener::Tcp(_) => Ok(()),
        }
    }

    /// Leaves the file of a Unix socket to another process that has the socket too, or takes it back: whoever has it removes it
    /// with the socket. Does nothing if Portway did not create the file.
    pub fn leave_file(&self, to_another: bool) {
        if let StreamListener::Unix(_, Some(file)) = self {
            file.leave(to_another);
        }
    }

    /// Leaves new clients to other sockets at the same addresses: the socket is of an interface that does not exist (the
    /// kernel does not look for it: sock_bindtoindex_locked()), and so receives no SYN. Handshakes in progress go on.
    pub fn step_back(&self) {
        const NO_INTERFACE: Option<NonZeroU32> = NonZeroU32::new(i32::MAX.unsigned_abs());
        if let StreamListener::Tcp(listener) = self {
            // Where it fails, handshakes in progress at the close are lost: before Linux 5.7 without CAP_NET_RAW.
            drop(SockRef::from(listener).bind_device_by_index_v4(NO_INTERFACE));
        }
    }

    /// Takes connections to addresses that are not this host's too, which a TPROXY rule leads to the socket. Fails without
    /// CAP_NET_RAW and CAP_NET_ADMIN. Does nothing for a Unix socket.
    pub fn be_transparent(&self) -> io::Result<()> {
        match self {
            StreamListener::Tcp(listener) => set_transparent(&SockRef::from(listener)),
            StreamListener::Unix(..) => Ok(()),
        }
    }

    /// Sets the TCP options that accepted sockets inherit. Does nothing for a Unix socket.
    pub fn set_options(&self, options: SocketOptions) -> io::Result<()> {
        match self {
            StreamListener::Tcp(listener) => tune(&SockRef::from(listener), options),
            StreamListener::Unix(..) => Ok(()),
        }
    }

    /// Changes the options for connections to come.
    pub fn change_options(&self, old: SocketOptions, new: SocketOptions) -> io::Result<()> {
        if let (StreamListener::Tcp(listener), Some(_), None) = (self, old.buffers, new.buffers) {
            free_buffers(listener)?;
        }
        self.set_options(new)
    }
}

/// A socket that is bound but does not listen yet. It reserves its address; clients notice nothing until
/// [`Bound::listen`].
#[derive(Debug)]
pub struct Bound {
    socket: RawSocket,
    /// The file of a Unix socket. `None` for TCP.
    file: Option<SocketFile>,
}

/// Binds an address. Fails with the error of the system call, and then leaves nothing behind. `shared`: another socket
/// covers the address and shares its port ([`StreamListener::share_port`]); it must do so until this one listens.
/// `access`: who may connect, if it is a Unix socket.
pub fn bind(addr: &ListenAddr, shared: bool, access: &SocketAccess) -> io::Result<Bound> {
    match addr {
        ListenAddr::Any(port) => match tcp((WILDCARDS.1, *port).into(), false, shared) {
            // A host without IPv6 (ipv6.disable=1): every interface is IPv4.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) => {
                tcp((WILDCARDS.0, *port).into(), false, shared)
            }
            other => other,
        },
        ListenAddr::Ip(addr) => tcp(*addr, true, shared),
        ListenAddr::Unix(path) => unix(path, &Wanted::of(access)?),
    }
}

impl Bound {
    /// Starts to listen: the kernel queues connections from now on. Fails if another program listens on the same port
    /// first.
    pub fn listen(self, options: SocketOptions) -> io::Result<StreamListener> {
        let Bound { socket, file } = self;
        socket.listen(BACKLOG)?;
        let listener = match file {
            Some(file) => StreamListener::Unix(Arc::new(socket.into()), Some(Box::new(file))),
            None => {
                socket.set_reuse_port(false)?;
                StreamListener::Tcp(Arc::new(socket.into()))
            }
        };
        listener.set_options(options)?;
        Ok(listener)
    }
}

fn tcp(addr: SocketAddr, v6_only: bool, shared: bool) -> io::Result<Bound> {
    let socket = RawSocket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // Lets a restart bind at once, while connections of the last run are still in TIME-WAIT.
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    socket.set_reuse_port(shared)?;
    socket.bind(&addr.into())?;
    Ok(Bound { socket, file: None })
}

fn unix(path: &Path, wanted: &Wanted<'_>) -> io::Result<Bound> {
    // Before anything else: one that is bound and does not listen yet looks dead.
    not_own(path)?;
    remove_if_dead(path)?;
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    wanted.begin(&socket)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::at(path)?;
    // Before listen(2): nobody can have connected.
    file.allow(wanted)?;
    Ok(Bound { socket, file: Some(file) })
}

/// Removes the socket file of a program that no longer runs. Leaves a socket that still listens alone, and any file
/// that is not a socket: `bind` then fails because the address is in use.
fn remove_if_dead(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    // Non-blocking: a live listener with a full queue would block the call forever.
    let probe = RawSocket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Ok(()),
    }
}
