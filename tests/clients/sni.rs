//! `sni` and `alpn`: several routes at one address, and every byte of a client's first message at its upstream.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::peer::*;
use crate::harness::header::{self, Ends};
use crate::harness::hello::{message, records};
use crate::harness::instance::*;

const LOGGED: &str = "[log]\nformat = \"json\"\naccess = \"stderr\"\n";

/// A route at the port, with these further lines.
fn served(name: &str, port: &Port, backend: &Backend, more: &str) -> String {
    format!("{}{more}\n", route(name, &port.local(), backend, ""))
}

fn hello(name: &str, alpn: &[&str]) -> Vec<u8> {
    records(&message(Some(name), alpn, 1700), &[])
}

/// The upstream that a client comes to, which must get all that it sent.
fn led(mut stream: TcpStream, sent: &[u8]) -> std::io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(&mut stream);
    let mut name = String::new();
    reader.read_line(&mut name)?;
    let mut back = vec![0; sent.len()];
    reader.read_exact(&mut back)?;
    assert!(back == sent, "other bytes came back");
    // And it is a connection like any other.
    reader.get_mut().write_all(b"more")?;
    let mut more = [0; 4];
    reader.read_exact(&mut more)?;
    assert_eq!(&more, b"more");
    Ok(name.trim_end().to_owned())
}

fn asks(port: &Port, bytes: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(port.local())?;
    stream.write_all(bytes)?;
    led(stream, bytes)
}

fn has_line(portway: &mut Portway, what: &str, holds: impl Fn(&serde_json::Value) -> bool) {
    portway.until(what, |portway| {
        portway.catch_up();
        portway.seen.iter().any(|line| line["outcome"].is_string() && holds(line))
    });
}

#[test]
fn a_client_is_led_by_its_name_its_protocol_or_with_the_rest() {
    let (port, backends) = (Port::reserve(), ["exact", "below", "h2", "rest"].map(Backend::named));
    let [exact, below, h2, rest] = &backends;
    let text = [
        LOGGED.to_owned(),
        served("exact", &port, exact, "sni = [\"app.example.com\", \"www.example.com\"]"),
        served("below", &port, below, "sni = \"*.example.com\""),
        served("h2", &port, h2, "sni = \"app.example.com\"\nalpn = \"h2\""),
        served("rest", &port, rest, ""),
    ]
    .concat();
    let place = Place::with(&text);
    let mut portway = Portway::run(&place.file());
    for (name, alpn, expected) in [
        ("app.example.com", &[][..], "exact"),
        ("WWW.Example.com", &["h2"], "exact"),
        ("app.example.com", &["http/1.1", "h2"], "h2"),
        ("a.b.example.com", &[], "below"),
        ("example.com", &[], "rest"),
        ("other", &[], "rest"),
    ] {
        assert_eq!(asks(&port, &hello(name, alpn)).unwrap(), expected, "{name} {alpn:?}");
    }
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".as_slice(),
        b"\x16\x03\x01\0\x04\x01\0\0\0",
        &records(&message(None, &[], 300), &[]),
    ] {
        assert_eq!(asks(&port, bytes).unwrap(), "rest", "{}", bytes.escape_ascii());
    }
    has_line(&mut portway, "the name's route is in the log", |line| {
        line["route"] == "h2" && line["up"] == 1709
    });
    portway.stop();
}

