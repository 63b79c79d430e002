//! Addresses as other programs write them (Docker, nginx, HAProxy, ssh, socat, URLs): what was meant, and how it is
//! written here. Only a text that cannot be read comes here.

mod bare;

use std::str::FromStr;

use bare::{Meant, Side, inner, note_of, path, service};

use super::fault::Fault;
use super::spec::{ListenSpec, Ports, UpstreamSpec};

impl FromStr for ListenSpec {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        ListenSpec::read(text).map_err(|fault| meant(text, Side::Listen).unwrap_or(fault))
    }
}

impl FromStr for UpstreamSpec {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        UpstreamSpec::read(text).map_err(|fault| meant(text, Side::Upstream).unwrap_or(fault))
    }
}

/// The first guess that fits.
fn meant(text: &str, side: Side) -> Option<Fault> {
    let bare = text.trim();
    if bare.starts_with("unix:") && !bare.starts_with("unix:@") {
        return None;
    }
    if bare != text && side.reads(bare) {
        let fault = Meant::new("a space stands before or after the address", Some(bare.to_owned()), "");
        return fault.map(Meant::fault);
    }
    let guesses = [variable, unsupported, scheme, suffix];
    let outer = guesses.iter().find_map(|guess| guess(bare, side));
    outer.or_else(|| inner(bare, side)).map(Meant::fault)
}

fn variable(text: &str, _: Side) -> Option<Meant> {
    let message = "an address is taken as it stands: no variable is replaced in it";
    let found = text.starts_with('$') || text.contains("${") || text.contains("{{");
    let meant =
        Meant { message: message.into(), write: String::new(), note: "write the address itself".into() };
    found.then_some(meant)
}

/// What Portway has not.
fn unsupported(text: &str, side: Side) -> Option<Meant> {
    let lower = text.to_ascii_lowercase();
    let begins = |starts: &[&str]| starts.iter().any(|start| lower.starts_with(start));
    let (message, note) = if begins(&["vsock:", "vsock@"]) {
        let socat = match side {
            Side::Listen => "socat VSOCK-LISTEN:PORT,fork UNIX-CONNECT:/run/vsock.sock",
            Side::Upstream => "socat UNIX-LISTEN:/run/vsock.sock,fork VSOCK-CONNECT:CID:PORT",
        };
        ("Portway has no sockets of virtual machines (vsock)", format!("let socat stand between: {socat}"))
    } else if begins(&["srv:", "srv+", "srv://", "dns+srv", "dnssrv+", "_"]) && lower.contains("._") {
        let name = text.split([':', '+']).next_back().unwrap_or(text).trim_start_matches('/');
        let note =
            format!("an upstream is a name and a port, \"host:port\": dig +short SRV {name} shows them");
        ("Portway does not look up SRV records", note)
    } else if begins(&["srv:", "srv+", "dns+srv", "dnssrv+"]) {
        let note = "an upstream is a name and a port: \"host:port\"".to_owned();
        ("Portway does not look up SRV records", note)
    } else if begins(&["@", "abns@", "unix:@", "unix@@", "abstract:"]) {
        let note = "give the socket a file: \"unix:/run/app.sock\"".to_owned();
        ("Portway has no Unix sockets without a file (abstract ones)", note)
    } else if begins(&["fd@", "fd:", "sd:", "systemd:", "sockpair@"]) {
        let note = "write the address of the socket, as ListenStream= has it: systemd's socket is then used";
        ("a socket that was passed is found by its address", note.to_owned())
    } else {
        return None;
    };
    Some(Meant { message: message.into(), write: String::new(), note })
}

/// Words that say no more than what Portway does anyway; with those of `socat` and HAProxy.
const TRANSPORTS: &[&str] = &[
    "tcp",
    "tcp4",
    "tcp6",
    "udp",
    "udp4",
    "udp6",
    "ipv4",
    "ipv6",
    "dns",
    "tls",
    "ssl",
    "tcp-listen",
    "tcp4-listen",
    "tcp6-listen",
    "tcp-connect",
    "udp-listen",
    "udp4-listen",
    "udp-connect",
    "passthrough",
];

const UNIX: &[&str] = &["unix", "unix-listen", "unix-connect", "unix-stream", "unix/", "local"];

/// `http://app:3000/`, `tcp:8080`, `ipv4@127.0.0.1:80`, `TCP-LISTEN:8080`. The message has no part of the text behind the
/// scheme: it may have a password.
fn scheme(text: &str, side: Side) -> Option<Meant> {
    let (scheme, rest, url) = match (text.split_once("://"), text.split_once([':', '@'])) {
        (Some((scheme, rest)), _) => (scheme, rest, true),
        (None, Some((scheme, rest))) => (scheme, rest, false),
        (None, None) => return None,
    };
    let scheme = scheme.to_ascii_lowercase();
    if UNIX.contains(&scheme.as_str()) {
        return path(rest, side).filter(|_| !text.starts_with("unix:"));
    }
    if !url {
        let rest = TRANSPORTS.contains(&scheme.as_str()).then_some(rest.trim_start_matches('/'))?;
        let write = if side.reads(rest) { Some(rest.to_owned()) } else { None };
        let write =
            write.map(|address| format!("\"{address}\"")).or_else(|| Some(inner(rest, side)?.write))?;
        let message = format!("`{scheme}` does not stand in an address");
        return Some(Meant { message, write, note: note_of(&scheme, side).into() });
    }
    // nginx: http://unix:/run/app.sock, with a path of HTTP behind a colon.
    if let Some(socket) = rest.strip_prefix("unix:") {
        return path(socket.split(':').next().unwrap_or(socket), side);
    }
    let authority = rest.trim_start_matches('/').split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (name, port) = match host.rsplit_once(':').filter(|(_, port)| port.parse::<Ports>().is_ok()) {
        Some((name, port)) => (name, Some(port.to_owned())),
        None => (host, service(&scheme).map(|port| port.to_string())),
    };
    let message = format!("`{scheme}://` begins a URL, and here stands an address");
    let address = port.and_then(|port| side.address(name, &port));
    let note = match address {
        Some(_) => note_of(&scheme, side),
        None => "write only the address: \"host:port\"",
    };
    let write = address.map_or_else(String::new, |address| format!("\"{address}\""));
    Some(Meant { message, write, note: note.into() })
}

/// `8080/udp`, `127.0.0.1:8080:80/tcp`.
fn suffix(text: &str, side: Side) -> Option<Meant> {
    let (rest, protocol) = text.rsplit_once('/')?;
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp") {
        return None;
    }
    let message = format!("the protocol does not stand in the address: `/{protocol}`");
    let note = note_of(&protocol, side);
    if side.reads(rest) {
        return Meant::new(message, Some(rest.to_owned()), note);
    }
    let Meant { write, note: more, .. } = inner(rest, side)?;
    Some(Meant { message, write, note: format!("{more}{note}") })
}

#[cfg(test)]
mod tests;
