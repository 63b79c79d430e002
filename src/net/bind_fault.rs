//! Faults of listening sockets, for a person.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::inherit::InheritedSocket;
use super::socket_file::{AccessError, OwnFile};
use crate::model::{Fault, ListenAddr, Protocol};

/// Explains why `addr` cannot be listened on, and what to do about it.
/// `in_the_way`: the inherited socket that holds the address.
pub fn bind_fault(
    addr: &ListenAddr,
    error: &io::Error,
    protocol: Protocol,
    in_the_way: Option<&InheritedSocket>,
) -> Fault {
    if let Some(access) = error.get_ref().and_then(|error| error.downcast_ref()) {
        return access_fault(addr, access);
    }
    if let Some(own) = error.get_ref().and_then(|error| error.downcast_ref::<OwnFile>()) {
        let help = "one of the two must have another path, or go; to give a socket another name, remove it in one edit, and add \
                    it in the next";
        return Fault::new(format!("cannot listen on {addr}: {own}, which is listened on already"), help);
    }
    if let Some(fault) = shortage(error) {
        return fault;
    }
    let (why, help) = match (error.kind(), addr) {
        (io::ErrorKind::AddrInUse, _) if let Some(inlet) = in_the_way => {
            let kind = if protocol == Protocol::Tcp { "Stream" } else { "Datagram" };
            let help = format!("write \"{}\", or change Listen{kind}= in the socket unit", inlet.addr);
            (format!("systemd holds a socket for {inlet}"), help)
        }
        (_, ListenAddr::Unix(path)) => of_path(path, error),
        (_, ListenAddr::Any(port)) => of_port(addr, *port, error, protocol),
        (_, ListenAddr::Ip(ip)) => of_port(addr, ip.port(), error, protocol),
    };
    Fault::new(format!("cannot listen on {addr}: {why}"), help)
}

/// What no address is to blame for. The message names none, so that many of them are one fault.
fn shortage(error: &io::Error) -> Option<Fault> {
    let limit =
        || getrlimit(Resource::Nofile).current.map_or_else(String::new, |limit| format!(" of {limit}"));
    let (message, help) = match Errno::from_io_error(error)? {
        Errno::MFILE => (
            format!("no descriptor is left for this address: the limit{} is reached", limit()),
            "raise the limit: LimitNOFILE= in the systemd unit, --ulimit nofile= of a container, `ulimit -n` in a \
             shell; or listen on fewer ports",
        ),
        Errno::NFILE => (
            "no descriptor is left on this host for this address".to_owned(),
            "raise the limit of the host: sysctl fs.file-max",
        ),
        Errno::NOBUFS | Errno::NOMEM => (
            "the kernel has no memory left for this address".to_owned(),
            "give the host or the container more memory, or listen on fewer ports",
        ),
        Errno::NOSPC => (
            "no space is left for this address: the disk is full, or the watches of epoll are used up"
                .to_owned(),
            "see `df`, and sysctl fs.epoll.max_user_watches",
        ),
        _ => return None,
    };
    Some(Fault::new(message, help))
}

fn of_port(addr: &ListenAddr, port: u16, error: &io::Error, protocol: Protocol) -> (String, String) {
    let option = if protocol == Protocol::Tcp { "t" } else { "u" };
    match (error.kind(), Errno::from_io_error(error)) {
        (io::ErrorKind::AddrInUse, _) => (
            "the address is in use".to_owned(),
            format!("another program has it: `ss -l{option}np 'sport = :{port}'` names it"),
        ),
        (io::ErrorKind::AddrNotAvailable, _) => (
            "this host does not have that address".to_owned(),
            format!("`ip addr` shows the ones it has; write \"{port}\" for all of them"),
        ),
        (io::ErrorKind::PermissionDenied, _) if port < 1024 => (
            "permission denied".to_owned(),
            "ports below 1024 need CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=; a container: \
             --cap-add NET_BIND_SERVICE)"
                .to_owned(),
        ),
        (io::ErrorKind::PermissionDenied, _) => (
            "permission denied".to_owned(),
            "a security module or a seccomp filter forbids it: see the audit log (`journalctl -k -g denied`)"
                .to_owned(),
        ),
        (_, Some(Errno::AFNOSUPPORT)) => {
            let v6 = matches!(addr, ListenAddr::Ip(ip) if ip.is_ipv6());
            let (family, other) = if v6 { ("IPv6", "0.0.0.0") } else { ("IPv4", "[::]") };
            (
                format!("this host has no {family}"),
                format!(
                    "write \"{port}\" for what it has, or \"{other}:{port}\"; or switch {family} on in the kernel"
                ),
            )
        }
        // A link-local address without its zone (ipv6(7), EINVAL).
        (_, Some(Errno::INVAL)) => (
            "the address says nothing without its interface (it is link-local)".to_owned(),
            format!(
                "write \"{port}\" for every interface; allow = [\"fe80::/10\"] admits only clients of the same link"
            ),
        ),
        _ => (error.to_string(), "the system says no more: report it, with `uname -a`".to_owned()),
    }
}

