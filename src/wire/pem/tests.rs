use super::*;

const A: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
const B: &str = "-----BEGIN X509 CRL-----\nMAMC\nAQI=\n-----END X509 CRL-----\n";
const BYTES: [[u8; 5]; 2] = [[0x30, 3, 2, 1, 1], [0x30, 3, 2, 1, 2]];

/// The blocks, as label, bytes and line.
fn blocks(text: impl AsRef<[u8]>) -> Vec<(String, Vec<u8>, usize)> {
    let blocks = read(text.as_ref()).unwrap();
    blocks
        .into_iter()
        .map(|block| (String::from_utf8_lossy(block.label).into(), block.bytes, block.line))
        .collect()
}

fn fault(text: impl AsRef<[u8]>) -> (usize, PemErrorKind) {
    let error = read(text.as_ref()).unwrap_err();
    (error.line, error.kind)
}

#[test]
fn base64_is_that_of_rfc_4648() {
    // Section 10.
    for (base64, bytes) in [
        ("", ""),
        ("Zg==", "f"),
        ("Zm8=", "fo"),
        ("Zm9v", "foo"),
        ("Zm9vYg==", "foob"),
        ("Zm9vYmE=", "fooba"),
        ("Zm9vYmFy", "foobar"),
        ("Zm9vYg", "foob"),
    ] {
        assert_eq!(decoded(base64.as_bytes()).unwrap(), bytes.as_bytes());
    }
    assert_eq!(decoded(b"++//").unwrap(), [0xfb, 0xef, 0xff]);
    for damaged in ["Z", "Zm9vY", "Zg===", "===="] {
        assert_eq!(decoded(damaged.as_bytes()), None, "{damaged}");
    }
}

#[test]
fn r3_every_way_of_writing_two_blocks_gives_both() {
    let both = format!("{A}{B}");
    let indented = both.replace('\n', "\n    ");
    let commented = format!("# from -----BEGIN the\n{A}# {}\nsubject=CN = x\n{B}", A.replace('\n', "\n# "));
    for text in [
        both.clone(),
        both.replace('\n', "\r\n"),
        both.replace('\n', "\r"),
        both.trim_end().to_owned(),
        format!("{}{B}", A.trim_end()),
        format!("\u{feff}{both}"),
        format!("\u{feff}{A}\u{feff}{B}"),
        format!("\u{feff}{}\u{feff}{B}", A.trim_end()),
        indented.clone(),
        format!("\t{}", both.replace('\n', " \n\t")),
        both.replace('\n', " "),
        both.replace('\n', ""),
        both.replace('=', ""),
        both.replace("-----\n", "------\n").replace("-----BEGIN", "------BEGIN"),
        commented,
        format!("Bag Attributes\n    localKeyID: 01\n==== -- ====\n{A}-----\n{B}the end of it\n"),
        format!("subject=CN = front-end 1, O = Soci\u{e9}t\u{e9} End & Begin\n{A}{B}"),
    ] {
        let found: Vec<_> = blocks(&text).into_iter().map(|(label, bytes, _)| (label, bytes)).collect();
        let wanted =
            [("CERTIFICATE".to_owned(), BYTES[0].to_vec()), ("X509 CRL".to_owned(), BYTES[1].to_vec())];
        assert_eq!(found, wanted, "{text:?}");
    }
    assert_eq!(blocks(indented)[1].2, 4);
    assert_eq!(blocks(both.replace('\n', "\r\n"))[1].2, 4);
    assert_eq!(blocks(both.replace('\n', "\r"))[1].2, 4);
    assert!(blocks("nothing here").is_empty() && blocks("").is_empty());
}

