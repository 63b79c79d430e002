//! The parser of ClientHellos, and a maker of them.

use portway::wire::client_hello::{ClientHello, LONGEST, LONGEST_RECORDS, Progress, Sniffer};
use proptest::prelude::*;
use tls_parser::{SNIType, TlsExtension, TlsMessage, TlsMessageHandshake};

/// A vector with its length in two bytes.
fn long(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), long(value).as_slice()].concat()
}

/// A message of about `size` bytes, as browsers with post-quantum key shares send them (1.7 KiB).
pub fn message(name: Option<&str>, alpn: &[&str], size: usize) -> Vec<u8> {
    let mut extensions = extension(43, &[2, 3, 4]);
    if let Some(name) = name {
        extensions.extend(extension(0, &long(&[&[0], long(name.as_bytes()).as_slice()].concat())));
    }
    if !alpn.is_empty() {
        let list: Vec<u8> =
            alpn.iter().flat_map(|name| [&[name.len() as u8], name.as_bytes()].concat()).collect();
        extensions.extend(extension(16, &long(&list)));
    }
    let mut body =
        [&[3, 3], [7; 32].as_slice(), &[32], &[9; 32], &long(&[0x13, 1, 0x13, 2]), &[1, 0]].concat();
    let missing = size.saturating_sub(4 + body.len() + 2 + extensions.len() + 4);
    extensions.extend(extension(51, &vec![0xaa; missing]));
    body.extend(long(&extensions));
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &length[1..], &body].concat()
}

/// A message in records, cut where it is said.
pub fn records(message: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([message.len()]) {
        bytes.extend([22, 3, 1]);
        bytes.extend(long(&message[start..end]));
        start = end;
    }
    bytes
}

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

#[test]
fn a_hello_that_means_two_things_is_none() {
    let plain = message(Some("a.example"), &[], 0);
    let twice = {
        let name = extension(0, &long(&[&[0], long(b"b.example").as_slice()].concat()));
        let mut body = plain[4..].to_vec();
        let at = 2 + 32 + 33 + 6 + 2;
        let length = u16::from_be_bytes([body[at], body[at + 1]]) + u16::try_from(name.len()).unwrap();
        body[at..at + 2].copy_from_slice(&length.to_be_bytes());
        body.extend(name);
        [&[1, 0], &u16::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
    };
    assert_eq!(look(&records(&plain, &[]), 1).0, expected(Some("a.example"), &[]));
    assert_eq!(look(&records(&twice, &[]), 1).0, Progress::Other);
    // Without extensions at all, as TLS 1.0 allows.
    let old = [&[3, 1], [7; 32].as_slice(), &[0], &long(&[0, 5]), &[1, 0]].concat();
    let old = [&[1, 0, 0, old.len() as u8], old.as_slice()].concat();
    assert_eq!(look(&records(&old, &[]), 1).0, expected(None, &[]));
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
