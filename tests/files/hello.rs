//! The parser of ClientHellos, against a second library.

use portway::wire::client_hello::{ClientHello, LONGEST, LONGEST_RECORDS, Progress, Sniffer};
use proptest::prelude::*;
use tls_parser::{SNIType, TlsExtension, TlsMessage, TlsMessageHandshake};

use crate::harness::hello::{extension, long, message, records};

/// What a sniffer says that sees the bytes grow by such pieces.
fn look(bytes: &[u8], piece: usize) -> (Progress, usize) {
    let mut sniffer = Sniffer::default();
    for end in (0..bytes.len()).step_by(piece).chain([bytes.len()]) {
        match sniffer.look(&bytes[..end]) {
            Progress::More => {}
            other => return (other, end),
        }
    }
    (Progress::More, bytes.len())
}

fn expected(name: Option<&str>, alpn: &[&str]) -> Progress {
    Progress::Hello(ClientHello {
        server_name: name.map(str::to_owned),
        alpn: alpn.iter().map(|name| name.as_bytes().to_vec()).collect(),
    })
}

#[test]
fn a_hello_is_whole_with_its_last_byte_however_it_is_cut() {
    let (name, alpn) = (Some("app.example.com"), ["h2", "http/1.1"]);
    let message = message(name, &alpn, 1700);
    assert_eq!(message.len(), 1700);
    for cut in 1..message.len() {
        let two = records(&message, &[cut]);
        assert_eq!(look(&two, 1), (expected(name, &alpn), two.len()), "two records, cut at {cut}");
    }
    let one = records(&message, &[]);
    for piece in [1, 2, 7, 500, one.len()] {
        assert_eq!(look(&one, piece), (expected(name, &alpn), one.len()));
    }
    // What follows is the server's.
    assert_eq!(look(&[&one[..], b"early data"].concat(), usize::MAX).0, expected(name, &alpn));
    let single: Vec<usize> = (1..message.len()).collect();
    assert_eq!(look(&records(&message, &single), 1).0, expected(name, &alpn));
}

#[test]
fn what_is_long_is_read_up_to_its_bound() {
    for (size, fits) in [(LONGEST - 100, true), (65_000, true)] {
        let message = message(Some("a.example"), &[], size.min(65_500));
        let cuts: Vec<usize> =
            (1..message.len() / 4096 + 1).map(|n| n * 4096).filter(|cut| *cut < message.len()).collect();
        let bytes = records(&message, &cuts);
        assert_eq!(look(&bytes, 1000).0 == expected(Some("a.example"), &[]), fits, "{size}");
    }
    // One that says that it is longer is not waited for.
    let claims = records(&[1, 2, 0, 0, 3, 3], &[]);
    assert_eq!(look(&claims, 1).0, Progress::Other);
    // Nor one in ever more records.
    let message = message(Some("a.example"), &[], 60_000);
    let single: Vec<usize> = (1..message.len()).collect();
    let (progress, read) = look(&records(&message, &single), 1);
    assert_eq!(progress, Progress::Other);
    assert!(read <= LONGEST_RECORDS + 10, "{read}");
}

/// The longest message and one beyond it; the longest record and one beyond it; and as many bytes of records as are read.
#[test]
fn the_bounds_of_a_hello_are_in_it() {
    let claims = |length: u32| {
        let bytes = records(&[&[1], &length.to_be_bytes()[1..], &[3, 3]].concat(), &[]);
        look(&bytes, usize::MAX).0
    };
    assert_eq!((claims(65_536), claims(65_537)), (Progress::More, Progress::Other));
    let record = |length: u16| look(&[&[22, 3, 1][..], &length.to_be_bytes(), &[1]].concat(), 1).0;
    assert_eq!((record(16_384), record(16_385)), (Progress::More, Progress::Other));
    // Records of one byte each, of a message that is not whole: 80 KiB, and no more.
    let header = [1, 0, 0xff, 0xff];
    let single = |count: usize| {
        let bytes = (0..count).map(|at| header.get(at).copied().unwrap_or(0));
        bytes.flat_map(|byte| [22, 3, 1, 0, 1, byte]).collect::<Vec<u8>>()
    };
    let most = (64 + 16) * 1024;
    assert_eq!(LONGEST_RECORDS, most);
    let last = most / 6;
    assert_eq!(look(&single(last), usize::MAX).0, Progress::More, "{} bytes", 6 * last);
    assert_eq!(look(&single(last + 1), usize::MAX).0, Progress::Other, "{} bytes", 6 * (last + 1));
    let ends_with = |record: &[u8]| {
        let bytes = [single(last - 1), records(record, &[])].concat();
        (bytes.len(), look(&bytes, usize::MAX).0)
    };
    assert_eq!(ends_with(&[0; 3]), (most, Progress::More));
    assert_eq!(ends_with(&[0; 4]), (most + 1, Progress::Other));
    // The last record is not whole: its beginning counts.
    let begun = |bytes: usize| {
        let whole = single(last - 1);
        let rest = bytes - whole.len() - 5;
        look(&[whole, [22, 3, 1, 0x40, 0].to_vec(), vec![0; rest]].concat(), usize::MAX).0
    };
    assert_eq!((begun(most), begun(most + 1)), (Progress::More, Progress::Other));
    // A name of 255 bytes.
    let of = |length: usize| {
        let name = "x".repeat(length);
        look(&records(&message(Some(&name), &[], 0), &[]), usize::MAX).0 == expected(Some(&name), &[])
    };
    assert!(of(255) && !of(256));
}

