//! `proxy_protocol`: whose word counts, and what it counts for.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::peer::*;
use crate::harness::header;
use crate::harness::instance::*;

pub const LOGGED: &str = "[log]\nformat = \"json\"\naccess = \"stderr\"\n";

pub fn with(port: &Port, backend: &Backend, more: &str) -> String {
    format!("{LOGGED}{}{more}", route("app", &port.local(), backend, ""))
}

/// A flow of a sender that begins with these bytes.
fn saying(address: &str, port: &Port, bytes: &[u8]) -> std::io::Result<Flow> {
    let mut stream = from(address, port.local().parse().unwrap())?;
    stream.write_all(bytes)?;
    Flow::greeted(stream)
}

/// Where the clients of the headers went.
pub fn server(client: SocketAddr) -> SocketAddr {
    if client.is_ipv4() { "192.0.2.1:443" } else { "[2001:db8::1]:443" }.parse().unwrap()
}

fn v1(client: &str) -> Vec<u8> {
    let client = client.parse().unwrap();
    header::v1(client, server(client))
}

pub fn v2(client: &str) -> Vec<u8> {
    let client = client.parse().unwrap();
    header::v2(client, server(client), &[])
}

/// A check of the sender itself, and a header that does not say who the client is.
fn own() -> Vec<u8> {
    header::v2_of(header::LOCAL, header::UNSPECIFIED, b"")
}

fn unknown() -> Vec<u8> {
    header::v2_of(header::PROXY, header::UNSPECIFIED, b"")
}

/// The access log's line about a client.
pub fn record(
    portway: &mut Portway,
    what: &str,
    is: impl Fn(&serde_json::Value) -> bool,
) -> serde_json::Value {
    let of =
        |portway: &Portway| portway.seen.iter().find(|line| line["outcome"].is_string() && is(line)).cloned();
    portway.until(what, |portway| {
        portway.catch_up();
        of(portway).is_some()
    });
    of(portway).unwrap()
}

pub const ACCEPT: &str = "proxy_protocol = { accept = true, trusted = [\"127.0.1.0/24\"] }\n";

#[test]
fn the_address_of_the_header_is_what_lists_limits_and_logs_use() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let lists = "deny = \"203.0.113.0/24\"\nmax_connections_per_client = 1\n";
    let place = Place::with(&with(&port, &backend, &format!("{ACCEPT}{lists}")));
    let mut portway = Portway::run(&place.file());
    let headers = [v1("198.51.100.7:1111"), v2("[2001:db8::7]:2222")];
    for (n, header) in headers.into_iter().enumerate() {
        let mut flow = saying("127.0.1.1", &port, &header).unwrap();
        flow.ping().unwrap();
        // The same client is one too many, whoever says so; another one is not.
        assert!(saying("127.0.1.2", &port, &header).is_err());
        let other = v1(&format!("198.51.100.{}:1", 10 + n));
        assert!(saying("127.0.1.1", &port, &other).is_ok());
        drop(flow);
    }
    assert!(saying("127.0.1.1", &port, &v1("203.0.113.9:1")).is_err());
    let denied = portway.phase("denied a client");
    assert_eq!((&denied["by"], &denied["client"]), (&"allow, deny".into(), &"203.0.113.9:1".into()));
    for client in ["198.51.100.7:1111", "[2001:db8::7]:2222"] {
        let line = record(&mut portway, "the client is in the log", |line| line["client"] == client);
        assert_eq!((&line["outcome"], &line["up"]), (&"client-closed".into(), &5.into()), "{line}");
    }
    // Those who were turned away are counted, and have no line.
    assert!(!portway.seen.iter().any(|line| line["outcome"] == "denied" || line["outcome"] == "limited"));
    portway.stop();
}

#[test]
fn who_is_not_trusted_is_refused_or_plain_and_who_is_must_send_a_header() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let place = Place::with(&with(&port, &backend, ACCEPT));
    let mut portway = Portway::run(&place.file());
    let header = v1("198.51.100.7:1111");
    assert!(saying("127.0.2.1", &port, &header).is_err());
    assert!(turned_away("127.0.2.1", port.number));
    assert_eq!(portway.phase("denied a client")["by"], "proxy_protocol.trusted");

    for bytes in
        [b"hello".as_slice(), b"PROXY TCP4 1.2.3.4 nobody 1 2\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04abcd"]
    {
        assert!(saying("127.0.1.1", &port, bytes).is_err(), "{}", bytes.escape_ascii());
    }
    // The lines of several connections have no order.
    let bad = |line: &serde_json::Value| {
        line["detail"].as_str().is_some_and(|detail| detail.contains("does not begin as a PROXY header"))
    };
    let line = record(&mut portway, "a bad header is in the log", bad);
    assert_eq!((&line["blame"], &line["upstream"]), (&"client".into(), &serde_json::Value::Null), "{line}");
    assert_eq!(line["outcome"], "bad-header", "{line}");

    place.save(&with(&port, &backend, &ACCEPT.replace("] }", "], untrusted = \"plain\" }")));
    portway.phase("reloaded");
    // What it sends is its own, a header included.
    let mut stream = from("127.0.2.1", port.local().parse().unwrap()).unwrap();
    stream.write_all(&header).unwrap();
    let mut back = vec![0; "app\n".len() + header.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, [b"app\n".as_slice(), &header].concat());
    drop(stream);
    record(&mut portway, "it is in the log", |line| {
        line["client"].as_str().unwrap().starts_with("127.0.2.1:")
    });
    portway.stop();
}

