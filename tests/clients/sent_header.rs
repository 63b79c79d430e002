//! `proxy_protocol`'s `send`: what an upstream hears of its client.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::peer::*;
use super::proxy_protocol::*;
use crate::harness::header::{self, Ends, Told, received};
use crate::harness::instance::*;
use crate::harness::pass;

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
        let expected = Ends::Ip(client.local_addr().unwrap(), client.peer_addr().unwrap());
        assert_eq!((header.ends, rest.as_slice()), (expected, b"hello".as_slice()));
        assert_eq!(header.notes.contains_key(&header::UNIQUE_ID), version == "v2");
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
        if let Some(id) = header.notes.get(&header::UNIQUE_ID) {
            header::nonce(id, &line["id"]);
        }
        if version == "v1" {
            place.save(&with(&port, &backend, "proxy_protocol = { send = \"v2\" }\n"));
            portway.phase("reloaded");
        }
    }
    portway.stop();
}

/// A name that no other connection has: of this process, of one that runs beside it, and of one that comes later.
#[test]
fn connections_of_other_processes_have_other_names() {
    let (ports, upstream) = ([Port::reserve(), Port::reserve()], TcpListener::bind("127.0.0.1:0").unwrap());
    let backend = Backend { addr: upstream.local_addr().unwrap() };
    let places = ports
        .each_ref()
        .map(|port| Place::with(&with(port, &backend, "proxy_protocol = { send = \"v2\" }\n")));
    // What the names of two connections of a process have in common.
    let named = |portway: &mut Portway, port: &Port| {
        let names = [1, 2].map(|id| {
            let client = from("127.0.3.3", port.local().parse().unwrap()).unwrap();
            let (stream, _) = upstream.accept().unwrap();
            let (told, _) = received(&stream, 0);
            let of = client.local_addr().unwrap().to_string();
            drop((client, stream));
            let line = record(portway, "the client is in the log", |line| line["client"] == of.as_str());
            assert_eq!(line["id"], id);
            header::nonce(&told.notes[&header::UNIQUE_ID], &line["id"])
        });
        assert_eq!(names[0], names[1]);
        names[0].clone()
    };
    let mut portways = places.each_ref().map(|place| Portway::run(&place.file()));
    let [one, beside] = [0, 1].map(|at| named(&mut portways[at], &ports[at]));
    portways.into_iter().for_each(Portway::stop);
    let mut portway = Portway::run(&places[0].file());
    let later = named(&mut portway, &ports[0]);
    portway.stop();
    assert!(one != beside && one != later && beside != later, "{one}, {beside}, {later}");
}

/// What the first proxy of a chain has noted (of its cloud, of the client's certificate) reaches the server behind the last one.
/// What is of the connection between two of them does not: its padding, its checksum, and names of the sender's host.
#[test]
fn what_a_header_notes_goes_on_with_it() {
    const NOOP: u8 = 0x04;
    const NETNS: u8 = 0x30;
    const AWS: u8 = 0xea;
    const CUSTOM: u8 = 0xe0;
    let (port, upstream) = (Port::reserve(), TcpListener::bind("127.0.0.1:0").unwrap());
    let backend = Backend { addr: upstream.local_addr().unwrap() };
    let accepts = "proxy_protocol = { accept = true, trusted = [\"127.0.1.0/24\"], send = \"v2\" }\n";
    let place = Place::with(&with(&port, &backend, accepts));
    let portway = Portway::run(&place.file());
    // With a certificate in it, as HAProxy sends one since 3.1.
    let ssl = [b"\x07\0\0\0\0\x28\x02\x58".as_slice(), &[b'c'; 600]].concat();
    let notes: [(u8, &[u8]); 6] = [
        (NOOP, &[0; 9]),
        (AWS, b"\x01vpce-08d2bf15fac5001c9"),
        (NETNS, b"blue"),
        (header::SSL, &ssl),
        (CUSTOM, b""),
        (header::UNIQUE_ID, b"first"),
    ];
    let client = "203.0.113.7:4711".parse().unwrap();
    let mut stream = from("127.0.1.1", port.local().parse().unwrap()).unwrap();
    stream.write_all(&header::v2(client, server(client), &notes)).unwrap();
    stream.write_all(b"hello").unwrap();
    let (told, rest) = received(&upstream.accept().unwrap().0, 5);
    assert_eq!((told.ends, rest.as_slice()), (Ends::Ip(client, server(client)), b"hello".as_slice()));
    let mut heard = told.notes;
    assert_eq!(heard.remove(&header::CRC32C).map(|sum| sum.len()), Some(4));
    let expected: [(u8, &[u8]); 4] = [notes[1], notes[3], notes[4], notes[5]];
    assert_eq!(heard, expected.map(|(kind, value)| (kind, value.to_vec())).into());
    drop(stream);
    portway.stop();
}

/// As HAProxy's `Tc`: the time of the client is none of the upstream's.
#[test]
fn the_time_to_connect_begins_with_the_first_attempt() {
    const SLOW: Duration = Duration::from_secs(2);
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let place = Place::with(&with(&port, &backend, ACCEPT));
    let mut portway = Portway::run(&place.file());
    let mut stream = from("127.0.1.1", port.local().parse().unwrap()).unwrap();
    pass(SLOW);
    stream.write_all(&v2("203.0.113.7:4711")).unwrap();
    drop(Flow::greeted(stream).unwrap());
    let line = record(&mut portway, "the client is in the log", |line| line["client"] == "203.0.113.7:4711");
    let [connect, duration] = ["connect_ms", "duration_ms"].map(|key| line[key].as_f64().unwrap());
    assert!(duration >= 1000.0 && connect < 1000.0, "{line}");
    portway.stop();
}

