use super::super::proxy_header::{ClientCertificate, Note};
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
        others: Vec::new(),
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
        assert_eq!((bytes.len(), &bytes[12..20], &bytes[124..129]), (239, &bytes[12..20], &b"/bc\0\0"[..]));
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
        let rest = [&v4[..], &[0xee], &u16::try_from(note).unwrap().to_be_bytes(), &vec![0; note]].concat();
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
        let Notes { alpn, authority, unique_id, ssl, others } = header.notes;
        assert_eq!(others, []);
        [alpn, authority, unique_id, ssl].map(|note| note.map(|note| note.len()))
    };
    for (kind, at, least, most) in [(1, 0, 1, 255), (2, 1, 1, 255), (5, 2, 1, 128), (0x20, 3, 5, 16_000)] {
        for size in [least, most] {
            let mut wanted = [None; 4];
            wanted[at] = Some(size);
            assert_eq!(reads(kind, size), wanted, "{size} bytes of {kind}");
        }
        for size in [least - 1, most + 1].into_iter().filter(|size| *size < 16_000) {
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

/// Of a chain of proxies the last one hears what the first has noted, in its order; not what is of one connection between two.
#[test]
fn notes_of_other_kinds_go_on_as_they_came() {
    let v4 = &b"\xc0\0\x02\x07\xc63d\x09\xc3\xcb\x01\xbb"[..];
    let came = b"\xea\0\x03vpc\x04\0\x02\0\0\x30\0\x02ns\xf0\0\0\xea\0\x01!";
    let header = parse(&header(0x21, 0x11, &[v4, came].concat())).unwrap().unwrap().0;
    let note = |kind, value: &[u8]| Note { kind, value: value.to_vec() };
    assert_eq!(header.notes.others, [note(0xea, b"vpc"), note(0xf0, b""), note(0xea, b"!")]);
    let sent = write(&header, false);
    assert_eq!(&sent[28..sent.len() - 7], b"\xea\0\x03vpc\xf0\0\0\xea\0\x01!");
    assert_eq!(parse(&sent).unwrap().unwrap().0, header);
}

/// The next proxy reads no more than this one does. What does not fit is left out, and nothing is cut.
#[test]
fn a_header_that_goes_on_is_not_longer_than_one_that_is_read() {
    let others = vec![Note { kind: 0xea, value: vec![1; 16_300] }, Note { kind: 0xeb, value: vec![2; 200] }];
    for (unique_id, kinds) in [(None, &[0xea][..]), (Some(vec![b'i'; 128]), &[0xeb][..])] {
        let notes = Notes { unique_id, others: others.clone(), ..Notes::default() };
        let sent = write(&Header { addresses: ends("192.0.2.7:1", "192.0.2.9:2"), notes }, false);
        assert!(sent.len() <= 16 * 1024, "{}", sent.len());
        let read = parse(&sent).unwrap().unwrap().0.notes.others;
        assert_eq!(read.iter().map(|note| note.kind).collect::<Vec<_>>(), kinds);
    }
}
