//! PROXY headers, written and read without Portway's own code (haproxy.org, "proxy-protocol.txt", 2.1 and 2.2).

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::Value;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, and the commands PROXY and LOCAL.
pub const PROXY: u8 = 0x21;
pub const LOCAL: u8 = 0x20;
/// Families, with streams.
pub const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;
/// Types of notes (TLVs).
pub const ALPN: u8 = 0x01;
pub const AUTHORITY: u8 = 0x02;
pub const CRC32C: u8 = 0x03;
pub const UNIQUE_ID: u8 = 0x05;
pub const SSL: u8 = 0x20;

pub type Notes = BTreeMap<u8, Vec<u8>>;

/// Who talks to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ends {
    Ip(SocketAddr, SocketAddr),
    /// Paths, without the zeros behind them.
    Unix(Vec<u8>, Vec<u8>),
    Nobody,
}

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    pub ends: Ends,
    pub notes: Notes,
}

/// A line of version 1.
pub fn v1(client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (client.ip(), server.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), server.port()).into_bytes()
}

/// A header of version 2 for a stream of IP.
pub fn v2(client: SocketAddr, server: SocketAddr, notes: &[(u8, &[u8])]) -> Vec<u8> {
    let mut rest = Vec::new();
    for ip in [client.ip(), server.ip()] {
        match ip {
            IpAddr::V4(ip) => rest.extend(ip.octets()),
            IpAddr::V6(ip) => rest.extend(ip.octets()),
        }
    }
    rest.extend([client.port().to_be_bytes(), server.port().to_be_bytes()].concat());
    for (kind, value) in notes {
        rest.push(*kind);
        rest.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        rest.extend(*value);
    }
    v2_of(PROXY, if client.is_ipv4() { TCP4 } else { TCP6 }, &rest)
}

/// Any header of version 2.
pub fn v2_of(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

/// The header at the beginning, and its length. `None`: it is not whole yet.
pub fn read(bytes: &[u8]) -> Option<(Told, usize)> {
    if bytes.starts_with(b"PROXY") {
        let length = bytes.windows(2).position(|end| end == b"\r\n")? + 2;
        let line = std::str::from_utf8(&bytes[..length - 2]).unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let end = |ip: usize| SocketAddr::new(words[ip].parse().unwrap(), words[ip + 2].parse().unwrap());
        let ends = match words[1] {
            "UNKNOWN" => Ends::Nobody,
            "TCP4" | "TCP6" => Ends::Ip(end(2), end(3)),
            other => panic!("{other}"),
        };
        return Some((Told { ends, notes: Notes::new() }, length));
    }
    let known = bytes.len().min(SIGNATURE.len());
    assert_eq!(bytes[..known], SIGNATURE[..known], "no header: {bytes:?}");
    let length = 16 + usize::from(u16::from_be_bytes([*bytes.get(14)?, *bytes.get(15)?]));
    let rest = bytes.get(16..length)?;
    let (ends, notes) = match (bytes[12], bytes[13]) {
        (LOCAL, _) | (PROXY, UNSPECIFIED) => (Ends::Nobody, rest),
        (PROXY, TCP4) => (ip_ends(rest, 4), &rest[12..]),
        (PROXY, TCP6) => (ip_ends(rest, 16), &rest[36..]),
        (PROXY, UNIX) => {
            let path = |at: usize| {
                rest[at..at + 108].split(|byte| *byte == 0).next().map(<[u8]>::to_vec).unwrap_or_default()
            };
            (Ends::Unix(path(0), path(108)), &rest[216..])
        }
        other => panic!("{other:?}"),
    };
    Some((Told { ends, notes: notes_of(notes) }, length))
}

/// An upstream's first bytes, as a header and what follows it, of which there is so much at least.
#[track_caller]
pub fn received(mut stream: impl Read, rest: usize) -> (Told, Vec<u8>) {
    let (mut bytes, mut piece) = (Vec::new(), [0; 1024]);
    loop {
        if let Some((header, length)) = read(&bytes)
            && bytes.len() - length >= rest
        {
            return (header, bytes.split_off(length));
        }
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "an end after {} bytes", bytes.len());
        bytes.extend(&piece[..read]);
    }
}

/// The part of a unique id that all of one process share. The rest is the id of the connection.
#[track_caller]
pub fn nonce(unique_id: &[u8], id: &Value) -> String {
    let text = std::str::from_utf8(unique_id).unwrap();
    let (nonce, of) = text.split_once('-').unwrap_or_else(|| panic!("{text}"));
    assert_eq!(of, id.to_string(), "{text}");
    assert!(nonce.len() == 16 && nonce.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')), "{text}");
    nonce.to_owned()
}

fn ip_ends(rest: &[u8], octets: usize) -> Ends {
    let ip = |at: usize| match octets {
        4 => IpAddr::from(<Ipv4Addr as From<[u8; 4]>>::from(rest[at..at + 4].try_into().unwrap())),
        _ => IpAddr::from(<Ipv6Addr as From<[u8; 16]>>::from(rest[at..at + 16].try_into().unwrap())),
    };
    let port = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
    let client = SocketAddr::new(ip(0), port(2 * octets));
    Ends::Ip(client, SocketAddr::new(ip(octets), port(2 * octets + 2)))
}

/// Notes by their type. None may come twice.
pub fn notes_of(mut bytes: &[u8]) -> Notes {
    let mut notes = Notes::new();
    while let [kind, high, low, rest @ ..] = bytes {
        let (value, more) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        assert_eq!(notes.insert(*kind, value.to_vec()), None, "twice: {kind}");
        bytes = more;
    }
    assert!(bytes.is_empty(), "bytes behind the notes: {bytes:?}");
    notes
}

/// Whether the checksum of a header of IP is right: CRC32c over all of it, with zeros in its own place (2.2.3).
pub fn sum_is_right(header: &[u8]) -> bool {
    let mut at = 16 + if matches!(header[13] >> 4, 1) { 12 } else { 36 };
    while header[at] != CRC32C {
        at += 3 + usize::from(u16::from_be_bytes([header[at + 1], header[at + 2]]));
    }
    let (mut bytes, value) = (header.to_vec(), at + 3..at + 7);
    bytes[value.clone()].fill(0);
    let sum = bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg()))
    });
    header[value] == (!sum).to_be_bytes()
}