/// Only names of hosts are names, and the first one counts.
#[test]
fn other_kinds_of_names_are_passed_over() {
    let named =
        |list: &[u8]| look(&records(&extended(&message(None, &[], 0), 0, &long(list)), &[]), usize::MAX).0;
    assert_eq!(named(b"\x01\0\x02zz\0\0\x01a"), expected(Some("a"), &[]));
    assert_eq!(named(b"\0\0\x01a\x01\0\x02zz"), expected(Some("a"), &[]));
    assert_eq!(named(b"\0\0\x01a\0\0\x01b"), expected(Some("a"), &[]));
    assert_eq!(named(b"\x01\0\x02zz"), expected(None, &[]));
}

#[test]
fn names_are_as_dns_has_them() {
    let of = |name: &str| look(&records(&message(Some(name), &[], 300), &[]), usize::MAX).0;
    assert_eq!(of("App.Example.COM"), expected(Some("app.example.com"), &[]));
    assert_eq!(of("app.example.com."), expected(Some("app.example.com"), &[]));
    assert_eq!(of("xn--bcher-kva.example"), expected(Some("xn--bcher-kva.example"), &[]));
    for odd in ["", ".", "a b", "a\nb", "bücher.example", "a\0b", &"x".repeat(256)] {
        assert_eq!(of(odd), Progress::Other, "{odd:?}");
    }
    assert_eq!(look(&records(&message(None, &["h2"], 300), &[]), 1).0, expected(None, &["h2"]));
}

#[test]
fn what_is_not_tls_is_known_at_once() {
    for (bytes, at) in [
        (b"GET / HTTP/1.1".as_slice(), 1),
        (b"SSH-2.0-OpenSSH", 1),
        (b"\x80\x2e\x01\x03\x01", 1),
        (b"\x16\x02", 2),
        (b"\x17\x03\x01", 1),
        (b"\x16\x03\x01\0\0", 5),
        (b"\x16\x03\x01\xff\xff", 5),
        // A ServerHello.
        (b"\x16\x03\x01\x02\0\x02", 6),
        (b"\0", 1),
    ] {
        assert_eq!(look(bytes, 1), (Progress::Other, at), "{}", bytes.escape_ascii());
    }
    for waits in [b"".as_slice(), b"\x16", b"\x16\x03", b"\x16\x03\x01\x02\0", b"\x16\x03\x01\x02\0\x01"] {
        assert_eq!(look(waits, 1).0, Progress::More, "{}", waits.escape_ascii());
    }
}

