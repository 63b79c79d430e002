//! Version 1 of the PROXY protocol: one line of text.

use std::net::{IpAddr, SocketAddr};

use super::proxy_header::{Addresses, Header, Malformed, Notes};

/// The first bytes of a header of version 1.
pub(super) const START: &[u8] = b"PROXY ";

/// The longest line in bytes, including its end (section 2.1).
const LONGEST: usize = 107;

pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let head = bytes.get(..LONGEST).unwrap_or(bytes);
    let Some(end) = head.windows(2).position(|pair| pair == b"\r\n") else {
        // A lone line feed does not end a header, and what follows it must not be taken for one.
        let broken = head.contains(&b'\n') || head.len() == LONGEST;
        return if broken {
            Err(Malformed("the PROXY line has no end"))
        } else {
            plausible(head).map(|()| None)
        };
    };
    let line = head.get(START.len()..end).unwrap_or_default();
    if line.contains(&b'\n') {
        // The same verdict, however much of the line arrives at once.
        return Err(Malformed("the PROXY line has a line feed in it"));
    }
    let line = std::str::from_utf8(line).map_err(|_| Malformed("the PROXY line is not ASCII"))?;
    let addresses = addresses(line)?;
    Ok(Some((Header { addresses, notes: Notes::default() }, end + 2)))
}

/// Whether the protocol, as far as it has arrived, can still be a known one.
fn plausible(head: &[u8]) -> Result<(), Malformed> {
    let rest = head.get(START.len()..).unwrap_or_default();
    let known: [&[u8]; 3] = [b"TCP4 ", b"TCP6 ", b"UNKNOWN"];
    let fits = |known: &&[u8]| rest.iter().zip(known.iter()).all(|(byte, wanted)| byte == wanted);
    if known.iter().any(fits) {
        Ok(())
    } else {
        Err(Malformed("the PROXY line has another protocol than TCP"))
    }
}

fn addresses(line: &str) -> Result<Addresses, Malformed> {
    // Ignore whatever follows UNKNOWN (section 2.1).
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Ok(Addresses::Unknown);
    }
    let fields: Vec<&str> = line.split(' ').collect();
    let [protocol, client, server, client_port, server_port] = fields[..] else {
        return Err(Malformed("the PROXY line has not six fields"));
    };
    let ip = |text: &str| -> Result<IpAddr, Malformed> {
        let ip = match protocol {
            "TCP4" => text.parse().map(IpAddr::V4).ok(),
            "TCP6" => text.parse().map(IpAddr::V6).ok(),
            _ => return Err(Malformed("the PROXY line has another protocol than TCP")),
        };
        ip.ok_or(Malformed("the PROXY line has no address where one should be"))
    };
    let port = |text: &str| -> Result<u16, Malformed> {
        let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        let port = text.parse().ok().filter(|_| canonical);
        port.ok_or(Malformed("the PROXY line has no port where one should be"))
    };
    Ok(Addresses::Ip(
        SocketAddr::new(ip(client)?, port(client_port)?),
        SocketAddr::new(ip(server)?, port(server_port)?),
    ))
}

pub(super) fn write(addresses: &Addresses) -> Vec<u8> {
    match addresses {
        Addresses::Ip(client, server) => {
            let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (client.ip(), server.ip());
            format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), server.port()).into_bytes()
        }
        // Version 1 has no word for a Unix socket, and none for a proxy's own connection.
        Addresses::Own | Addresses::Unknown | Addresses::Unix(..) => b"PROXY UNKNOWN\r\n".to_vec(),
    }
}