#[test]
fn r3_what_looks_like_a_block_and_is_none_is_an_error_in_its_line() {
    use PemErrorKind::*;
    let half: String = A.lines().take(2).collect::<Vec<_>>().join("\n");
    let body = "MIIB".repeat(16);
    for (text, line, kind) in [
        (format!("{A}{half}"), 4, NoEnd),
        (format!("{A}{half}\n{B}"), 4, NoEnd),
        (format!("{A}MAMC\n-----END CERTIFICATE-----\n"), 5, NoBeginning),
        (format!("{A}{body}\n"), 4, NoBeginning),
        (A.replace("END CERTIFICATE", "END X509 CRL"), 3, OtherEnd),
        (format!("{A}{}", B.replace("-----BEGIN", "----BEGIN")), 4, Marker),
        (format!("{A}{}", B.replace("CRL-----\nM", "CRL----\nM")), 4, Marker),
        (format!("{A}{}", B.replace("-----BEGIN", "-----begin")), 4, Marker),
        (format!("{A}{}", B.replace("-----", "\u{2014}\u{2013}")), 4, Marker),
        (format!("{A}{}", B.replace("-----BEGIN", "----- BEGIN")), 4, Marker),
        (B.replace("-----END", "----END"), 4, Marker),
        (A.replace("MAMC", "MA_C"), 2, Letter(b'_')),
        (A.replace("MAMCAQE=\n", "MAMCAQE=\\n"), 2, Letter(b'\\')),
        (A.replace("MAMC", "MAM="), 2, Letter(b'=')),
        (A.replace("MAMC", "MAMCAB"), 3, Length),
        (B.replace("AQI", "AQ\0"), 3, Nul),
        (format!("{A}\0\0\0"), 4, Nul),
    ] {
        assert_eq!(fault(&text), (line, kind), "{text}");
    }
    let utf16: Vec<u16> = format!("\u{feff}{A}").encode_utf16().collect();
    for to_bytes in [u16::to_le_bytes, u16::to_be_bytes] {
        let bytes: Vec<u8> = utf16.iter().copied().flat_map(to_bytes).collect();
        assert_eq!(fault(bytes), (1, Utf16));
    }
    // Latin-1 in an explanation does no harm, in a block it does.
    assert_eq!(blocks([b"f\xfcr alle\n", A.as_bytes()].concat()).len(), 1);
    assert_eq!(fault(A.replace("MAMC", "MA\u{e4}C")).1, Letter(0xc3));
}

#[test]
fn headers_tell_of_a_password() {
    let headers = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMAMC";
    assert!(read(A.replacen("MAMC", headers, 1).as_bytes()).unwrap()[0].is_encrypted);
    for headers in ["Comment: ENCRYPTED", "Proc-Type: 4,MIC-ONLY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: x"] {
        let text = A.replacen("MAMC", &format!("{headers}\n\nMAMC"), 1);
        assert_eq!(read(text.as_bytes()).unwrap()[0].is_encrypted, headers.contains("DEK"), "{headers}");
    }
}

#[test]
fn nothing_is_a_panic() {
    let text = format!("\u{feff}# c\n{A}{B}").into_bytes();
    for end in 0..text.len() {
        drop(read(&text[..end]));
        let mut damaged = text.clone();
        for byte in [0, b'-', b'=', b'\r', b' ', 0xff] {
            damaged[end] = byte;
            drop(read(&damaged));
        }
    }
}

#[test]
fn a_block_is_whole_with_one_sequence_and_no_more() {
    for (bytes, whole) in [
        (&b"\x30\x03\x02\x01\x01"[..], true),
        (b"\x30\0", true),
        (b"\x30\x03\x02\x01\x01\0", false),
        (b"\x30\x03\x02\x01", false),
        (b"\x31\x03\x02\x01\x01", false),
        (b"", false),
    ] {
        assert_eq!(is_der(bytes), whole, "{bytes:?}");
    }
    assert!(read(A.as_bytes()).unwrap()[0].is_whole());
    assert!(!read(A.replace("MAMCAQE=", "MAMCAQEA").as_bytes()).unwrap()[0].is_whole());
}

#[test]
fn what_stands_in_a_block_is_read_to_its_letter() {
    let block = |inside: &str| A.replace("MAMCAQE=", inside);
    for inside in ["Zg==", "Zg=\n=", "Z\x0bg = =", "Zg", "Zg="] {
        assert_eq!(blocks(block(inside)), [("CERTIFICATE".to_owned(), b"f".to_vec(), 1)], "{inside:?}");
    }
    for (inside, line, kind) in [
        ("Zg==Zg==", 2, PemErrorKind::Letter(b'=')),
        ("Zg==\nZg", 3, PemErrorKind::Letter(b'=')),
        ("Zg===", 3, PemErrorKind::Length),
        // Headers stand before the base64.
        ("Zg==\nComment: x", 3, PemErrorKind::Letter(b'=')),
        ("Zm9v\nA: x", 3, PemErrorKind::Letter(b':')),
        // The label of the other block.
        ("Zg==\n-----BEGIN CERTIFICATE-----\nZg==", 1, PemErrorKind::NoEnd),
    ] {
        assert_eq!(fault(block(inside)), (line, kind), "{inside:?}");
    }
    // Between blocks: a line of 60 letters is the inside of one, a shorter one is a word.
    for (letters, is_lost) in [(59, false), (60, true)] {
        let text = format!("{A}{}\n{B}", "a".repeat(letters));
        assert_eq!(read(text.as_bytes()).is_err(), is_lost, "{letters}");
    }
}
