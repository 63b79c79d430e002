//! Version 2 of the PROXY protocol: binary, with further notes ("TLVs") and a checksum.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc32c::crc32c;
use super::proxy_header::{Addresses, Header, LONGEST, Malformed, Notes, Ssl};

/// The signature: the first bytes of a header of version 2.
pub(super) const START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of the fixed part: signature, command, family and length.
const FIXED: usize = 16;
/// Bytes of the field for the path of a Unix socket.
const PATH: usize = 108;

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_COMMON_NAME: u8 = 0x22;
const SSL_CIPHER: u8 = 0x23;
/// Most bytes of a name that are sent: a note has at most 255 bytes.
const LONGEST_NAME: usize = 150;

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
            (SSL, 5..=255) => notes.ssl = Some(value.to_vec()),
            // Ignore other kinds, and impossible sizes of known kinds.
            _ => {}
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
    for (kind, value) in
        [(ALPN, &notes.alpn), (AUTHORITY, &notes.authority), (UNIQUE_ID, &notes.unique_id), (SSL, &notes.ssl)]
    {
        if let (Some(value), true) = (value, known) {
            note(&mut rest, kind, value);
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

/// Appends one note. Cuts its value to 255 bytes.
fn note(bytes: &mut Vec<u8>, kind: u8, value: &[u8]) {
    let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
    bytes.extend([kind, 0, length]);
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
mod tests {
    use super::super::proxy_header::ClientCertificate;
    use super::*;

    fn session(certificate: Option<ClientCertificate>) -> Vec<u8> {
        ssl(&Ssl { version: "TLSv1.3".into(), cipher: "AES".into(), certificate })
    }

    /// The bytes of proxy-protocol.txt, section 2.2.6: client flags, verify, and notes of their own.
    #[test]
    fn t3_what_is_said_of_a_session_is_what_the_specification_has() {
        let named = |name: &str, earlier| ClientCertificate { common_name: Some(name.into()), earlier };
        assert_eq!(session(None), *b"\x01\0\0\0\x01\x21\0\x07TLSv1.3\x23\0\x03AES");
        assert_eq!(
            session(Some(named("device 7", false))),
            *b"\x07\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x08device 7\x23\0\x03AES"
        );
        assert_eq!(
            session(Some(named("device 7", true))),
            *b"\x05\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x08device 7\x23\0\x03AES"
        );
        let nameless = ClientCertificate { common_name: None, earlier: false };
        assert_eq!(session(Some(nameless)), *b"\x07\0\0\0\0\x21\0\x07TLSv1.3\x23\0\x03AES");
    }

    #[test]
    fn t3_a_long_name_is_cut_between_two_characters() {
        let sent = |name: String| {
            let all = session(Some(ClientCertificate { common_name: Some(name), earlier: false }));
            // Behind flags, verify and the version: kind, two bytes of length, name.
            let [0x22, 0, length, name @ ..] = &all[15..] else { panic!("{all:?}") };
            name[..usize::from(*length)].to_vec()
        };
        assert_eq!(sent("x".repeat(150)).len(), 150);
        assert_eq!(sent("x".repeat(151)).len(), 150);
        // Two bytes each: the 150th byte is the second of one, and then the first.
        assert_eq!(sent("é".repeat(75)).len(), 150);
        assert_eq!(sent(format!("x{}", "é".repeat(75))).len(), 149);
        assert_eq!(sent(String::new()).len(), 0);
    }

    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    fn ends(client: &str, server: &str) -> Addresses {
        Addresses::Ip(client.parse().unwrap(), server.parse().unwrap())
    }

    /// Whole headers, with checksums that another program has computed.
    #[test]
    fn t3_headers_have_the_bytes_of_the_specification() {
        let (v4, v6) =
            (ends("192.0.2.7:50123", "198.51.100.9:443"), ends("[2001:db8::7]:50123", "[2001:db8::9]:443"));
        let notes = Notes {
            alpn: Some(b"h2".into()),
            authority: Some(b"a.b".into()),
            unique_id: Some(b"id".into()),
            ssl: Some(b"\x01\0\0\0\x01".into()),
        };
        let none = Notes::default;
        let v6_bytes =
            b" \x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07 \x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09\xc3\xcb\x01\xbb";
        let v4_bytes = b"\xc0\0\x02\x07\xc63d\x09\xc3\xcb\x01\xbb";
        let tlvs = b"\x01\0\x02h2\x02\0\x03a.b\x05\0\x02id \0\x05\x01\0\0\0\x01";
        for (addresses, notes, datagram, parts) in [
            (Addresses::Own, none(), false, [&b" \0\0\x07"[..], b"", b"", b"\xa9\xb8~\x8f"]),
            (Addresses::Unknown, none(), false, [b"!\0\0\x07", b"", b"", b">\xc9\x89N"]),
            // What belongs to no addresses is not said.
            (Addresses::Unknown, notes.clone(), true, [b"!\0\0\x07", b"", b"", b">\xc9\x89N"]),
            (v4.clone(), none(), false, [b"!\x11\0\x13", v4_bytes, b"", b"\xbb\x92\xc1^"]),
            (v4.clone(), none(), true, [b"!\x12\0\x13", v4_bytes, b"", b"_\xac\xf2\x82"]),
            (v6.clone(), none(), false, [b"!!\0+", v6_bytes, b"", b"\xebtM`"]),
            (v6, none(), true, [b"!\x22\0+", v6_bytes, b"", b"+D\xefR"]),
            (v4, notes, false, [b"!\x11\0+", v4_bytes, tlvs, b"\xbe$\xd3^"]),
        ] {
            let [head, addrs, tlvs, crc] = parts;
            let wanted = [SIGNATURE, head, addrs, tlvs, b"\x03\0\x04", crc].concat();
            let header = Header { addresses, notes };
            assert_eq!(write(&header, datagram), wanted, "{header:?}");
        }
        let unix = |datagram| {
            let header = Header { addresses: Addresses::Unix(b"/a".into(), b"/bc".into()), notes: none() };
            let bytes = write(&header, datagram);
            assert_eq!(
                (bytes.len(), &bytes[12..20], &bytes[124..129]),
                (239, &bytes[12..20], &b"/bc\0\0"[..])
            );
            (bytes[12..18].to_vec(), bytes[232..].to_vec())
        };
        assert_eq!(unix(false), (b"!1\0\xdf/a".to_vec(), b"\x03\0\x04\x15\xb64\xe4".to_vec()));
        assert_eq!(unix(true), (b"!2\0\xdf/a".to_vec(), b"\x03\0\x04\x1d\xe0r\x17".to_vec()));
    }

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    #[test]
    fn a_header_is_read_up_to_16_kib_and_one_of_the_proxy_itself_whatever_its_family() {
        let v4 = b"\xc0\0\x02\x07\xc63d\x09\xc3\xcb\x01\xbb";
        for (length, fits) in [(16 * 1024, true), (16 * 1024 + 1, false)] {
            // Addresses, and one note of a kind that nobody knows.
            let note = length - 16 - 12 - 3;
            let rest =
                [&v4[..], &[0xee], &u16::try_from(note).unwrap().to_be_bytes(), &vec![0; note]].concat();
            let bytes = header(0x21, 0x11, &rest);
            assert_eq!((bytes.len(), parse(&bytes).is_ok()), (length, fits));
            assert_eq!(parse(&bytes[..16]).is_ok(), fits, "known as soon as its length is there");
        }
        for family in [0x00, 0x11, 0x31, 0x44, 0xff] {
            let (read, length) = parse(&header(0x20, family, b"anything")).unwrap().unwrap();
            assert_eq!((read.addresses, read.notes, length), (Addresses::Own, Notes::default(), 24));
        }
        // Nobody knows where notes begin where the addresses are of no family.
        let (read, length) = parse(&header(0x21, 0x00, b"\x01\0\x09")).unwrap().unwrap();
        assert_eq!((read.addresses, read.notes, length), (Addresses::Unknown, Notes::default(), 19));
        assert!(parse(&header(0x21, 0x44, b"")).is_err() && parse(&header(0x22, 0x11, v4)).is_err());
    }

    /// A note of a size that its kind cannot have is passed over, and a longer one than a note may be is cut.
    #[test]
    fn notes_have_the_sizes_of_their_kinds() {
        let v4 = &b"\xc0\0\x02\x07\xc63d\x09\xc3\xcb\x01\xbb"[..];
        let reads = |kind: u8, size: usize| {
            let length = u16::try_from(size).unwrap().to_be_bytes();
            let notes = [&[kind], &length[..], &vec![7; size]].concat();
            let header = parse(&header(0x21, 0x11, &[v4, &notes].concat())).unwrap().unwrap().0;
            let Notes { alpn, authority, unique_id, ssl } = header.notes;
            [alpn, authority, unique_id, ssl].map(|note| note.map(|note| note.len()))
        };
        for (kind, at, least, most) in [(1, 0, 1, 255), (2, 1, 1, 255), (5, 2, 1, 128), (0x20, 3, 5, 255)] {
            for size in [least, most] {
                let mut wanted = [None; 4];
                wanted[at] = Some(size);
                assert_eq!(reads(kind, size), wanted, "{size} bytes of {kind}");
            }
            for size in [least - 1, most + 1] {
                assert_eq!(reads(kind, size), [None; 4], "{size} bytes of {kind}");
            }
        }
        let notes = Notes { authority: Some(vec![b'a'; 300]), ..Notes::default() };
        let bytes = write(&Header { addresses: ends("192.0.2.7:1", "192.0.2.9:2"), notes }, false);
        assert_eq!((bytes.len(), &bytes[28..32]), (16 + 12 + 3 + 255 + 7, &b"\x02\0\xffa"[..]));
    }

    #[test]
    fn a_checksum_has_four_bytes_wherever_it_stands_and_fits() {
        let v4 = &b"\xc0\0\x02\x07\xc63d\x09\xc3\xcb\x01\xbb"[..];
        let with = |notes: &[u8]| parse(&header(0x21, 0x11, &[v4, notes].concat())).is_ok();
        assert!(with(b"") && with(b"\x01\0\x02h2"));
        for wrong in [
            &b"\x03\0\x03abc"[..],
            b"\x03\0\x05abcde",
            b"\x03\0\0",
            b"\x03\0\x04abcd",
            b"\x01\0\x03h2",
            b"\x01\0",
        ] {
            assert!(!with(wrong), "{wrong:?}");
        }
        // Before another note: computed over a header in which it is zero.
        let blank = header(0x21, 0x11, &[v4, b"\x03\0\x04\0\0\0\0", b"\x01\0\x02h2"].concat());
        let sum = crc32c(blank.iter().copied()).to_be_bytes();
        let whole = header(0x21, 0x11, &[v4, b"\x03\0\x04", &sum, b"\x01\0\x02h2"].concat());
        assert_eq!(parse(&whole).unwrap().unwrap().0.notes.alpn.as_deref(), Some(&b"h2"[..]));
        // From the length of the checksum on: with another kind it would be none.
        for at in 29..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x80;
            assert!(parse(&damaged).is_err(), "{at}");
        }
    }
}
