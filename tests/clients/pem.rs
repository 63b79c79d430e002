//! Texts that a route names: however they are written, what they name is used, or there is a fault with its line.

use std::process::Command;

use rustls::ClientConfig;
use std::sync::Arc;

use super::pki::{self, Authority, Pair};
use crate::harness::instance::*;

/// What `portway check` says: its code, and all of its words.
fn check(place: &Place) -> (i32, String) {
    let check = Command::new(PORTWAY).arg("check").arg(place.file()).output().unwrap();
    (check.status.code().unwrap(), String::from_utf8([check.stdout, check.stderr].concat()).unwrap())
}

/// Ways to write texts one behind the other, all of which mean the same.
fn ways(texts: &[&str]) -> Vec<(&'static str, Vec<u8>)> {
    let plain = texts.concat();
    let trimmed: Vec<&str> = texts.iter().map(|text| text.trim_end()).collect();
    let mark = "\u{feff}";
    let written = [
        ("plain", plain.clone()),
        ("no newline between", trimmed.concat()),
        ("no newline at the end", plain.trim_end().to_owned()),
        ("a mark", format!("{mark}{plain}")),
        ("a mark in each", texts.iter().map(|text| format!("{mark}{text}")).collect()),
        ("marks and no newline", trimmed.iter().map(|text| format!("{mark}{text}")).collect()),
        ("CRLF", plain.replace('\n', "\r\n")),
        ("CR", plain.replace('\n', "\r")),
        ("indented", format!("    {}", plain.replace('\n', "\n    "))),
        ("blanks behind", plain.replace('\n', " \t\n")),
        (
            "comments",
            texts.iter().map(|text| format!("# one: ENCRYPTED\nsubject=CN = x\n{text}\n")).collect(),
        ),
        ("one out of use", format!("# {}\n{plain}", texts[0].replace('\n', "\n# "))),
    ];
    written.into_iter().map(|(way, text)| (way, text.into_bytes())).collect()
}

/// Whether a client is served, who says at first that it is. (With TLS 1.3 a refused one hears so when it reads.)
fn is_served(port: &Port, config: &Arc<ClientConfig>) -> bool {
    pki::begin(port.number, config, "localhost").is_ok_and(|mut client| pki::talk(&mut client).is_ok())
}

/// Takes over one way of writing after the other: with each, clients of both authorities are served.
#[test]
fn r3_every_authority_of_a_file_is_used_however_it_is_written() {
    let (server, one, two) = (Authority::new(), Authority::new(), Authority::new());
    let (backend, port) = (Backend::named("app"), Port::reserve());
    let tls = "tls = { cert = \"app.pem\", key = \"app.key\", client_ca = \"ca.pem\" }\n";
    let place = Place::with(&format!("{HEAD}{}", route("app", &port.local(), &backend, tls)));
    server.pair("localhost").write(&place.folder(), "app");
    let devices = [server.trust_as(&one.pair("a")), server.trust_as(&two.pair("b"))];
    for (way, text) in ways(&[&one.pem(), &two.pem()]) {
        std::fs::write(place.folder().join("ca.pem"), text).unwrap();
        let portway = Portway::run(&place.file());
        for (index, device) in devices.iter().enumerate() {
            assert!(is_served(&port, device), "{way}: the clients of authority {index} are not served");
        }
        portway.stop();
    }
}

/// The same for a certificate with its authority's behind it, as clients are shown it, and for its key.
#[test]
fn r3_a_chain_and_a_key_are_used_however_they_are_written() {
    let authority = Authority::new();
    let (backend, port) = (Backend::named("app"), Port::reserve());
    let tls = "tls = { cert = \"app.pem\", key = \"app.key\" }\n";
    let place = Place::with(&format!("{HEAD}{}", route("app", &port.local(), &backend, tls)));
    let pair = authority.pair("localhost");
    let keys = ways(&[&pair.key]);
    for ((way, chain), (_, key)) in ways(&[&pair.cert, &authority.pem()]).into_iter().zip(keys) {
        std::fs::write(place.folder().join("app.pem"), chain).unwrap();
        std::fs::write(place.folder().join("app.key"), key).unwrap();
        let portway = Portway::run(&place.file());
        let client = pki::begin(port.number, &authority.trust(), "localhost")
            .unwrap_or_else(|error| panic!("{way}: {error}"));
        assert_eq!(client.conn.peer_certificates().map(<[_]>::len), Some(2), "{way}");
        drop(client);
        portway.stop();
    }
}

