//! The sockets of `whoami`: a stream listener and, on the same port, a datagram socket.

use std::fs::Permissions;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, UdpSocket, UnixListener};

use crate::model::{ListenAddr, ListenSpec};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;

/// How many free ports are tried: one that is free for TCP may be taken for UDP.
const FREE_PORT_TRIES: u32 = 32;

/// Why it cannot listen, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address cannot be bound.
    #[error("could not listen on {addr}: {}", cure(.source))]
    Address {
        /// The address as it was given.
        addr: ListenAddr,
        /// The error of the kernel.
        source: io::Error,
    },
    /// The runtime cannot be started, or the signals cannot be handled.
    #[error("could not start: {0}")]
    Start(#[from] io::Error),
}

fn cure(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program has the address: stop it, or give --listen another port".into()
        }
        io::ErrorKind::AddrNotAvailable => "this host does not have the address (see `ip address`)".into(),
        io::ErrorKind::PermissionDenied => {
            "permission denied: a port below 1024 needs root or CAP_NET_BIND_SERVICE, \
             a Unix socket a folder that may be written"
                .into()
        }
        _ => error.to_string(),
    }
}

/// Parses `--listen`. Unlike in the file, port 0 is allowed.
pub(super) fn parse(text: &str) -> Result<ListenAddr, String> {
    if text == "0" {
        return Ok(ListenAddr::Any(0));
    }
    if let Ok(addr) = text.parse::<SocketAddr>()
        && addr.port() == 0
    {
        return Ok(ListenAddr::Ip(addr));
    }
    let spec: ListenSpec = text.parse().map_err(|error: crate::model::Fault| {
        let help = &error.help;
        format!("{error}: {help}")
    })?;
    let mut addrs = spec.addrs();
    match (addrs.next(), addrs.next()) {
        (Some((_, addr)), None) => Ok(addr),
        _ => Err(format!("`{text}` is a port range: give one port")),
    }
}

/// The bound sockets.
#[derive(Debug)]
pub(super) struct Sockets {
    /// The address, with the real port.
    pub(super) addr: ListenAddr,
    pub(super) stream: Listener,
    pub(super) udp: Option<UdpSocket>,
}

#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixFile),
}

/// A Unix listener. Dropping it removes its file.
#[derive(Debug)]
pub(super) struct UnixFile {
    pub(super) listener: UnixListener,
    path: PathBuf,
}

impl Drop for UnixFile {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to do.
        std::fs::remove_file(&self.path).ok();
    }
}

pub(super) fn open(addr: &ListenAddr) -> Result<Sockets, BindError> {
    let opened = match addr {
        ListenAddr::Unix(path) => open_unix(path),
        ListenAddr::Any(_) | ListenAddr::Ip(_) => open_ip(addr),
    };
    opened.map_err(|source| BindError::Address { addr: addr.clone(), source })
}

fn open_ip(addr: &ListenAddr) -> io::Result<Sockets> {
    let free_port = addr.port() == Some(0);
    let mut tries = 0;
    loop {
        tries += 1;
        let tcp: std::net::TcpListener = ip_socket(addr, Type::STREAM)?.into();
        let port = tcp.local_addr()?.port();
        let bound = match addr {
            ListenAddr::Ip(at) => ListenAddr::Ip(SocketAddr::new(at.ip(), port)),
            _ => ListenAddr::Any(port),
        };
        match ip_socket(&bound, Type::DGRAM) {
            Ok(udp) => {
                return Ok(Sockets {
                    addr: bound,
                    stream: Listener::Tcp(TcpListener::from_std(tcp)?),
                    udp: Some(UdpSocket::from_std(udp.into())?),
                });
            }
            Err(error)
                if free_port && error.kind() == io::ErrorKind::AddrInUse && tries < FREE_PORT_TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

/// A bound socket that does not block; a stream socket also listens.
fn ip_socket(addr: &ListenAddr, kind: Type) -> io::Result<Socket> {
    match addr {
        ListenAddr::Ip(at) => bound_socket(*at, kind, Families::One),
        _ => {
            let port = addr.port().unwrap_or(0);
            // On a host without IPv6, every address is an IPv4 one.
            let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
            bound_socket(all, kind, Families::Both).or_else(|error| {
                match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
                    Some(rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL) => {
                        bound_socket((Ipv4Addr::UNSPECIFIED, port).into(), kind, Families::One)
                    }
                    _ => Err(error),
                }
            })
        }
    }
}

#[derive(PartialEq)]
enum Families {
    One,
    Both,
}

fn bound_socket(at: SocketAddr, kind: Type, families: Families) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), kind, None)?;
    if at.is_ipv6() {
        socket.set_only_v6(families == Families::One)?;
    }
    if kind == Type::STREAM {
        // Otherwise connections in TIME-WAIT keep the port for a minute after a restart.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&at.into())?;
    if kind == Type::STREAM {
        socket.listen(BACKLOG)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn open_unix(path: &Path) -> io::Result<Sockets> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    // As at a route's socket: the folder decides who may connect, not the umask.
    std::fs::set_permissions(path, Permissions::from_mode(0o666))?;
    Ok(Sockets {
        addr: ListenAddr::Unix(path.to_owned()),
        stream: Listener::Unix(UnixFile { listener, path: path.to_owned() }),
        udp: None,
    })
}

/// Whether it is the socket of a program that is gone: only then does the kernel refuse a connection to it.
fn is_stale(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
        && std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_0_and_one_address_are_taken_and_a_range_is_not() {
        assert_eq!(parse("0"), Ok(ListenAddr::Any(0)));
        assert_eq!(parse("9000"), Ok(ListenAddr::Any(9000)));
        assert_eq!(parse("[::1]:0").unwrap().to_string(), "[::1]:0");
        assert_eq!(parse("127.0.0.1:0").unwrap().to_string(), "127.0.0.1:0");
        assert_eq!(parse("unix:/run/x.sock").unwrap().to_string(), "unix:/run/x.sock");
        assert!(parse("127.0.0.1:7000-7001").unwrap_err().contains("give one port"));
        assert!(parse("localhost:9000").unwrap_err().contains("127.0.0.1:9000"));
    }
}
