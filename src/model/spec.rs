//! Addresses as written in the file: each entry is one address, or a range of ports on one host.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use super::addr::{ListenAddr, ORIGINAL_DESTINATION, UpstreamAddr};
use super::fault::Fault;

/// A range of ports: at least one, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    /// How many ports: 1 to 65,535.
    pub fn count(self) -> u16 {
        self.last - self.first + 1
    }

    /// The lowest port.
    pub fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    pub fn last(self) -> u16 {
        self.last
    }

    /// The ports that are in both ranges. `None`: they do not overlap.
    pub fn shared(self, other: Ports) -> Option<Ports> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Ports { first, last })
    }

    /// The port at `offset`. A range of one port has the same port at every offset.
    fn at(self, offset: u16) -> u16 {
        if self.count() == 1 { self.first } else { self.first + offset.min(self.count() - 1) }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for Ports {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let port = |text: &str| -> Result<u16, Fault> {
            if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
                return Err(Fault::new(
                    format!("`{text}` is not a port number"),
                    "a port is a number from 1 to 65535",
                ));
            }
            match text.parse::<u16>() {
                Ok(0) => Err(Fault::new("port 0 cannot be used", "give a port from 1 to 65535")),
                Ok(port) => Ok(port),
                Err(_) => {
                    Err(Fault::new(format!("port {text} is too large"), "a port is a number from 1 to 65535"))
                }
            }
        };
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(text)?, port(text)?),
        };
        if last < first {
            return Err(Fault::new(
                format!("the port range {first}-{last} runs backwards"),
                format!("write it as {last}-{first}"),
            ));
        }
        Ok(Ports { first, last })
    }
}

/// One entry of `listen`: an address, or a range of ports on one host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenSpec {
    /// Ports on every interface.
    Any(Ports),
    /// Ports of one address.
    Ip(IpAddr, Ports),
    /// A Unix socket.
    Unix(PathBuf),
}

impl ListenSpec {
    /// How many sockets it stands for: one for each port, or the Unix socket.
    pub fn count(&self) -> u16 {
        match self {
            ListenSpec::Any(ports) | ListenSpec::Ip(_, ports) => ports.count(),
            ListenSpec::Unix(_) => 1,
        }
    }

    /// Every single address, with its offset in the range.
    pub fn addrs(&self) -> impl Iterator<Item = (u16, ListenAddr)> + '_ {
        (0..self.count()).map(move |offset| (offset, self.at(offset)))
    }

    /// The address at `offset` of the range.
    pub fn at(&self, offset: u16) -> ListenAddr {
        match self {
            ListenSpec::Any(ports) => ListenAddr::Any(ports.at(offset)),
            ListenSpec::Ip(ip, ports) => ListenAddr::Ip(SocketAddr::new(*ip, ports.at(offset))),
            ListenSpec::Unix(path) => ListenAddr::Unix(path.clone()),
        }
    }

    /// The ports, where it has any.
    pub fn ports(&self) -> Option<Ports> {
        match self {
            ListenSpec::Any(ports) | ListenSpec::Ip(_, ports) => Some(*ports),
            ListenSpec::Unix(_) => None,
        }
    }

    /// The offset of this address in the range. `None`: it does not stand for this address.
    pub fn offset(&self, addr: &ListenAddr) -> Option<u16> {
        let first = self.ports().map_or(0, Ports::first);
        let offset = addr.port().unwrap_or_default().checked_sub(first)?;
        (offset < self.count() && self.at(offset) == *addr).then_some(offset)
    }

    /// The offset of the address whose socket takes connections to `ip` at this port. `None`: there is none.
    pub fn offset_of(&self, ip: IpAddr, port: u16) -> Option<u16> {
        let offset = port.checked_sub(self.ports()?.first)?;
        (offset < self.count() && self.at(offset).receives(ip)).then_some(offset)
    }

    /// Whether it stands for this address.
    pub fn contains(&self, addr: &ListenAddr) -> bool {
        self.offset(addr).is_some()
    }
}

