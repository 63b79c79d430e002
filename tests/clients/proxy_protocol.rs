//! `proxy_protocol`: whose word counts, and what it counts for.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use portway::wire::proxy::{Addresses, Header, Notes, parse, write_v1, write_v2};

use super::peer::*;
use crate::harness::instance::*;

const LOGGED: &str = "[log]\nformat = \"json\"\naccess = \"stderr\"\n";

fn with(port: &Port, backend: &Backend, more: &str) -> String {
    format!("{LOGGED}{}{more}", route("app", &port.local(), backend, ""))
}

/// A flow of a sender that begins with these bytes.
fn saying(address: &str, port: &Port, bytes: &[u8]) -> std::io::Result<Flow> {
    let mut stream = from(address, port.local().parse().unwrap())?;
    stream.write_all(bytes)?;
    Flow::greeted(stream)
}

fn for_client(client: &str) -> Addresses {
    Addresses::between(client.parse().unwrap(), "192.0.2.1:443".parse().unwrap())
}

fn v2(addresses: Addresses) -> Vec<u8> {
    write_v2(&Header { addresses, notes: Notes::default() }, false)
}

/// The access log's line about a client.
fn record(portway: &mut Portway, what: &str, is: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let of =
        |portway: &Portway| portway.seen.iter().find(|line| line["outcome"].is_string() && is(line)).cloned();
    portway.until(what, |portway| {
        portway.catch_up();
        of(portway).is_some()
    });
    of(portway).unwrap()
}

const ACCEPT: &str = "proxy_protocol = { accept = true, trusted = [\"127.0.1.0/24\"] }\n";

#[test]
fn the_address_of_the_header_is_what_lists_limits_and_logs_use() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let lists = "deny = \"203.0.113.0/24\"\nmax_connections_per_client = 1\n";
    let place = Place::with(&with(&port, &backend, &format!("{ACCEPT}{lists}")));
    let mut portway = Portway::run(&place.file());
    let headers = [write_v1(&for_client("198.51.100.7:1111")), v2(for_client("[2001:db8::7]:2222"))];
    for (n, header) in headers.into_iter().enumerate() {
        let mut flow = saying("127.0.1.1", &port, &header).unwrap();
        flow.ping().unwrap();
        // The same client is one too many, whoever says so; another one is not.
        assert!(saying("127.0.1.2", &port, &header).is_err());
        let other = for_client(&format!("198.51.100.{}:1", 10 + n));
        assert!(saying("127.0.1.1", &port, &write_v1(&other)).is_ok());
        drop(flow);
    }
    assert!(saying("127.0.1.1", &port, &write_v1(&for_client("203.0.113.9:1"))).is_err());
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
    let header = write_v1(&for_client("198.51.100.7:1111"));
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
    for header in [write_v1(&for_client("198.51.100.7:1111")), v2(for_client("198.51.100.7:1111"))] {
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
    for byte in write_v1(&for_client("198.51.100.7:1111")) {
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
    assert_eq!(saying("127.0.1.1", &port, &v2(Addresses::Own)).unwrap().reached, "app");
    assert!(saying("127.0.1.1", &port, &v2(Addresses::Unknown)).is_err());
    assert!(saying("127.0.1.1", &port, b"PROXY UNKNOWN\r\n").is_err());
    place.save(&with(&port, &backend, ACCEPT));
    portway.phase("reloaded");
    for header in [v2(Addresses::Own), v2(Addresses::Unknown), b"PROXY UNKNOWN\r\n".to_vec()] {
        assert_eq!(saying("127.0.1.1", &port, &header).unwrap().reached, "app");
    }
    record(&mut portway, "it is in the log", |line| {
        line["client"].as_str().unwrap().starts_with("127.0.1.1:")
    });
    portway.stop();
}

/// An upstream's first bytes, as a header and what follows it.
fn received(mut stream: impl Read, rest: usize) -> (Header, Vec<u8>) {
    let (mut bytes, mut piece) = (Vec::new(), [0; 1024]);
    loop {
        if let Some((header, length)) = parse(&bytes).unwrap()
            && bytes.len() - length >= rest
        {
            return (header, bytes.split_off(length));
        }
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "an end after {} bytes", bytes.len());
        bytes.extend(&piece[..read]);
    }
}