/// How many segments with data have come for this end of a connection.
fn segments(stream: &TcpStream) -> u64 {
    let (own, peer) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    let ends = ["src", &own.to_string(), "dst", &peer.to_string()].map(str::to_owned);
    let shown = Command::new("ss").arg("-tinH").args(ends).output().unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    let count = text.split_whitespace().find_map(|word| word.strip_prefix("data_segs_in:"));
    count.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

#[test]
fn what_a_client_has_sent_goes_with_the_header_and_who_is_silent_is_not_waited_for() {
    let (port, upstream) = (Port::reserve(), TcpListener::bind("127.0.0.1:0").unwrap());
    let backend = Backend { addr: upstream.local_addr().unwrap() };
    let place = Place::with(&with(&port, &backend, "proxy_protocol = { send = \"v2\" }\n"));
    let portway = Portway::run(&place.file());
    // What they send is there before they are accepted.
    portway.signal(Signal::STOP);
    let connect = || TcpStream::connect(("127.0.0.1", port.number)).unwrap();
    let long: Vec<u8> = (0..50_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut short, mut ends, silent) = (connect(), connect(), connect());
    short.write_all(b"hello").unwrap();
    ends.write_all(&long).unwrap();
    ends.shutdown(std::net::Shutdown::Write).unwrap();
    portway.signal(Signal::CONT);
    let mut of_client = std::collections::HashMap::new();
    for _ in 0..3 {
        let (mut stream, _) = upstream.accept().unwrap();
        let mut bytes = vec![0; 1024];
        let n = stream.read(&mut bytes).unwrap();
        let (header, length) = header::read(&bytes[..n]).expect("the header comes in one piece");
        let Ends::Ip(client, _) = header.ends else { panic!("{header:?}") };
        of_client.insert(client, (stream, bytes[length..n].to_vec()));
    }
    let mut of = |client: &TcpStream| of_client.remove(&client.local_addr().unwrap()).unwrap();

    let (short_stream, first) = of(&short);
    assert_eq!(first, b"hello");
    assert_eq!(segments(&short_stream), 1, "the header and what follows it come as one");
    let (mut stream, mut got) = of(&ends);
    assert!(!got.is_empty(), "the first bytes come with the header");
    stream.read_to_end(&mut got).unwrap();
    assert!(got == long, "{} bytes", got.len());
    stream.write_all(b"bye").unwrap();
    drop(stream);
    let mut back = Vec::new();
    ends.read_to_end(&mut back).unwrap();
    assert_eq!(back, b"bye");
    let (mut stream, first) = of(&silent);
    assert_eq!(first, b"");
    stream.write_all(b"220 ready").unwrap();
    let mut greeting = [0; 9];
    (&silent).read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 ready");
    drop((short_stream, stream, short, silent));
    portway.stop();
}

#[test]
fn a_header_is_passed_on_with_what_it_says() {
    let (port, upstream) = (Port::reserve(), TcpListener::bind("127.0.0.1:0").unwrap());
    let backend = Backend { addr: upstream.local_addr().unwrap() };
    let place = Place::with(&with(&port, &backend, &ACCEPT.replace("] }", "], send = \"v2\" }")));
    let portway = Portway::run(&place.file());
    let told: [(u8, &[u8]); 3] = [
        (header::ALPN, b"h2"),
        (header::AUTHORITY, b"app.example.com"),
        (header::UNIQUE_ID, b"the first one's"),
    ];
    let sender = "[2001:db8::9]:9".parse().unwrap();
    let mut client = from("127.0.1.1", port.local().parse().unwrap()).unwrap();
    client.write_all(&[header::v2(sender, server(sender), &told), b"and this".to_vec()].concat()).unwrap();
    let (stream, _) = upstream.accept().unwrap();
    let (mut header, rest) = received(&stream, 8);
    // The checksum is the header's own.
    assert_eq!(header.notes.remove(&header::CRC32C).map(|sum| sum.len()), Some(4));
    let notes = told.map(|(kind, value)| (kind, value.to_vec())).into();
    assert_eq!(
        (header, rest),
        (Told { ends: Ends::Ip(sender, server(sender)), notes }, b"and this".to_vec())
    );
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
    assert_eq!((header.ends, rest.as_slice()), (Ends::Unix(Vec::new(), path), b"hi".as_slice()));
    drop((client, stream));

    place.save(&text("accept = true, trusted = \"unix:\", send = \"v1\""));
    portway.phase("reloaded");
    let mut client = UnixStream::connect(&inside).unwrap();
    client.write_all(&v2("198.51.100.7:1111")).unwrap();
    let (stream, _) = upstream.accept().unwrap();
    let told = Ends::Ip("198.51.100.7:1111".parse().unwrap(), "192.0.2.1:443".parse().unwrap());
    assert_eq!(received(&stream, 0).0.ends, told);
    drop((client, stream));
    record(&mut portway, "the client is in the log", |line| line["client"] == "198.51.100.7:1111");
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