impl fmt::Display for ListenSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenSpec::Any(ports) => write!(f, "{ports}"),
            ListenSpec::Ip(IpAddr::V6(ip), ports) => write!(f, "[{ip}]:{ports}"),
            ListenSpec::Ip(IpAddr::V4(ip), ports) => write!(f, "{ip}:{ports}"),
            ListenSpec::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl ListenSpec {
    /// Reads it as it is written here. [`FromStr`] also knows what other programs write.
    pub(super) fn read(text: &str) -> Result<Self, Fault> {
        match split(text)? {
            Split::Unix(path) => Ok(ListenSpec::Unix(path)),
            Split::Ports(ports) => Ok(ListenSpec::Any(ports)),
            Split::HostPorts(host, ports) => match host.parse::<IpAddr>() {
                // A listener of an IPv6 address takes IPv6 only, and the kernel refuses this one (ipv6(7), IPV6_V6ONLY).
                Ok(ip) if ip.is_ipv6() && ip.to_canonical().is_ipv4() => Err(Fault::new(
                    format!("`{host}` is an IPv4 address written as IPv6, and no socket can listen there"),
                    format!("write \"{}:{ports}\"", ip.to_canonical()),
                )),
                Ok(ip) => Ok(ListenSpec::Ip(ip, ports)),
                Err(_) if host == "localhost" => Err(Fault::new(
                    "a listener needs an address, not the name `localhost`",
                    format!(
                        "write \"127.0.0.1:{ports}\", or [\"127.0.0.1:{ports}\", \"[::1]:{ports}\"] for both families"
                    ),
                )),
                Err(_) if host == "*" || host.is_empty() => Err(Fault::new(
                    format!("`{text}` has no address before the port"),
                    format!("write \"{ports}\" for every interface, IPv4 and IPv6"),
                )),
                Err(_) => Err(Fault::new(
                    format!("`{host}` is not an IP address, and a listener needs one"),
                    format!(
                        "write \"{ports}\" for every interface, or an address of this host: \"127.0.0.1:{ports}\""
                    ),
                )),
            },
        }
    }
}

/// One entry of `upstream`: an address, or a range of ports on one host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamSpec {
    /// Ports of a name to resolve.
    Name(String, Ports),
    /// Ports of one IP address.
    Ip(IpAddr, Ports),
    /// A Unix socket.
    Unix(PathBuf),
    /// Where the client wanted to go: [`UpstreamAddr::Original`].
    Original,
}

impl UpstreamSpec {
    /// How many ports it has. One port serves a listener range of any size.
    pub fn count(&self) -> u16 {
        match self {
            UpstreamSpec::Name(_, ports) | UpstreamSpec::Ip(_, ports) => ports.count(),
            UpstreamSpec::Unix(_) | UpstreamSpec::Original => 1,
        }
    }

    /// The ports, where it has any.
    pub fn ports(&self) -> Option<Ports> {
        match self {
            UpstreamSpec::Name(_, ports) | UpstreamSpec::Ip(_, ports) => Some(*ports),
            UpstreamSpec::Unix(_) | UpstreamSpec::Original => None,
        }
    }

    /// Whether it stands for this address, at whatever offset.
    pub fn contains(&self, addr: &UpstreamAddr) -> bool {
        let port = match addr {
            UpstreamAddr::Name(_, port) => *port,
            UpstreamAddr::Ip(addr) => addr.port(),
            UpstreamAddr::Unix(_) | UpstreamAddr::Original => 0,
        };
        match self.ports() {
            Some(ports) => (ports.first..=ports.last).contains(&port) && self.at(port - ports.first) == *addr,
            None => self.at(0) == *addr,
        }
    }

    /// The address for a client that connected at `offset` of the listener's range.
    pub fn at(&self, offset: u16) -> UpstreamAddr {
        match self {
            UpstreamSpec::Name(name, ports) => UpstreamAddr::Name(name.clone(), ports.at(offset)),
            UpstreamSpec::Ip(ip, ports) => UpstreamAddr::Ip(SocketAddr::new(*ip, ports.at(offset))),
            UpstreamSpec::Unix(path) => UpstreamAddr::Unix(path.clone()),
            UpstreamSpec::Original => UpstreamAddr::Original,
        }
    }
}

impl fmt::Display for UpstreamSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpstreamSpec::Name(name, ports) => write!(f, "{name}:{ports}"),
            UpstreamSpec::Ip(IpAddr::V6(ip), ports) => write!(f, "[{ip}]:{ports}"),
            UpstreamSpec::Ip(IpAddr::V4(ip), ports) => write!(f, "{ip}:{ports}"),
            UpstreamSpec::Unix(path) => write!(f, "unix:{}", path.display()),
            UpstreamSpec::Original => f.write_str(ORIGINAL_DESTINATION),
        }
    }
}

impl UpstreamSpec {
    /// Reads it as it is written here. [`FromStr`] also knows what other programs write.
    pub(super) fn read(text: &str) -> Result<Self, Fault> {
        if text == ORIGINAL_DESTINATION {
            return Ok(UpstreamSpec::Original);
        }
        match split(text)? {
            Split::Unix(path) => Ok(UpstreamSpec::Unix(path)),
            Split::Ports(ports) => Err(Fault::new(
                format!("`{text}` has no host"),
                format!("an upstream needs a host: \"127.0.0.1:{ports}\" or \"name:{ports}\""),
            )),
            // An IPv4 address written as IPv6 is the IPv4 address: a listener of that takes its connections.
            Split::HostPorts(host, ports) => match host.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
                Ok(ip) if ip.is_unspecified() => Err(Fault::new(
                    format!("`{ip}` is not an address that can be dialled"),
                    format!("for this host write \"127.0.0.1:{ports}\""),
                )),
                Ok(ip) => Ok(UpstreamSpec::Ip(ip, ports)),
                Err(_) => Ok(UpstreamSpec::Name(host_name(host)?, ports)),
            },
        }
    }
}

