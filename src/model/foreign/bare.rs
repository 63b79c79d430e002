//! An address without a scheme and without a protocol behind it, as other programs write it.

use std::net::{IpAddr, Ipv6Addr};

use crate::model::fault::Fault;
use crate::model::spec::{ListenSpec, Ports, UpstreamSpec};
use crate::model::upstream::LARGEST_WEIGHT;

/// Where an address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Listen,
    Upstream,
}

impl Side {
    pub(super) fn reads(self, text: &str) -> bool {
        match self {
            Side::Listen => ListenSpec::read(text).is_ok(),
            Side::Upstream => UpstreamSpec::read(text).is_ok(),
        }
    }

    /// An address of this host and these ports that can stand here. A listener has no name, an upstream no wildcard.
    pub(super) fn address(self, host: &str, ports: &str) -> Option<String> {
        let everywhere = matches!(host, "" | "*" | "0.0.0.0" | "[::]" | "::" | "0");
        let bare = host.trim_matches(['[', ']']);
        let host = match (self, bare.parse::<IpAddr>()) {
            _ if everywhere => if self == Side::Listen { "" } else { "127.0.0.1" }.to_owned(),
            (_, Ok(IpAddr::V6(ip))) => format!("[{ip}]"),
            (Side::Listen, Err(_)) if host == "localhost" => "127.0.0.1".to_owned(),
            (Side::Listen, Err(_)) => String::new(),
            _ => host.to_owned(),
        };
        let gap = if host.is_empty() { "" } else { ":" };
        Some(format!("{host}{gap}{ports}")).filter(|address| self.reads(address))
    }
}

/// What a text was meant to be.
pub(super) struct Meant {
    pub message: String,
    /// What to write, with its quotes or braces. Empty: that is not known.
    pub write: String,
    /// What else there is to say, from the first gap on.
    pub note: String,
}

impl Meant {
    pub(super) fn new(
        message: impl Into<String>,
        address: Option<String>,
        note: impl Into<String>,
    ) -> Option<Meant> {
        let write = address.map(|address| format!("\"{address}\""))?;
        Some(Meant { message: message.into(), write, note: note.into() })
    }

    pub(super) fn fault(self) -> Fault {
        let Meant { message, write, note } = self;
        Fault::new(message, if write.is_empty() { note } else { format!("write {write}{note}") })
    }
}

/// The guesses about an address without a scheme and without a protocol after it.
pub(super) fn inner(text: &str, side: Side) -> Option<Meant> {
    let guesses = [path, parameters, two_addresses, zone, path_behind, user, port_name, no_port];
    guesses.iter().find_map(|guess| guess(text, side))
}

/// Names of services, which begin URLs and stand for ports (IANA's registry).
const SERVICES: &[(&str, u16)] = &[
    ("ftp", 21),
    ("ssh", 22),
    ("smtp", 25),
    ("domain", 53),
    ("http", 80),
    ("ws", 80),
    ("h2c", 80),
    ("pop3", 110),
    ("imap", 143),
    ("ldap", 389),
    ("https", 443),
    ("wss", 443),
    ("ldaps", 636),
    ("imaps", 993),
    ("pop3s", 995),
    ("mqtt", 1883),
    ("mysql", 3306),
    ("postgres", 5432),
    ("postgresql", 5432),
    ("amqp", 5672),
    ("redis", 6379),
    ("rediss", 6379),
    ("mongodb", 27017),
];

pub(super) fn service(name: &str) -> Option<u16> {
    SERVICES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, port)| *port)
}

/// What follows an address where its scheme or protocol says more than the address does.
pub(super) fn note_of(scheme: &str, side: Side) -> &'static str {
    match (scheme, side) {
        (udp, _) if udp.starts_with("udp") => "; a route for UDP has a line protocol = \"udp\"",
        ("https" | "wss" | "tls" | "ssl" | "ldaps" | "imaps" | "rediss", Side::Upstream) => {
            "; if the clients speak no TLS by themselves, add tls = { upstream = true }"
        }
        ("https" | "wss" | "tls" | "ssl", Side::Listen) => {
            "; where TLS ends at Portway add tls = { cert = \"app.pem\", key = \"app.key\" }"
        }
        _ => "",
    }
}