fn of_path(path: &Path, error: &io::Error) -> (String, String) {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let (shown, name) = (folder.display(), folder.file_name().unwrap_or_default().to_string_lossy());
    let (why, help) = match (error.kind(), Errno::from_io_error(error)) {
        (io::ErrorKind::AddrInUse, _) => {
            let file = std::fs::symlink_metadata(path);
            if file.is_ok_and(|file| file.file_type().is_socket()) {
                ("the address is in use", "another program listens there: `ss -xlp` names it".to_owned())
            } else {
                (
                    "a file that is no socket is there",
                    format!("remove it: rm {}; or write another path", path.display()),
                )
            }
        }
        (io::ErrorKind::NotFound, _) => (
            "its folder does not exist",
            format!("create it: mkdir -p {shown} (in a systemd unit: RuntimeDirectory={name})"),
        ),
        (io::ErrorKind::PermissionDenied, _) => (
            "permission denied",
            format!(
                "Portway's user may not create files in {shown}: give it a folder of its own \
                 (in a systemd unit: RuntimeDirectory={name})"
            ),
        ),
        (io::ErrorKind::ReadOnlyFilesystem, _) => (
            "its folder is read-only",
            format!("mount a volume at {shown}, or write a path below a folder that can be written"),
        ),
        (io::ErrorKind::NotADirectory, _) | (_, Some(Errno::LOOP)) => {
            ("a part of its path is no folder", format!("see `namei -l {}`", path.display()))
        }
        (_, Some(Errno::NAMETOOLONG)) => {
            ("its path is too long", "the kernel takes at most 107 bytes".to_owned())
        }
        (_, Some(Errno::OPNOTSUPP | Errno::PERM)) => {
            ("the file system of its folder has no sockets", "write a path below /run".to_owned())
        }
        _ => return (error.to_string(), "the system says no more: report it, with `uname -a`".to_owned()),
    };
    (why.to_owned(), help)
}

/// Explains why a Unix socket cannot have its group.
fn access_fault(addr: &ListenAddr, error: &AccessError) -> Fault {
    match error {
        AccessError::NoGroup(group) => Fault::new(
            format!("this system has no group `{group}`, which {addr} is to have"),
            "write the number of the group, or one of the names in /etc/group",
        ),
        AccessError::Denied(group, error) => Fault::new(
            format!("cannot give {addr} to the group `{group}`: {error}"),
            "only root, and a member of the group, can: add the user that Portway runs as to the group (systemd: \
             SupplementaryGroups=), and restart Portway",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of what the system calls of a listener may say (socket(2), bind(2), listen(2), epoll_ctl(2)), each has a cure of its
    /// own.
    #[test]
    fn m_no_error_of_a_socket_says_choose_another_address() {
        let addrs: Vec<ListenAddr> = vec![
            ListenAddr::Any(8080),
            ListenAddr::Any(80),
            ListenAddr::Ip("[fe80::1]:8080".parse().unwrap()),
            ListenAddr::Unix("/run/app/a.sock".into()),
        ];
        for addr in &addrs {
            for errno in [
                Errno::ACCESS,
                Errno::ADDRINUSE,
                Errno::ADDRNOTAVAIL,
                Errno::AFNOSUPPORT,
                Errno::INVAL,
                Errno::LOOP,
                Errno::MFILE,
                Errno::NAMETOOLONG,
                Errno::NFILE,
                Errno::NOBUFS,
                Errno::NOENT,
                Errno::NOMEM,
                Errno::NOSPC,
                Errno::NOTDIR,
                Errno::OPNOTSUPP,
                Errno::PERM,
                Errno::ROFS,
                Errno::PROTONOSUPPORT,
            ] {
                let fault = bind_fault(addr, &errno.into(), Protocol::Tcp, None);
                assert!(
                    !fault.help.is_empty() && !fault.help.contains("another address"),
                    "{addr}: {fault:?}"
                );
                let of_path = matches!(errno, Errno::NOENT | Errno::ROFS | Errno::NOTDIR);
                if of_path && matches!(addr, ListenAddr::Unix(_)) {
                    assert!(!fault.help.contains("report it"), "{addr}, {errno}: {fault:?}");
                }
            }
        }
        let said = |addr: &ListenAddr, errno: Errno| {
            let fault = bind_fault(addr, &errno.into(), Protocol::Tcp, None);
            format!("{}; {}", fault.message, fault.help)
        };
        assert!(
            said(&addrs[3], Errno::NOENT)
                .contains("mkdir -p /run/app (in a systemd unit: RuntimeDirectory=app)")
        );
        assert!(said(&addrs[2], Errno::AFNOSUPPORT).contains("this host has no IPv6; write \"8080\""));
        // The message is the same for each address, so that fifty are one fault.
        assert_eq!(said(&addrs[0], Errno::MFILE), said(&addrs[3], Errno::MFILE));
    }
}