#[test]
fn a_header_may_come_byte_by_byte_and_what_follows_it_is_the_upstreams() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let place = Place::with(&with(&port, &backend, ACCEPT));
    let portway = Portway::run(&place.file());
    for header in [v1("198.51.100.7:1111"), v2("198.51.100.7:1111")] {
        let bytes = [header.as_slice(), b"ping"].concat();
        // In one segment, in two at each place, and each byte by itself.
        let cuts = (0..=bytes.len()).map(|cut| vec![&bytes[..cut], &bytes[cut..]]);
        for pieces in cuts.chain([bytes.chunks(1).collect()]) {
            let mut stream = from("127.0.1.1", port.local().parse().unwrap()).unwrap();
            stream.set_nodelay(true).unwrap();
            for piece in pieces {
                stream.write_all(piece).unwrap();
            }
            let mut back = [0; 8];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"app\nping");
        }
    }
    portway.stop();
}

#[test]
fn the_deadline_of_a_header_is_absolute() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let accept = ACCEPT.replace("] }", "], timeout = \"300ms\" }");
    let place = Place::with(&with(&port, &backend, &accept));
    let mut portway = Portway::run(&place.file());
    let mut stream = from("127.0.1.1", port.local().parse().unwrap()).unwrap();
    let (begin, mut sent) = (Instant::now(), 0);
    for byte in v1("198.51.100.7:1111") {
        // Slow, but never so slow that a wait for the next byte would be over.
        pass(Duration::from_millis(30));
        if stream.write_all(&[byte]).is_err() {
            break;
        }
        sent += 1;
    }
    assert!(sent < 36 && begin.elapsed() >= Duration::from_millis(290), "{sent} in {:?}", begin.elapsed());
    drop(stream);
    let line = record(&mut portway, "it is in the log", |line| line["outcome"] == "bad-header");
    assert!(line["detail"].as_str().unwrap().contains("in time"), "{line}");
    // Who only looks whether we live does no harm.
    drop(from("127.0.1.1", port.local().parse().unwrap()).unwrap());
    record(&mut portway, "so is the look", |line| line["outcome"] == "client-closed");
    portway.stop();
}

#[test]
fn a_proxy_that_does_not_say_is_the_client_itself() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let place = Place::with(&with(&port, &backend, &format!("{ACCEPT}allow = \"198.51.100.0/24\"\n")));
    let mut portway = Portway::run(&place.file());
    // Its own look is let in: it is trusted. A client that it does not name is not.
    assert_eq!(saying("127.0.1.1", &port, &own()).unwrap().reached, "app");
    assert!(saying("127.0.1.1", &port, &unknown()).is_err());
    assert!(saying("127.0.1.1", &port, b"PROXY UNKNOWN\r\n").is_err());
    place.save(&with(&port, &backend, ACCEPT));
    portway.phase("reloaded");
    for header in [own(), unknown(), b"PROXY UNKNOWN\r\n".to_vec()] {
        assert_eq!(saying("127.0.1.1", &port, &header).unwrap().reached, "app");
    }
    record(&mut portway, "it is in the log", |line| {
        line["client"].as_str().unwrap().starts_with("127.0.1.1:")
    });
    portway.stop();
}

#[test]
fn the_same_client_comes_to_the_same_upstream_by_its_own_address() {
    let (port, backends) = (Port::reserve(), ["a", "b", "c", "d"].map(Backend::named));
    let upstreams: Vec<String> = backends.iter().map(|backend| format!("\"{}\"", backend.addr)).collect();
    let text = format!(
        "{LOGGED}[[route]]\nlisten = \"{}\"\nupstream = [{}]\nbalance = \"source-hash\"\n{ACCEPT}",
        port.local(),
        upstreams.join(", ")
    );
    let place = Place::with(&text);
    let portway = Portway::run(&place.file());
    let mut names = std::collections::BTreeSet::new();
    for host in 1..=24 {
        let header = v2(&format!("198.51.100.{host}:{}", 1000 + host));
        let [one, two] =
            ["127.0.1.1", "127.0.1.2"].map(|sender| saying(sender, &port, &header).unwrap().reached);
        assert_eq!(one, two, "198.51.100.{host}");
        names.insert(one);
    }
    assert!(names.len() >= 3, "{names:?}");
    portway.stop();
}