/// A text that cannot be read as it was meant.
struct Damaged {
    name: &'static str,
    text: Vec<u8>,
    /// The line of the fault. `None`: it is the file as a whole.
    line: Option<usize>,
    /// What the fault says.
    wanted: &'static str,
}

/// `a`, `b`: two certificates.
fn damaged(a: &str, b: &str, pair: &Pair) -> Vec<Damaged> {
    let second = a.lines().count() + 1;
    let tail: String = b.split_inclusive('\n').skip(3).collect();
    let utf16: Vec<u8> = format!("\u{feff}{a}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let one_letter_less = b.replacen("\n", "\n#", 2).replacen("\n#", "\n", 1);
    let cases: [(&'static str, Vec<u8>, Option<usize>, &'static str); 14] = [
        (
            "ca.pem",
            format!("{a}{}", b.replace("-----BEGIN", "----BEGIN")).into(),
            Some(second),
            "looks like the beginning",
        ),
        (
            "ca.pem",
            format!("{a}{}", b.replace("-----BEGIN", "\u{2014}\u{2013}BEGIN")).into(),
            Some(second),
            "five hyphens",
        ),
        ("ca.pem", format!("{a}{}", &b[..b.len() / 2]).into(), Some(second), "a beginning, and no end"),
        ("ca.pem", format!("{}{b}", &a[..a.len() / 2]).into(), Some(1), "a beginning, and no end"),
        ("ca.pem", format!("{a}{tail}").into(), Some(second), "whose beginning is missing"),
        ("ca.pem", format!("{a}{one_letter_less}").into(), Some(second), "something in it is missing"),
        ("ca.pem", format!("{a}{}", b.replace('\n', "\\n")).into(), Some(second), "printf '%b'"),
        ("ca.pem", format!("{a}\0\0").into(), Some(second), "NUL byte"),
        ("ca.pem", utf16, Some(1), "UTF-16"),
        (
            "ca.pem",
            format!("{a}-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----\n").into(),
            Some(second),
            "openssl pkcs7",
        ),
        (
            "ca.pem",
            format!("{a}-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n").into(),
            Some(second),
            "as `crl`",
        ),
        (
            "app.pem",
            format!("{}{}", pair.cert, b.replace("CERTIFICATE", "TRUSTED CERTIFICATE")).into(),
            Some(pair.cert.lines().count() + 1),
            "openssl x509 -in",
        ),
        (
            "app.key",
            format!("{0}{0}", pair.key).into(),
            Some(pair.key.lines().count() + 1),
            "the second private key",
        ),
        ("app.pem", vec![0x30, 0x82, 1, 0, 0], None, "-inform DER"),
    ];
    let damaged = |(name, text, line, wanted)| Damaged { name, text, line, wanted };
    cases.into_iter().map(damaged).collect()
}

#[test]
fn r3_what_cannot_be_read_as_it_was_meant_is_a_fault_with_its_line() {
    let (authority, other) = (Authority::new(), Authority::new());
    let pair = authority.pair("localhost");
    let backend = Backend::named("app");
    let tls = "tls = { cert = \"app.pem\", key = \"app.key\", client_ca = \"ca.pem\" }\n";
    let place = Place::with(&format!("{HEAD}{}", route("app", "127.0.0.1:1", &backend, tls)));
    let put = |name: &str, text: &[u8]| std::fs::write(place.folder().join(name), text).unwrap();
    let a = authority.pem();
    for Damaged { name, text, line, wanted } in damaged(&a, &other.pem(), &pair) {
        pair.write(&place.folder(), "app");
        put("ca.pem", a.as_bytes());
        assert_eq!(check(&place).0, 0);
        put(name, &text);
        let (code, words) = check(&place);
        assert_eq!(code, 2, "{wanted}: {words}");
        let path = place.folder().join(name);
        let at = line
            .map_or_else(|| format!("{}: ", path.display()), |line| format!("{}:{line}: ", path.display()));
        assert!(words.contains(&at) && words.contains(wanted), "{at}{wanted}: {words}");
        let inside = pair.key.lines().nth(1).unwrap();
        assert!(!words.contains(&inside[..8]), "the key is in: {words}");
    }
}

/// A list with each way of ending a line: what stands behind a comment counts too.
#[test]
fn r3_every_network_of_a_list_is_used_however_it_is_written() {
    let (backend, port) = (Backend::named("app"), Port::reserve());
    let deny = "deny = { file = \"deny.txt\" }\n";
    let place = Place::with(&format!("{HEAD}{}", route("app", &port.local(), &backend, deny)));
    let list = ["# who is kept out\n127.0.0.2\n", "# and\n127.0.0.3/32\n"];
    for (way, text) in ways(&list) {
        // A comment runs to the end of its line: there the newline means something.
        if way == "no newline between"
            || way == "marks and no newline"
            || way == "comments"
            || way == "one out of use"
        {
            continue;
        }
        std::fs::write(place.folder().join("deny.txt"), text).unwrap();
        let portway = Portway::run(&place.file());
        for (address, is_out) in [("127.0.0.2", true), ("127.0.0.3", true), ("127.0.0.4", false)] {
            assert_eq!(super::peer::turned_away(address, port.number), is_out, "{way}: {address}");
        }
        portway.stop();
    }
    for (text, wanted) in [
        (b"127.0.0.2\r\n\x00127.0.0.3\n".to_vec(), "deny.txt:2:1"),
        (b"# a\r127.0.0.2\rnonsense\r".to_vec(), "deny.txt:3:1"),
        (b"127.0.0.2\n\xef\xbb\xbfnonsense\n".to_vec(), "deny.txt:2:4"),
        ("127.0.0.2".encode_utf16().flat_map(u16::to_le_bytes).collect(), "deny.txt:1:2"),
    ] {
        std::fs::write(place.folder().join("deny.txt"), &text).unwrap();
        let (code, words) = check(&place);
        assert!(code == 2 && words.contains(wanted), "{wanted}: {words}");
    }
}

/// The routes' file: marks, CRLF, no newline at the end, indentation are read; what is not is a fault with its line.
#[test]
fn r3_the_file_itself_is_read_however_it_is_written() {
    let route = |port: u16| format!("[[route]]\nlisten = \"127.0.0.1:{port}\"\nupstream = \"127.0.0.1:9\"\n");
    let (one, two) = (route(1), route(2));
    for (way, text) in ways(&[&one, &two]) {
        // Of TOML a line begins where the one before has ended.
        let read = !matches!(
            way,
            "no newline between" | "marks and no newline" | "CR" | "a mark in each" | "comments"
        );
        let place = Place::with("");
        std::fs::write(place.file(), text).unwrap();
        let (code, words) = check(&place);
        match read {
            true => assert!(code == 0 && words.contains("fine, 2 routes"), "{way}: {words}"),
            false => assert!(code == 2 && words.contains("portway.toml:"), "{way}: {words}"),
        }
    }
}

/// Three files that are missing, one of them named by two routes, and a list: each once, at its own line.
#[test]
fn r15_each_missing_file_is_named_once_at_its_own_line() {
    let place = Place::with(
        "[[route]]\nname = \"b.key\"\nlisten = \"127.0.0.1:1\"\nupstream = \"127.0.0.1:9\"\n\
         tls = { cert = \"a.pem\", key = \"a.key\" }\n\
         [[route]]\nlisten = \"127.0.0.1:2\"\nupstream = \"127.0.0.1:9\"\n\
         tls = { cert = \"b.pem\", key = \"b.key\", client_ca = \"ca.pem\" }\n\
         [[route]]\nlisten = \"127.0.0.1:3\"\nupstream = \"127.0.0.1:9\"\n\
         tls = { cert = \"b.pem\", key = \"b.key\", client_ca = \"ca.pem\", crl = [\"r.pem\", \"a.key\"] }\n\
         deny = { file = \"deny.txt\" }\n",
    );
    let (code, words) = check(&place);
    assert_eq!(code, 2, "{words}");
    let wanted = [
        ("the certificate", "a.pem", "5:16"),
        ("the key", "a.key", "5:31"),
        ("the certificate", "b.pem", "9:16"),
        ("the key", "b.key", "9:31"),
        ("the authorities", "ca.pem", "9:52"),
        ("the revocation list", "r.pem", "13:69"),
        ("the list", "deny.txt", "14:17"),
    ];
    for (what, name, at) in wanted {
        let message = format!("{what} {}: there is no such file", place.folder().join(name).display());
        assert_eq!(words.matches(&message).count(), 1, "{message}: {words}");
        let told = words.split_once(&message).unwrap().1;
        let place = told.split("--> ").nth(1).unwrap().lines().next().unwrap();
        assert!(place.ends_with(&format!("portway.toml:{at}")), "{name} is at {place}: {words}");
    }
    assert_eq!(words.matches("there is no such file").count(), wanted.len(), "{words}");
}