#[test]
fn every_cut_of_a_hello_over_one_and_two_records_with_pauses() {
    let (port, backend, rest) = (Port::reserve(), Backend::named("app"), Backend::named("rest"));
    let text = [
        // A slow machine takes its time for a batch.
        format!("{HEAD}[defaults]\nsniff_timeout = \"1m\"\n"),
        served("app", &port, &backend, "sni = \"app.example.com\""),
        served("rest", &port, &rest, ""),
    ];
    let place = Place::with(&text.concat());
    let portway = Portway::run(&place.file());
    let message = message(Some("app.example.com"), &["h2"], 1700);
    let one = records(&message, &[]);
    let in_one = (1..one.len()).map(|cut| (one.clone(), cut));
    // Cut in two records where it is cut in two segments.
    let in_two = (1..message.len()).map(|cut| (records(&message, &[cut]), cut + 5));
    let all: Vec<(Vec<u8>, usize)> = in_one.chain(in_two).collect();
    assert_eq!(all.len(), 1704 + 1699);
    for batch in all.chunks(200) {
        let open = |(bytes, cut): &(Vec<u8>, usize)| {
            let mut stream = TcpStream::connect(port.local()).unwrap();
            stream.set_nodelay(true).unwrap();
            stream.write_all(&bytes[..*cut]).unwrap();
            stream
        };
        let streams: Vec<TcpStream> = batch.iter().map(open).collect();
        pass(Duration::from_millis(50));
        for ((bytes, cut), mut stream) in batch.iter().zip(streams) {
            stream.write_all(&bytes[*cut..]).unwrap();
            assert_eq!(led(stream, bytes).unwrap(), "app", "cut at {cut}");
        }
    }
    portway.stop();
}

#[test]
fn who_is_served_by_none_is_reset_and_the_log_says_what_it_asked_for() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let more = "sni = \"app.example.com\"\nsniff_timeout = \"300ms\"";
    let place = Place::with(&format!("{LOGGED}{}", served("app", &port, &backend, more)));
    let mut portway = Portway::run(&place.file());
    for (bytes, why) in [
        (hello("other.example.com", &[]), "asks for other.example.com"),
        (b"SSH-2.0-x\r\n".to_vec(), "does not begin TLS"),
        // A handshake record whose message is no ClientHello.
        (b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00".to_vec(), "begins TLS with a malformed hello"),
        (hello("app.example.com", &[])[..900].to_vec(), "in time"),
        (records(&message(None, &[], 300), &[]), "asks for no server name"),
    ] {
        let mut stream = from("127.0.0.1", port.local().parse().unwrap()).unwrap();
        stream.write_all(&bytes).unwrap();
        assert!(is_reset(stream), "{why}");
        has_line(&mut portway, why, |line| {
            (&line["outcome"], &line["route"]) == (&"no-route".into(), &"-".into())
                && line["detail"].as_str().unwrap().contains(why)
        });
    }
    assert_eq!(asks(&port, &hello("app.example.com", &[])).unwrap(), "app");
    // Without an access log too: the first of them at once, all when the route ends.
    let is_first =
        |line: &&serde_json::Value| line["message"] == "denied a client; the next ones are counted";
    let denied = portway.seen.iter().find(is_first).unwrap();
    assert_eq!(
        (&denied["by"], &denied["route"], &denied["denied"]),
        (&"sni, alpn".into(), &"app".into(), &1.into())
    );
    portway.signal(rustix::process::Signal::TERM);
    assert_eq!(portway.phase("turned away in all")["no_route"], 5);
    portway.stopped();
}