/// `/run/app.sock`, `./app.sock`.
pub(super) fn path(text: &str, _: Side) -> Option<Meant> {
    let is_path = text.starts_with(['/', '.', '~']) || text.ends_with(".sock") || text.ends_with(".socket");
    if !is_path || text.contains([',', ' ', '\0']) {
        return None;
    }
    let message = format!("`{text}` is a path: that of a Unix socket begins with `unix:`");
    if text.starts_with('/') {
        let address = format!("unix:{text}");
        return Meant::new(message, Some(address).filter(|address| ListenSpec::read(address).is_ok()), "");
    }
    let name = text.rsplit('/').next().unwrap_or_default();
    let note = format!("write it from the root, as in \"unix:/run/{name}\"");
    Some(Meant { message, write: String::new(), note })
}

/// `app:80 weight=2 backup` and `443 ssl http2`, as nginx and HAProxy have it; `127.0.0.1 8080`.
fn parameters(text: &str, side: Side) -> Option<Meant> {
    let (first, rest) = text.split_once(char::is_whitespace)?;
    let is_split = side.address(first, rest.trim()).is_some_and(|_| rest.trim().parse::<Ports>().is_ok());
    // Of two addresses none is meant more than the other.
    if is_split && !side.reads(first) {
        let message = "between host and port stands a colon";
        return Meant::new(message, side.address(first, rest.trim()), "");
    }
    if !side.reads(first) || rest.split_whitespace().any(|word| side.reads(word.trim_end_matches([',', ';'])))
    {
        return None;
    }
    let message = format!("`{}` does not stand in an address", rest.trim());
    if side == Side::Listen {
        let mut words = rest.split_whitespace();
        let note = words.find_map(|word| match word {
            "ssl" | "udp" => Some(note_of(word, side)),
            "proxy_protocol" | "accept-proxy" => Some(
                "; for the PROXY header add proxy_protocol = { accept = true, trusted = [\"10.0.0.0/8\"] }",
            ),
            _ => None,
        });
        return Meant::new(message, Some(first.to_owned()), note.unwrap_or_default());
    }
    let words: Vec<&str> = rest.split_whitespace().collect();
    let keys = words.iter().enumerate().filter_map(|(index, word)| {
        let (key, value) =
            word.split_once('=').unwrap_or((word, words.get(index + 1).copied().unwrap_or("")));
        let number = value.parse::<u32>().ok().filter(|number| *number > 0);
        match key {
            "backup" => Some("backup = true".to_owned()),
            "weight" => {
                number.filter(|weight| *weight <= LARGEST_WEIGHT).map(|weight| format!("weight = {weight}"))
            }
            "max_conns" | "maxconn" => Some(format!("max_connections = {}", number?)),
            _ => None,
        }
    });
    let keys: String = keys.map(|key| format!(", {key}")).collect();
    let write = match keys.as_str() {
        "" => format!("\"{first}\""),
        keys => format!("{{ address = \"{first}\"{keys} }}"),
    };
    Some(Meant { message, write, note: String::new() })
}

/// The parts between colons; those in brackets are one.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut within) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '[' => within = true,
            ']' => within = false,
            ':' if !within => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// `8080:80` and `127.0.0.1:8080:80`, as Docker has it; `8080:app:80`, as `ssh -L` has it.
