//! The parser of PROXY headers: round trips, each cut, and a second opinion.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use portway::wire::proxy::{Addresses, Header, Note, Notes, parse, write_v1, write_v2};
use ppp::{PartialResult, v1, v2};
use proptest::prelude::*;

fn addr() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
    ];
    (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1..=255_u8, 0..=108)
}

fn addresses() -> impl Strategy<Value = Addresses> {
    prop_oneof![
        6 => (addr(), addr()).prop_map(|(client, server)| Addresses::between(client, server)),
        1 => (path(), path()).prop_map(|(client, server)| Addresses::Unix(client, server)),
        1 => Just(Addresses::Own),
        1 => Just(Addresses::Unknown),
    ]
}

fn note(most: usize) -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 1..=most))
}

fn header() -> impl Strategy<Value = Header> {
    let ssl = prop::option::of(prop::collection::vec(any::<u8>(), 5..=1000));
    let other = (0xe0..=0xff_u8, prop::collection::vec(any::<u8>(), 0..=300));
    let other = other.prop_map(|(kind, value)| Note { kind, value });
    let notes = (note(255), note(255), note(128), ssl, prop::collection::vec(other, 0..3));
    (addresses(), notes).prop_map(|(addresses, (alpn, authority, unique_id, ssl, others))| {
        let known = !matches!(addresses, Addresses::Own | Addresses::Unknown);
        let notes = if known { Notes { alpn, authority, unique_id, ssl, others } } else { Notes::default() };
        Header { addresses, notes }
    })
}

/// A header is one as soon as its last byte has come, and not before; what follows is left alone.
fn is_whole_at_its_end(bytes: &[u8], header: &Header) {
    for end in 0..bytes.len() {
        assert_eq!(parse(&bytes[..end]), Ok(None), "{end} of {} bytes", bytes.len());
    }
    let more = [bytes, b"PROXY TCP4 and a payload"].concat();
    assert_eq!(parse(&more), Ok(Some((header.clone(), bytes.len()))));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn version_2_reads_what_it_writes(header in header(), datagram in any::<bool>()) {
        let bytes = write_v2(&header, datagram);
        is_whole_at_its_end(&bytes, &header);
        // The other library reads the same.
        let theirs = v2::Header::try_from(bytes.as_slice()).unwrap();
        prop_assert_eq!(theirs.len(), bytes.len());
        match (&header.addresses, theirs.addresses) {
            (Addresses::Ip(client, server), v2::Addresses::IPv4(ip)) => {
                prop_assert_eq!(*client, SocketAddr::new(ip.source_address.into(), ip.source_port));
                prop_assert_eq!(*server, SocketAddr::new(ip.destination_address.into(), ip.destination_port));
            }
            (Addresses::Ip(client, server), v2::Addresses::IPv6(ip)) => {
                prop_assert_eq!(*client, SocketAddr::new(ip.source_address.into(), ip.source_port));
                prop_assert_eq!(*server, SocketAddr::new(ip.destination_address.into(), ip.destination_port));
            }
            (Addresses::Unix(client, _), v2::Addresses::Unix(unix)) => {
                prop_assert!(unix.source.starts_with(client));
            }
            (Addresses::Own, v2::Addresses::Unspecified) => prop_assert_eq!(theirs.command, v2::Command::Local),
            (Addresses::Unknown, v2::Addresses::Unspecified) => prop_assert_eq!(theirs.command, v2::Command::Proxy),
            (ours, theirs) => prop_assert!(false, "{:?} and {:?}", ours, theirs),
        }
        let tlvs: Vec<_> = theirs.tlvs().map(|tlv| tlv.unwrap().to_owned()).collect();
        let notes = &header.notes;
        for (kind, value) in [(1, &notes.alpn), (2, &notes.authority), (5, &notes.unique_id), (0x20, &notes.ssl)] {
            let found = tlvs.iter().find(|tlv| tlv.kind == kind).map(|tlv| tlv.value.to_vec());
            prop_assert_eq!(&found, value);
        }
        let checked = tlvs.iter().any(|tlv| tlv.kind == 3 && tlv.value.len() == 4);
        // Without addresses the other library takes all for addresses of a family that it does not know.
        prop_assert!(checked || matches!(header.addresses, Addresses::Own | Addresses::Unknown));
    }

    #[test]
    fn version_1_reads_what_it_writes(addresses in addresses()) {
        let bytes = write_v1(&addresses);
        prop_assert!(bytes.len() <= 107);
        let read = if matches!(addresses, Addresses::Ip(..)) { addresses } else { Addresses::Unknown };
        is_whole_at_its_end(&bytes, &Header { addresses: read, notes: Notes::default() });
        prop_assert!(v1::Header::try_from(bytes.as_slice()).is_ok());
    }

    /// Every byte of a version 2 header counts: its checksum finds each that is another, unless that byte hides the checksum.
    #[test]
    fn a_damaged_version_2_header_is_refused(header in header(), at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let mut damaged = write_v2(&header, false);
        let at = at.index(damaged.len());
        damaged[at] ^= flip;
        if let Ok(Some((read, length))) = parse(&damaged) {
            let unread = matches!(read.addresses, Addresses::Own | Addresses::Unknown);
            let checked = || {
                let theirs = v2::Header::try_from(&damaged[..length]).unwrap();
                theirs.tlvs().flatten().any(|tlv| tlv.kind == 3)
            };
            prop_assert!(unread || !checked(), "byte {} of {:?}", at, read);
        }
    }

    /// What the other library takes for a line of version 1, and what we do.
    #[test]
    fn lines_mean_the_same_to_both(
        line in r"PROXY (TCP4|TCP6|UNKNOWN|UDP4|TCP) ?[0-9:.]{0,9} ?[0-9:.]{1,9} [0-9]{1,5} [0-9]{1,6}(\r\n|\n|\r)?",
        plain in (any::<u32>(), any::<u32>(), any::<u16>(), any::<u16>()),
    ) {
        let (a, b, c, d) = plain;
        let good = format!("PROXY TCP4 {} {} {c} {d}\r\n", Ipv4Addr::from_bits(a), Ipv4Addr::from_bits(b));
        for text in [line, good] {
            let ours = parse(text.as_bytes());
            match v1::Header::try_from(text.as_bytes()) {
                Ok(theirs) => {
                    let read = ours.map(|read| read.map(|(header, _)| header.addresses));
                    let expected = match theirs.addresses {
                        v1::Addresses::Tcp4(ip) => Addresses::Ip(
                            SocketAddr::new(ip.source_address.into(), ip.source_port),
                            SocketAddr::new(ip.destination_address.into(), ip.destination_port),
                        ),
                        v1::Addresses::Tcp6(ip) => Addresses::Ip(
                            SocketAddr::new(ip.source_address.into(), ip.source_port),
                            SocketAddr::new(ip.destination_address.into(), ip.destination_port),
                        ),
                        v1::Addresses::Unknown => Addresses::Unknown,
                    };
                    prop_assert_eq!(read, Ok(Some(expected)), "{}", text);
                }
                // Where it waits we may know already that nothing can come of it.
                Err(error) if error.is_incomplete() => prop_assert!(!matches!(ours, Ok(Some(_))), "{}", text),
                Err(_) => prop_assert!(ours.is_err() || ours == Ok(None), "{}: {:?}", text, ours),
            }
        }
    }
}