#[test]
fn a_client_that_waits_for_the_server_is_led_with_the_rest_in_time() {
    let (port, backend, rest) = (Port::reserve(), Backend::named("app"), Backend::named("rest"));
    let timeout = "sniff_timeout = \"200ms\"";
    let text = [
        LOGGED.to_owned(),
        served("app", &port, &backend, &format!("sni = \"app.example.com\"\n{timeout}")),
        served("rest", &port, &rest, timeout),
    ];
    let place = Place::with(&text.concat());
    let portway = Portway::run(&place.file());
    let begin = Instant::now();
    let mut silent = Flow::open(port.number);
    assert!(
        silent.reached == "rest" && begin.elapsed() >= Duration::from_millis(190),
        "{:?}",
        begin.elapsed()
    );
    silent.ping().unwrap();
    // One that only ends its side may still wait for its answer.
    let stream = from("127.0.0.1", port.local().parse().unwrap()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut all = String::new();
    (&stream).read_to_string(&mut all).unwrap();
    assert_eq!(all, "rest\n");
    // The deadline is absolute: a byte now and then does not move it. What has come is the upstream's.
    let (bytes, begin) = (hello("app.example.com", &[]), Instant::now());
    let mut slow = from("127.0.0.1", port.local().parse().unwrap()).unwrap();
    let mut sent = 0;
    while begin.elapsed() < Duration::from_millis(400) {
        slow.write_all(&bytes[sent..=sent]).unwrap();
        sent += 1;
        pass(Duration::from_millis(20));
    }
    assert_eq!(led(slow, &bytes[..sent]).unwrap(), "rest");
    drop((silent, stream));
    portway.stop();
}

#[test]
fn an_edit_adds_and_removes_names_and_touches_nothing_else() {
    let (port, backends) = (Port::reserve(), ["a", "b", "c"].map(Backend::named));
    let [a, b, c] = &backends;
    let with = |more: &[String]| {
        [LOGGED.to_owned(), served("a", &port, a, "sni = \"a.example\""), more.concat()].concat()
    };
    let (route_b, route_c) = (served("b", &port, b, "sni = \"b.example\""), served("c", &port, c, ""));
    let place = Place::with(&with(&[]));
    let mut portway = Portway::run(&place.file());
    let inode = portway.sockets().len();
    let (mut open, bytes) = (TcpStream::connect(port.local()).unwrap(), hello("a.example", &[]));
    open.write_all(&bytes).unwrap();
    assert_eq!(led(open.try_clone().unwrap(), &bytes).unwrap(), "a");
    assert!(asks(&port, &hello("b.example", &[])).is_err());

    place.save(&with(std::slice::from_ref(&route_b)));
    portway.phase("reloaded");
    assert_eq!(asks(&port, &hello("b.example", &[])).unwrap(), "b");
    assert_eq!(asks(&port, &hello("a.example", &[])).unwrap(), "a");

    place.save(&with(&[route_b.replace("b.example", "*.b.example"), route_c.clone()]));
    portway.phase("reloaded");
    assert_eq!(asks(&port, &hello("b.example", &[])).unwrap(), "c");
    assert_eq!(asks(&port, &hello("x.b.example", &[])).unwrap(), "b");

    // A removed one takes its own connections with it, where it says so, and no others.
    place.save(&with(&[route_c.clone() + "on_change = \"cut\"\n"]));
    portway.phase("reloaded");
    assert_eq!(asks(&port, &hello("x.b.example", &[])).unwrap(), "c");
    let mut of_c = TcpStream::connect(port.local()).unwrap();
    of_c.write_all(b"plain").unwrap();
    let mut of_c = Flow::greeted(of_c).unwrap();
    place.save(&with(&[]));
    portway.phase("reloaded");
    assert!(of_c.was_reset());
    assert_eq!(portway.sockets().len(), inode + 2, "the listener, and the two ends of the open flow");
    // And the flow of the first text is still there.
    open.write_all(b"still there").unwrap();
    let mut back = [0; 11];
    open.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"still there");
    drop(open);
    portway.stop();
}

#[test]
fn each_route_of_an_address_has_its_own_lists_and_limits() {
    let (port, a, b) = (Port::reserve(), Backend::named("a"), Backend::named("b"));
    let text = [
        LOGGED.to_owned(),
        served("a", &port, &a, "sni = \"a.example\"\nallow = \"127.0.1.0/24\"\nmax_connections = 1"),
        served("b", &port, &b, "sni = \"b.example\"\nallow = [\"127.0.1.0/24\", \"127.0.2.0/24\"]"),
    ];
    let place = Place::with(&text.concat());
    let mut portway = Portway::run(&place.file());
    let asks_from = |address: &str, name: &str| {
        let mut stream = from(address, port.local().parse().unwrap())?;
        stream.write_all(&hello(name, &[]))?;
        Flow::greeted(stream)
    };
    let held = asks_from("127.0.1.1", "a.example").unwrap();
    assert!(asks_from("127.0.1.1", "a.example").is_err(), "a is full");
    assert_eq!(portway.phase("limited a client")["route"], "a");
    assert_eq!(asks_from("127.0.1.1", "b.example").unwrap().reached, "b");
    assert_eq!(asks_from("127.0.2.1", "b.example").unwrap().reached, "b");
    assert!(asks_from("127.0.2.1", "a.example").is_err(), "not allowed at a");
    assert_eq!(portway.phase("denied a client")["route"], "a");
    // Whom none lets in is not heard at all.
    assert!(turned_away("127.0.3.1", port.number));
    drop(held);
    portway.stop();
}

