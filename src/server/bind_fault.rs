//! Faults of listening sockets, for a person.

use std::io;

use crate::model::{Fault, ListenAddr, Protocol};
use crate::net::inherit::InheritedSocket;

/// Explains why `addr` cannot be listened on, and what to do about it.
/// `in_the_way`: the inherited socket that holds the address.
pub(super) fn bind_fault(
    addr: &ListenAddr,
    error: &io::Error,
    protocol: Protocol,
    in_the_way: Option<&InheritedSocket>,
) -> Fault {
    let port = addr.port().unwrap_or_default();
    let (kind, option) = match protocol {
        Protocol::Tcp => ("Stream", "t"),
        Protocol::Udp => ("Datagram", "u"),
    };
    let (message, help) = match error.kind() {
        io::ErrorKind::AddrInUse if let Some(inlet) = in_the_way => (
            format!("cannot listen on {addr}: systemd holds a socket for {inlet}"),
            format!("write \"{}\", or change Listen{kind}= in the socket unit", inlet.addr),
        ),
        io::ErrorKind::AddrInUse => (
            format!("cannot listen on {addr}: the address is in use"),
            match addr {
                ListenAddr::Unix(path) => {
                    format!(
                        "another program listens there, or {} is not a socket: `ss -xlp` names it",
                        path.display()
                    )
                }
                _ => format!("another program has it: `ss -l{option}np 'sport = :{port}'` names it"),
            },
        ),
        io::ErrorKind::AddrNotAvailable => (
            format!("cannot listen on {addr}: this host does not have that address"),
            format!("`ip addr` shows the ones it has; write \"{port}\" for all of them"),
        ),
        io::ErrorKind::PermissionDenied => (
            format!("cannot listen on {addr}: permission denied"),
            match addr {
                ListenAddr::Unix(path) => format!("Portway may not create {}", path.display()),
                _ => {
                    "ports below 1024 need CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=; a container: \
                      --cap-add NET_BIND_SERVICE)"
                        .to_owned()
                }
            },
        ),
        _ => (format!("cannot listen on {addr}: {error}"), "choose another address".to_owned()),
    };
    Fault { message, help }
}