/// Checks that a host name has only characters that resolvers accept (RFC 1123, and `_`, which container names have).
pub(super) fn host_name(host: &str) -> Result<String, Fault> {
    if host.is_empty() {
        return Err(Fault::new("there is no host before the port", "write \"host:port\""));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(wrong) = host.chars().find(|c| !legal(*c)) {
        return Err(Fault::new(
            format!("`{host}` is not a host name: `{wrong}` cannot stand in one"),
            "write \"host:port\"; a name has letters, digits, `-`, `_` and `.`",
        ));
    }
    let labels_fit = host.trim_end_matches('.').split('.').all(|label| (1..=63).contains(&label.len()));
    if host.len() > 253 || !labels_fit {
        return Err(Fault::new(
            format!("`{host}` is not a host name"),
            "each part between dots has 1 to 63 letters, the whole name at most 253",
        ));
    }
    if host.split('.').all(|label| label.bytes().all(|b| b.is_ascii_digit())) {
        return Err(Fault::new(
            format!("`{host}` is not an IPv4 address"),
            "an IPv4 address is four numbers from 0 to 255",
        ));
    }
    Ok(host.to_owned())
}

enum Split<'a> {
    Unix(PathBuf),
    Ports(Ports),
    HostPorts(&'a str, Ports),
}

/// The longest path of a Unix socket, in bytes: Linux's `sockaddr_un` has 108 with the closing zero.
const UNIX_PATH_MAX: usize = 107;

/// The forms of an address.
const ADDRESS: &str = "an address is \"host:port\" or \"unix:/path\"";

fn split(text: &str) -> Result<Split<'_>, Fault> {
    if text.is_empty() {
        return Err(Fault::new("the address is empty", ADDRESS));
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.is_empty() {
            Err(Fault::new("`unix:` has no path", "write \"unix:/run/app.sock\""))
        } else if !path.starts_with('/') {
            Err(Fault::new(
                format!("`{path}` is not an absolute path"),
                format!("write it from the root: \"unix:/run/{}\"", path.trim_start_matches(['.', '~', '/'])),
            ))
        } else if path.len() > UNIX_PATH_MAX {
            Err(Fault::new(
                format!("the path of this Unix socket has {} bytes", path.len()),
                "the kernel takes at most 107",
            ))
        } else if path.contains('\0') {
            Err(Fault::new("the path has a NUL byte", "remove it"))
        } else {
            Ok(Split::Unix(path.into()))
        };
    }
    if let Some(rest) = text.strip_prefix('[') {
        let Some((host, ports)) = rest.split_once("]:") else {
            let (host, port) = rest.split_once(']').unwrap_or((rest, ""));
            let cure = match port.parse::<Ports>() {
                Ok(port) => format!("write \"[{host}]:{port}\""),
                Err(_) => format!("write \"[{host}]:8080\", with the port that is meant"),
            };
            return Err(Fault::new(format!("`{text}` has no port"), cure));
        };
        return match host.parse::<Ipv6Addr>() {
            Ok(_) => Ok(Split::HostPorts(host, ports.parse()?)),
            Err(_) => Err(Fault::new(
                format!("`{host}` is not an IPv6 address"),
                "in brackets stands an address such as \"[::1]:8080\"",
            )),
        };
    }
    match text.rsplit_once(':') {
        Some((host, ports)) if host.contains(':') => {
            Err(match (host.parse::<Ipv6Addr>(), text.parse::<Ipv6Addr>()) {
                (Ok(_), _) if ports.parse::<Ports>().is_ok() => Fault::new(
                    format!("`{text}` is ambiguous: an IPv6 address stands in brackets"),
                    format!("write \"[{host}]:{ports}\""),
                ),
                (_, Ok(_)) => Fault::new(
                    format!("`{text}` has no brackets and no port"),
                    format!("write \"[{text}]:8080\", with the port that is meant"),
                ),
                _ => Fault::new(format!("`{text}` is not one address"), ADDRESS),
            })
        }
        Some((host, ports)) => Ok(Split::HostPorts(host, ports.parse()?)),
        None if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') => Ok(Split::Ports(text.parse()?)),
        None => Err(Fault::new(format!("`{text}` has no port"), ADDRESS)),
    }
}

#[cfg(test)]
mod tests;
