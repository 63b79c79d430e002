//! Servers: where they are, and that nobody comes to them twice.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tempfile::TempDir;

use super::instance::LONG_QUEUE;
use super::tls::Tls;
use super::{PATIENCE, Peer, comes_true, until};

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// 127.0.0.1
    V4,
    /// ::1
    V6,
    /// A path.
    Unix,
}

/// An address that a socket can be bound to, and a command line can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addr {
    /// IPv4 or IPv6.
    Ip(SocketAddr),
    /// A Unix socket's file.
    Unix(PathBuf),
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Addr::Ip(addr) => addr.fmt(f),
            Addr::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Addr {
    fn from(addr: SocketAddr) -> Self {
        Addr::Ip(addr)
    }
}

impl Addr {
    /// A new socket of this family.
    pub fn socket(&self) -> Socket {
        let domain = match self {
            Addr::Ip(addr) => Domain::for_address(*addr),
            Addr::Unix(_) => Domain::UNIX,
        };
        Socket::new(domain, Type::STREAM, None).unwrap()
    }

    /// For the system calls.
    pub fn raw(&self) -> SockAddr {
        match self {
            Addr::Ip(addr) => (*addr).into(),
            Addr::Unix(path) => SockAddr::unix(path).unwrap(),
        }
    }

    /// A client that is connected to it.
    #[track_caller]
    pub fn connect(&self) -> Peer {
        self.try_connect().unwrap_or_else(|error| panic!("connect to {self}: {error}"))
    }

    /// A client that is connected to it, or why not.
    pub fn try_connect(&self) -> std::io::Result<Peer> {
        let socket = self.socket();
        match self {
            Addr::Ip(_) => socket.connect_timeout(&self.raw(), PATIENCE)?,
            Addr::Unix(_) => socket.connect(&self.raw())?,
        }
        Ok(Peer::client(socket))
    }
}

impl Family {
    /// Its loopback address with port 0, or a path in `dir`.
    pub fn loopback(self, dir: &TempDir) -> Addr {
        match self {
            Family::V4 => Addr::Ip((Ipv4Addr::LOCALHOST, 0).into()),
            Family::V6 => Addr::Ip((Ipv6Addr::LOCALHOST, 0).into()),
            Family::Unix => Addr::Unix(dir.path().join("socket")),
        }
    }
}

/// A server. The test accepts and serves.
pub struct Upstream {
    listener: Socket,
    /// Where it listens.
    pub addr: Addr,
    tls: bool,
    _dir: Option<TempDir>,
}

impl Upstream {
    /// On loopback, any port.
    pub fn on(family: Family) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Upstream::at(&family.loopback(&dir), LONG_QUEUE, Some(dir))
    }

    /// At an address of this network namespace; port 0 for any.
    pub fn at_ip(addr: &str) -> Self {
        Upstream::at(&Addr::Ip(addr.parse().unwrap()), LONG_QUEUE, None)
    }

    /// One that takes no connection and refuses none: its queue is full, so SYNs are dropped. The filler keeps it so.
    pub fn deaf(family: Family) -> (Self, Vec<Peer>) {
        let deaf = Upstream::at(&family.loopback(&tempfile::tempdir().unwrap()), 0, None);
        let filler = std::iter::from_fn(|| {
            let socket = deaf.addr.socket();
            let connected = socket.connect_timeout(&deaf.addr.raw(), Duration::from_millis(300));
            connected.ok().map(|()| Peer::client(socket))
        });
        let filler = filler.collect();
        (deaf, filler)
    }

    fn at(addr: &Addr, backlog: i32, dir: Option<TempDir>) -> Self {
        let listener = addr.socket();
        listener.set_reuse_address(true).unwrap();
        listener.bind(&addr.raw()).unwrap_or_else(|error| panic!("bind {addr}: {error}"));
        listener.listen(backlog).unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = match addr {
            Addr::Ip(_) => Addr::Ip(listener.local_addr().unwrap().as_socket().unwrap()),
            Addr::Unix(_) => addr.clone(),
        };
        Upstream { listener, addr, tls: false, _dir: dir }
    }

    /// Whether it serves TLS from now on.
    pub fn speaks_tls(&mut self, tls: bool) {
        self.tls = tls;
    }

    fn serve(&self, socket: Socket) -> Peer {
        let peer = Peer::server(socket);
        if self.tls { peer.over(Tls::server).unwrap() } else { peer }
    }

    /// What its accepted sockets inherit: a small receive buffer.
    pub fn receives_little(&self) {
        self.listener.set_recv_buffer_size(4096).unwrap();
    }

    /// The next connection.
    #[track_caller]
    pub fn accept(&self) -> Peer {
        let mut accepted = None;
        until("a connection reaches the upstream", || {
            accepted = self.listener.accept().ok();
            accepted.is_some()
        });
        self.serve(accepted.unwrap().0)
    }

    /// The next connection, if one comes in time.
    pub fn accept_within(&self, limit: Duration) -> Option<Peer> {
        let mut accepted = None;
        comes_true(limit, || {
            accepted = self.listener.accept().ok();
            accepted.is_some()
        });
        accepted.map(|(socket, _)| self.serve(socket))
    }
}