/// Others read headers of 16 KiB, and no longer ones.
#[test]
fn a_note_that_would_make_a_header_too_long_is_left_out() {
    let ends = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap());
    for (length, whole) in [(16_346, 16_384), (16_347, 35), (16_352, 35), (16_353, 35)] {
        let others = vec![Note { kind: 0xe0, value: vec![7; length] }];
        let header = Header {
            addresses: Addresses::between(ends.0, ends.1),
            notes: Notes { others, ..Notes::default() },
        };
        let bytes = write_v2(&header, false);
        assert_eq!(bytes.len(), whole, "{length}");
        assert_eq!(parse(&bytes).unwrap().unwrap().1, whole);
    }
}

#[test]
fn what_cannot_become_a_header_is_refused_with_its_first_wrong_byte() {
    let long_v2 = [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[0x21, 0x11, 0xff, 0xff]].concat();
    for (bytes, cut) in [
        (b"GET / HTTP/1.1\r\n".as_slice(), 1),
        (b"PROXYTCP4", 6),
        (b"PROXY  TCP4", 7),
        (b"PROXY UDP4 ", 8),
        (b"PROXY TCP5 ", 10),
        (b"\r\n\r\n\0\r\nQUIT\r", 12),
        (b"\r\n\r\n\0\r\nQUIT\n\x11", 13),
        (b"\r\n\r\n\0\r\nQUIT\n\x22", 13),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x13", 14),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x41", 14),
        (&long_v2, 16),
        (b"\x16\x03\x01", 1),
        (b"\0", 1),
    ] {
        for end in 0..=bytes.len() {
            let refused = parse(&bytes[..end]).is_err();
            assert_eq!(refused, end >= cut, "{end} bytes of {}", bytes.escape_ascii());
        }
    }
}

#[test]
fn lines_that_others_let_pass() {
    for line in [
        "PROXY TCP4 1.2.3.4 5.6.7.8 +80 443\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 080 443\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 65536 443\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 80 443 \r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8  80 443\r\n",
        "PROXY TCP4 01.2.3.4 5.6.7.8 80 443\r\n",
        "PROXY TCP4 ::1 ::1 80 443\r\n",
        "PROXY TCP6 1.2.3.4 5.6.7.8 80 443\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 80\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 80 443\n\r\n",
        "PROXY UNKNOWNfoo\r\n",
        "PROXY TCP4\r\n",
        "PROXY \r\n",
    ] {
        assert!(parse(line.as_bytes()).is_err(), "{line:?}");
    }
    let (zero, _) = parse(b"PROXY TCP4 1.2.3.4 5.6.7.8 0 443\r\n").unwrap().unwrap();
    assert_eq!(zero.addresses, Addresses::Ip(([1, 2, 3, 4], 0).into(), ([5, 6, 7, 8], 443).into()));
    let long = format!("PROXY UNKNOWN {}", "x".repeat(200));
    let long = long.as_bytes();
    assert!(parse(&long[..106]) == Ok(None) && parse(&long[..107]).is_err());
    let (unknown, _) = parse(b"PROXY UNKNOWN ffff:f...f 1 x\r\nrest").unwrap().unwrap();
    assert_eq!(unknown.addresses, Addresses::Unknown);
}

#[test]
fn addresses_of_two_families_are_written_as_one() {
    let (v4, v6) = ("10.0.0.1:1".parse().unwrap(), "[2001:db8::1]:2".parse().unwrap());
    let mapped = "[::ffff:10.0.0.1]:1".parse().unwrap();
    assert_eq!(Addresses::between(v4, v6), Addresses::Ip(mapped, v6));
    assert_eq!(Addresses::between(mapped, v4), Addresses::Ip(v4, v4));
    assert_eq!(Addresses::between(v6, mapped), Addresses::Ip(v6, mapped));
}
