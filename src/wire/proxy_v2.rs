//! Version 2 of the PROXY protocol: binary, with further notes ("TLVs") and a checksum.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc32c::crc32c;
use super::proxy_header::{Addresses, Header, LONGEST, Malformed, Note, Notes, Ssl};

/// The signature: the first bytes of a header of version 2.
pub(super) const START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of the fixed part: signature, command, family and length.
const FIXED: usize = 16;
/// Bytes of the field for the path of a Unix socket.
const PATH: usize = 108;

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const NOOP: u8 = 0x04;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_COMMON_NAME: u8 = 0x22;
const SSL_CIPHER: u8 = 0x23;
const NETNS: u8 = 0x30;
/// Most bytes of a note that names something.
const LONGEST_NOTE: usize = 255;
/// Most bytes of a common name that are sent.
const LONGEST_NAME: usize = 150;
/// Bytes of the checksum, with its kind and length.
const SUM: usize = 7;

/// Takes bytes from the front. Fails if there are too few.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, n: usize) -> Result<&'b [u8], Malformed> {
        let (taken, rest) =
            self.0.split_at_checked(n).ok_or(Malformed("the PROXY header is too short for what it says"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| Malformed("the PROXY header is too short for what it says"))
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let at = |index: usize| bytes.get(index).copied();
    let own = match at(START.len()) {
        None => return Ok(None),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(Malformed("the PROXY header has another version or command than there is")),
    };
    match at(START.len() + 1) {
        None => return Ok(None),
        Some(0x00 | 0x11 | 0x12 | 0x21 | 0x22 | 0x31 | 0x32) => {}
        Some(_) if own => {}
        Some(_) => return Err(Malformed("the PROXY header has another address family than there is")),
    }
    let (Some(high), Some(low)) = (at(FIXED - 2), at(FIXED - 1)) else { return Ok(None) };
    let whole = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if whole > LONGEST {
        return Err(Malformed("the PROXY header has more than 16 KiB"));
    }
    let Some(whole_bytes) = bytes.get(..whole) else { return Ok(None) };
    let mut rest = Reader(whole_bytes.get(FIXED..).unwrap_or_default());
    if own {
        // Ignore its addresses and notes (section 2.2).
        return Ok(Some((Header { addresses: Addresses::Own, notes: Notes::default() }, whole)));
    }
    let addresses = addresses(at(START.len() + 1).unwrap_or_default(), &mut rest)?;
    let notes = match addresses {
        // Without a family nobody knows how long the addresses are, and so where the notes begin.
        Addresses::Unknown => Notes::default(),
        _ => notes(rest, whole_bytes)?,
    };
    Ok(Some((Header { addresses, notes }, whole)))
}

fn addresses(family: u8, rest: &mut Reader<'_>) -> Result<Addresses, Malformed> {
    let path = |bytes: [u8; PATH]| {
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes[..end].to_vec()
    };
    Ok(match family >> 4 {
        1 => {
            let (client, server) = (Ipv4Addr::from(rest.array::<4>()?), Ipv4Addr::from(rest.array::<4>()?));
            let (from, to) = (rest.u16()?, rest.u16()?);
            Addresses::Ip(SocketAddr::new(client.into(), from), SocketAddr::new(server.into(), to))
        }
        2 => {
            let (client, server) = (Ipv6Addr::from(rest.array::<16>()?), Ipv6Addr::from(rest.array::<16>()?));
            let (from, to) = (rest.u16()?, rest.u16()?);
            Addresses::Ip(SocketAddr::new(client.into(), from), SocketAddr::new(server.into(), to))
        }
        3 => Addresses::Unix(path(rest.array()?), path(rest.array()?)),
        _ => Addresses::Unknown,
    })
}

fn notes(mut rest: Reader<'_>, whole: &[u8]) -> Result<Notes, Malformed> {
    let mut notes = Notes::default();
    while !rest.0.is_empty() {
        let [kind] = rest.array()?;
        let length = rest.u16()?;
        let at = whole.len() - rest.0.len();
        let value = rest.take(length.into())?;
        match (kind, value.len()) {
            (CRC32C, 4) => {
                let blanked = whole.iter().enumerate();
                let blanked =
                    blanked.map(|(index, byte)| if (at..at + 4).contains(&index) { 0 } else { *byte });
                if crc32c(blanked).to_be_bytes() != value {
                    return Err(Malformed("the PROXY header does not fit its checksum"));
                }
            }
            (CRC32C, _) => {
                return Err(Malformed("the PROXY header has a checksum of another size than there is"));
            }
            (ALPN, 1..=255) => notes.alpn = Some(value.to_vec()),
            (AUTHORITY, 1..=255) => notes.authority = Some(value.to_vec()),
            (UNIQUE_ID, 1..=128) => notes.unique_id = Some(value.to_vec()),
            (SSL, 5..) => notes.ssl = Some(value.to_vec()),
            // Impossible sizes.
            (ALPN | AUTHORITY | UNIQUE_ID | SSL, _) => {}
            // Of the sender's own connection and host.
            (NOOP | NETNS, _) => {}
            (kind, _) => notes.others.push(Note { kind, value: value.to_vec() }),
        }
    }
    Ok(notes)
}