fn two_addresses(text: &str, side: Side) -> Option<Meant> {
    let parts = parts(text);
    let is_port = |part: &str| part.parse::<Ports>().is_ok();
    let (listen, upstream) = match parts.as_slice() {
        [outer, inner] if is_port(outer) && is_port(inner) => (("", outer), ("", inner)),
        [bind, outer, inner] if is_port(outer) && is_port(inner) => ((*bind, outer), ("", inner)),
        [outer, host, inner] if is_port(outer) && is_port(inner) => (("", outer), (*host, inner)),
        [bind, outer, host, inner] if is_port(outer) && is_port(inner) => ((*bind, outer), (*host, inner)),
        _ => return None,
    };
    let message = format!("`{text}` is two addresses in one, as Docker and ssh write them");
    match side {
        Side::Listen => {
            let host = if upstream.0.is_empty() { "name" } else { upstream.0 };
            let note = format!("; `upstream` has the other one: \"{host}:{}\"", upstream.1);
            Meant::new(message, side.address(listen.0, listen.1), note)
        }
        Side::Upstream => {
            let host = if upstream.0.is_empty() { listen.0 } else { upstream.0 };
            let note =
                format!(", or the host that has this port; `listen` has the other one: \"{}\"", listen.1);
            Meant::new(message, side.address(host, upstream.1), note)
        }
    }
}

/// `[fe80::1%eth0]:80`.
fn zone(text: &str, side: Side) -> Option<Meant> {
    let (ip, rest) = text.split_once('%')?;
    let ip: Ipv6Addr = ip.trim_start_matches('[').parse().ok()?;
    let (zone, port) = rest.rsplit_once(':').unwrap_or((rest, "8080"));
    let message = format!("`%{}` is a zone, which Portway does not take", zone.trim_end_matches(']'));
    if !ip.is_unicast_link_local() {
        return Meant::new(message, side.address(&ip.to_string(), port), "");
    }
    match side {
        Side::Listen => {
            let note = " for every interface; allow = [\"fe80::/10\"] admits only clients of the same link";
            Meant::new(message, side.address("", port), note)
        }
        Side::Upstream => {
            let note =
                format!("give the address that it has beyond its link, or a name of it: \"name:{port}\"");
            Some(Meant { message, write: String::new(), note })
        }
    }
}

/// `app:3000/path`, `10.0.0.1/24`.
fn path_behind(text: &str, side: Side) -> Option<Meant> {
    let (address, rest) = text.split_once('/').filter(|(address, _)| !address.is_empty())?;
    if address.parse::<IpAddr>().is_ok() && rest.bytes().all(|byte| byte.is_ascii_digit()) {
        let note = ", with the port that is meant";
        return Meant::new(format!("`{text}` is a network"), side.address(address, "8080"), note);
    }
    let message = format!("`/{rest}` is a path, and Portway knows none: it forwards bytes");
    if side.reads(address) {
        return Meant::new(message, Some(address.to_owned()), "");
    }
    Meant::new(message, side.address(address, "80"), ", with the port that is meant")
}

/// `root@app:22`.
fn user(text: &str, side: Side) -> Option<Meant> {
    let (user, address) = text.rsplit_once('@')?;
    let message = format!("`{user}@` is a user, and an address has none");
    Meant::new(message, Some(address.to_owned()).filter(|address| side.reads(address)), "")
}

/// `app:http`.
fn port_name(text: &str, side: Side) -> Option<Meant> {
    let (host, name) = text.rsplit_once(':')?;
    let port = service(name)?.to_string();
    Meant::new(format!("`{name}` is not a port number"), side.address(host, &port), "")
}

/// `app`, `0.0.0.0`.
fn no_port(text: &str, side: Side) -> Option<Meant> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if text.contains([':', '[', ',', ' ']) || text.is_empty() || is_number {
        return None;
    }
    let address = match side {
        Side::Listen if text.parse::<IpAddr>().is_err() && text != "localhost" => return None,
        Side::Listen if text != "localhost" => Some(format!("{text}:8080")),
        _ => side.address(text, "8080"),
    };
    Meant::new(format!("`{text}` has no port"), address, ", with the port that is meant")
}