#[test]
fn the_upstream_hears_who_the_client_is() {
    let (port, upstream) = (Port::reserve(), TcpListener::bind("127.0.0.1:0").unwrap());
    let backend = Backend { addr: upstream.local_addr().unwrap() };
    let place = Place::with(&with(&port, &backend, "proxy_protocol = { send = \"v1\" }\n"));
    let mut portway = Portway::run(&place.file());
    for version in ["v1", "v2"] {
        let mut client = from("127.0.3.3", port.local().parse().unwrap()).unwrap();
        let (stream, _) = upstream.accept().unwrap();
        client.write_all(b"hello").unwrap();
        let (header, rest) = received(&stream, 5);
        let expected = Addresses::between(client.local_addr().unwrap(), client.peer_addr().unwrap());
        assert_eq!((header.addresses, rest.as_slice()), (expected, b"hello".as_slice()));
        assert_eq!(header.notes.unique_id.is_some(), version == "v2");
        // Each side ends by itself, as without a header.
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!((&stream).read(&mut [0]).unwrap(), 0);
        (&stream).write_all(b"bye").unwrap();
        drop(stream);
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        assert_eq!(back, b"bye");
        let of = client.local_addr().unwrap().to_string();
        let line = record(&mut portway, "the client is in the log", |line| line["client"] == of.as_str());
        // The header is not the client's.
        assert_eq!((&line["up"], &line["down"]), (&5.into(), &3.into()), "{line}");
        if let Some(id) = header.notes.unique_id {
            assert!(String::from_utf8(id).unwrap().ends_with(&format!("-{}", line["id"])));
        }
        if version == "v1" {
            place.save(&with(&port, &backend, "proxy_protocol = { send = \"v2\" }\n"));
            portway.phase("reloaded");
        }
    }
    portway.stop();
}

#[test]
fn a_header_is_passed_on_with_what_it_says() {
    let (port, upstream) = (Port::reserve(), TcpListener::bind("127.0.0.1:0").unwrap());
    let backend = Backend { addr: upstream.local_addr().unwrap() };
    let place = Place::with(&with(&port, &backend, &ACCEPT.replace("] }", "], send = \"v2\" }")));
    let portway = Portway::run(&place.file());
    let notes = Notes {
        alpn: Some(b"h2".to_vec()),
        ssl: None,
        authority: Some(b"app.example.com".to_vec()),
        unique_id: Some(b"the first one's".to_vec()),
    };
    let header = Header { addresses: for_client("[2001:db8::9]:9"), notes };
    let mut client = from("127.0.1.1", port.local().parse().unwrap()).unwrap();
    client.write_all(&[write_v2(&header, false), b"and this".to_vec()].concat()).unwrap();
    let (stream, _) = upstream.accept().unwrap();
    assert_eq!(received(&stream, 8), (header, b"and this".to_vec()));
    drop((client, stream));
    portway.stop();
}

#[test]
fn unix_sockets_have_headers_too() {
    let backend = tempfile::tempdir().unwrap();
    let (inside, outside) = (backend.path().join("in.sock"), backend.path().join("out.sock"));
    let upstream = UnixListener::bind(&outside).unwrap();
    let text = |protocol: &str| {
        format!(
            "{LOGGED}[[route]]\nname = \"app\"\nlisten = \"unix:{}\"\nupstream = \"unix:{}\"\n\
             proxy_protocol = {{ {protocol} }}\n",
            inside.display(),
            outside.display()
        )
    };
    let place = Place::with(&text("send = \"v2\""));
    let mut portway = Portway::run(&place.file());
    let mut client = UnixStream::connect(&inside).unwrap();
    client.write_all(b"hi").unwrap();
    let (stream, _) = upstream.accept().unwrap();
    let (header, rest) = received(&stream, 2);
    let path = inside.as_os_str().as_encoded_bytes().to_vec();
    assert_eq!((header.addresses, rest.as_slice()), (Addresses::Unix(Vec::new(), path), b"hi".as_slice()));
    drop((client, stream));

    place.save(&text("accept = true, trusted = \"unix:\", send = \"v1\""));
    portway.phase("reloaded");
    let mut client = UnixStream::connect(&inside).unwrap();
    client.write_all(&v2(for_client("198.51.100.7:1111"))).unwrap();
    let (stream, _) = upstream.accept().unwrap();
    assert_eq!(received(&stream, 0).0.addresses, for_client("198.51.100.7:1111"));
    drop((client, stream));
    record(&mut portway, "the client is in the log", |line| line["client"] == "198.51.100.7:1111");
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
        let header = v2(for_client(&format!("198.51.100.{host}:{}", 1000 + host)));
        let [one, two] =
            ["127.0.1.1", "127.0.1.2"].map(|sender| saying(sender, &port, &header).unwrap().reached);
        assert_eq!(one, two, "198.51.100.{host}");
        names.insert(one);
    }
    assert!(names.len() >= 3, "{names:?}");
    portway.stop();
}

#[test]
fn an_upstream_that_is_gone_before_its_header_ends_the_client() {
    let (port, upstream) = (Port::reserve(), TcpListener::bind("127.0.0.1:0").unwrap());
    let backend = Backend { addr: upstream.local_addr().unwrap() };
    let place = Place::with(&with(&port, &backend, "proxy_protocol = { send = \"v2\" }\n"));
    let portway = Portway::run(&place.file());
    for _ in 0..20 {
        let client = TcpStream::connect(("127.0.0.1", port.number)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let (stream, _) = upstream.accept().unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(stream);
        assert!(is_reset(client));
    }
    portway.stop();
}