#[test]
fn a_header_may_come_before_the_hello_and_says_its_name_to_the_upstream() {
    let (port, upstream) = (Port::reserve(), TcpListener::bind("127.0.0.1:0").unwrap());
    let backend = Backend { addr: upstream.local_addr().unwrap() };
    let more = "sni = \"*.example\"\nproxy_protocol = { accept = true, trusted = \"127.0.1.1\", untrusted = \"plain\", send = \"v2\" }";
    let place = Place::with(&format!("{LOGGED}{}", served("app", &port, &backend, more)));
    let mut portway = Portway::run(&place.file());
    let bytes = hello("app.example", &["h2"]);
    let header = b"PROXY TCP4 198.51.100.7 192.0.2.1 1111 443\r\n".as_slice();
    for (address, sent) in [("127.0.1.1", [header, &bytes].concat()), ("127.0.2.1", bytes.clone())] {
        let mut client = from(address, port.local().parse().unwrap()).unwrap();
        client.write_all(&sent).unwrap();
        let (mut stream, _) = upstream.accept().unwrap();
        let (mut got, mut piece) = (Vec::new(), [0; 4096]);
        let (header, rest) = loop {
            let read = stream.read(&mut piece).unwrap();
            got.extend(&piece[..read]);
            match header::read(&got) {
                Some((header, length)) if got.len() >= length + bytes.len() => {
                    break (header, got.split_off(length));
                }
                _ => assert!(read > 0),
            }
        };
        assert!(rest == bytes);
        let expected = match address {
            "127.0.1.1" => "198.51.100.7:1111".parse().unwrap(),
            _ => client.local_addr().unwrap(),
        };
        assert!(matches!(header.ends, Ends::Ip(client, _) if client == expected), "{header:?}");
        let note = |kind| header.notes.get(&kind).map(Vec::as_slice);
        assert_eq!(note(header::AUTHORITY), Some(b"app.example".as_slice()));
        assert_eq!(note(header::ALPN), Some(b"h2".as_slice()));
    }
    has_line(&mut portway, "the client is in the log", |line| line["client"] == "198.51.100.7:1111");
    portway.stop();
}

/// An upstream that waits for its client.
fn quiet() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || drop(std::io::copy(&mut &client, &mut &client)));
        }
    });
    addr
}

/// Of several upstreams the first is watched for a second, whether it resets at once, unless we have bytes for it: then
/// nobody would speak meanwhile.
#[test]
fn t12_what_was_read_of_a_client_goes_to_one_of_two_upstreams_at_once() {
    let (sniffed, headed) = (Port::reserve(), Port::reserve());
    let upstreams = format!("[\"{}\", \"{}\"]", quiet(), quiet());
    let led = |name: &str, port: &Port, more: &str| {
        let listen = port.local();
        format!("[[route]]\nname = \"{name}\"\nlisten = \"{listen}\"\nupstream = {upstreams}\n{more}\n")
    };
    let text = [
        HEAD.to_owned(),
        led("sniffed", &sniffed, "sni = \"app.example\""),
        led("headed", &headed, "proxy_protocol = { send = \"v1\" }"),
    ];
    let place = Place::with(&text.concat());
    let portway = Portway::run(&place.file());
    let hello = hello("app.example", &[]);
    for (port, sent) in [(&sniffed, hello.as_slice()), (&headed, b"")] {
        let time = || {
            let mut client = TcpStream::connect(("127.0.0.1", port.number)).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            let begun = std::time::Instant::now();
            client.write_all(sent).unwrap();
            // The header comes back too, whose end is a line.
            let mut back = vec![0; sent.len().max(20)];
            client.read_exact(&mut back).unwrap();
            begun.elapsed()
        };
        // A busy machine may be late, but not every time.
        assert!((0..5).any(|_| time() < Duration::from_millis(800)));
    }
    portway.stop();
}