/// The message with one more extension.
fn extended(message: &[u8], kind: u16, value: &[u8]) -> Vec<u8> {
    let more = extension(kind, value);
    let mut body = message[4..].to_vec();
    let at = 2 + 32 + 33 + 6 + 2;
    let length = u16::from_be_bytes([body[at], body[at + 1]]) + u16::try_from(more.len()).unwrap();
    body[at..at + 2].copy_from_slice(&length.to_be_bytes());
    body.extend(more);
    [&[1, 0], &u16::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

#[test]
fn a_hello_that_means_two_things_is_none() {
    let plain = message(Some("a.example"), &[], 0);
    let twice = extended(&plain, 0, &long(&[&[0], long(b"b.example").as_slice()].concat()));
    assert_eq!(look(&records(&plain, &[]), 1).0, expected(Some("a.example"), &[]));
    assert_eq!(look(&records(&twice, &[]), 1).0, Progress::Other);
    // Without extensions at all, as TLS 1.0 allows.
    let old = [&[3, 1], [7; 32].as_slice(), &[0], &long(&[0, 5]), &[1, 0]].concat();
    let old = [&[1, 0, 0, old.len() as u8], old.as_slice()].concat();
    assert_eq!(look(&records(&old, &[]), 1).0, expected(None, &[]));
}

#[test]
fn t5_a_list_of_protocols_is_one_list_whole_and_not_empty() {
    let plain = message(Some("a.example"), &[], 0);
    let of = |message: &[u8]| look(&records(message, &[]), 1).0;
    let listed = |list: &[u8]| of(&extended(&plain, 16, list));
    assert_eq!(listed(b"\0\x03\x02h2"), expected(Some("a.example"), &["h2"]));
    let twice = extended(&extended(&plain, 16, b"\0\x03\x02h2"), 16, b"\0\x03\x02h2");
    assert_eq!(of(&twice), Progress::Other, "two lists");
    let wrong: [(&[u8], &str); 6] = [
        (b"\0\0", "an empty list"),
        (b"\0\x01\0", "an empty name"),
        (b"\0\x04\x02h2\0", "an empty name behind another"),
        (b"\0\x03\x02h2!", "a byte behind the list"),
        (b"\0\x03\x03h2", "a name that is longer than the list"),
        (b"\0\x04\x02h2", "a list that is longer than the extension"),
    ];
    for (list, what) in wrong {
        assert_eq!(listed(list), Progress::Other, "{what}");
    }
    // The same of the name.
    let named = |list: &[u8]| of(&extended(&message(None, &[], 0), 0, list));
    assert_eq!(named(b"\0\x04\0\0\x01a"), expected(Some("a"), &[]));
    for list in [&b"\0\0"[..], b"\0\x04\0\0\x01a!", b"\0\x04\0\0\x02a", b"\0\x05\0\0\x01a"] {
        assert_eq!(named(list), Progress::Other, "{list:?}");
    }
    // A byte behind all extensions.
    let mut behind = [&plain[..], b"!"].concat();
    behind[3] += 1;
    assert_eq!(of(&behind), Progress::Other, "a byte behind the extensions");
}

/// What tls-parser reads in a record of one message.
fn theirs(bytes: &[u8]) -> Option<(Option<String>, Vec<Vec<u8>>)> {
    let (_, plain) = tls_parser::parse_tls_plaintext(bytes).ok()?;
    let TlsMessage::Handshake(TlsMessageHandshake::ClientHello(hello)) = plain.msg.first()? else {
        return None;
    };
    let (mut name, mut alpn) = (None, Vec::new());
    let Some(extensions) = hello.ext else { return Some((None, alpn)) };
    let (rest, extensions) = tls_parser::parse_tls_client_hello_extensions(extensions).ok()?;
    if !rest.is_empty() {
        return None;
    }
    for extension in extensions {
        match extension {
            TlsExtension::SNI(names) => {
                let first = names.iter().find(|(kind, _)| *kind == SNIType::HostName);
                name = first.map(|(_, name)| String::from_utf8_lossy(name).to_ascii_lowercase());
            }
            TlsExtension::ALPN(protocols) => alpn = protocols.iter().map(|name| name.to_vec()).collect(),
            _ => {}
        }
    }
    Some((name, alpn))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn both_libraries_read_the_same(
        name in prop::option::of("[a-zA-Z0-9-]{1,20}(\\.[a-z0-9]{1,10}){0,3}"),
        alpn in prop::collection::vec("[ -~]{1,12}", 0..4),
        size in 0..2000_usize,
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let alpn: Vec<&str> = alpn.iter().map(String::as_str).collect();
        let mut bytes = records(&message(name.as_deref(), &alpn, size), &[]);
        if let Some((at, byte)) = damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Progress::Hello(ours) = look(&bytes, usize::MAX).0 {
            // The other one may be stricter about what neither of us reads; what it reads is the same.
            if let Some((name, alpn)) = theirs(&bytes) {
                let name = name.map(|name| name.strip_suffix('.').map_or(name.clone(), str::to_owned));
                prop_assert_eq!((ours.server_name, ours.alpn), (name, alpn));
            }
        } else {
            prop_assert!(damage.is_some());
        }
        if damage.is_none() {
            prop_assert!(theirs(&bytes).is_some());
        }
    }
}