pub(super) fn write(header: &Header, datagram: bool) -> Vec<u8> {
    let transport = if datagram { 2 } else { 1 };
    let (command, family, addresses) = match &header.addresses {
        Addresses::Own => (0x20, 0x00, Vec::new()),
        Addresses::Unknown => (0x21, 0x00, Vec::new()),
        Addresses::Ip(client, server) => {
            let family = if client.is_ipv4() { 0x10 } else { 0x20 };
            let mut bytes = Vec::with_capacity(36);
            for addr in [client, server] {
                match addr.ip() {
                    std::net::IpAddr::V4(ip) => bytes.extend(ip.octets()),
                    std::net::IpAddr::V6(ip) => bytes.extend(ip.octets()),
                }
            }
            bytes.extend(client.port().to_be_bytes());
            bytes.extend(server.port().to_be_bytes());
            (0x21, family | transport, bytes)
        }
        Addresses::Unix(client, server) => {
            let mut bytes = vec![0; 2 * PATH];
            for (field, path) in bytes.chunks_exact_mut(PATH).zip([client, server]) {
                field.iter_mut().zip(path).for_each(|(to, from)| *to = *from);
            }
            (0x21, 0x30 | transport, bytes)
        }
    };
    let mut rest = addresses;
    let notes = &header.notes;
    let known = !matches!(header.addresses, Addresses::Own | Addresses::Unknown);
    if known {
        for (kind, value) in
            [(ALPN, &notes.alpn), (AUTHORITY, &notes.authority), (UNIQUE_ID, &notes.unique_id)]
        {
            value.iter().for_each(|value| note(&mut rest, kind, value.get(..LONGEST_NOTE).unwrap_or(value)));
        }
        notes.ssl.iter().for_each(|value| note(&mut rest, SSL, value));
        for Note { kind, value } in &notes.others {
            // With ours beside them they may not fit into what others read.
            if FIXED + rest.len() + 3 + value.len() + SUM <= LONGEST {
                note(&mut rest, *kind, value);
            }
        }
    }
    note(&mut rest, CRC32C, &[0; 4]);
    let mut bytes = Vec::with_capacity(FIXED + rest.len());
    bytes.extend(START);
    bytes.extend([command, family]);
    bytes.extend(u16::try_from(rest.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend(rest);
    let crc = crc32c(bytes.iter().copied()).to_be_bytes();
    let at = bytes.len() - crc.len();
    bytes.truncate(at);
    bytes.extend(crc);
    bytes
}

/// Appends one note. Cuts its value to 64 KiB.
fn note(bytes: &mut Vec<u8>, kind: u8, value: &[u8]) {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    bytes.push(kind);
    bytes.extend(length.to_be_bytes());
    bytes.extend(value.iter().take(length.into()));
}

/// The value of `PP2_TYPE_SSL`: the client's bits, whether its certificate was verified, and notes within the note.
pub(super) fn ssl(ssl: &Ssl) -> Vec<u8> {
    let client = match &ssl.certificate {
        None => 0x01,
        Some(certificate) if certificate.earlier => 0x01 | 0x04,
        Some(_) => 0x01 | 0x02 | 0x04,
    };
    let verified: u32 = if ssl.certificate.is_some() { 0 } else { 1 };
    let mut bytes = vec![client];
    bytes.extend(verified.to_be_bytes());
    note(&mut bytes, SSL_VERSION, ssl.version.as_bytes());
    if let Some(name) = ssl.certificate.as_ref().and_then(|certificate| certificate.common_name.as_ref()) {
        let whole = name.char_indices().map(|(at, c)| at + c.len_utf8());
        let end = whole.take_while(|end| *end <= LONGEST_NAME).last().unwrap_or_default();
        note(&mut bytes, SSL_COMMON_NAME, name.get(..end).unwrap_or_default().as_bytes());
    }
    note(&mut bytes, SSL_CIPHER, ssl.cipher.as_bytes());
    bytes
}

#[cfg(test)]
mod tests;
