//! Clients of the endpoint that mean harm, or fail: they are bounded, and keep nobody out.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use super::asker::{Asker, At, head, portway, start};
use crate::harness::instance::{Backend, PORTWAY, Place, Port, Portway, route};
use crate::harness::until;

/// As many as the endpoint has connections, and one.
const MOST: usize = 17;

#[test]
fn who_only_holds_connections_keeps_nobody_out() {
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let (place, proxy, asker) = start(&route("web", &port.local(), &backend, ""));
    let before = proxy.descriptors()["socket"];
    // Ten thousand tries: some silent, some within their head, some with a body that does not come.
    let beginnings: [&[u8]; 3] =
        [b"", b"GET /v1/status HT", b"POST /v1/plan HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n["];
    let (mut held, mut most) = (std::collections::VecDeque::new(), 0);
    for number in 0..10_000 {
        let mut stream = asker.connect();
        // Of one that had to give way.
        drop(stream.write_all(beginnings[number % if number % 100 == 0 { 3 } else { 2 }]));
        held.push_back(stream);
        if held.len() > 300 {
            held.pop_front();
        }
        if number % 500 == 0 {
            most = most.max(proxy.descriptors()["socket"]);
            let begun = Instant::now();
            asker.get("/v1/status");
            assert!(begun.elapsed() < Duration::from_secs(12), "a request waited for {:?}", begun.elapsed());
        }
    }
    assert!(most <= before + MOST, "{most} sockets, and {before} before");
    assert_eq!(portway(&place.file(), &["status"]).code, 0);
    assert_eq!(crate::harness::instance::reached(port.number), "one");
    drop(held);
    proxy.stop();
}

#[test]
fn a_slow_head_and_a_slow_body_end_in_time() {
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let (_place, proxy, asker) = start(&route("web", &port.local(), &backend, ""));
    for (beginning, at_most) in [
        (&b"GET /v1/status HTTP/1.1\r\nHo"[..], 8),
        (b"POST /v1/kill HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{", 14),
    ] {
        let begun = Instant::now();
        let answer = asker.raw(beginning);
        let took = begun.elapsed();
        assert_eq!(answer.status, 408, "{answer:?}");
        assert!(took > Duration::from_secs(3) && took < Duration::from_secs(at_most), "{took:?}");
    }
    proxy.stop();
}

#[test]
fn what_is_too_large_or_no_http_is_refused_at_once() {
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let (_place, proxy, asker) = start(&route("web", &port.local(), &backend, ""));
    let endless = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(100_000));
    let fields: String = (0..200).map(|field| format!("F{field}: v\r\n")).collect();
    for (request, status) in [
        ("POST /v1/plan HTTP/1.1\r\nHost: x\r\nContent-Length: 17000000\r\n\r\n".to_owned(), 413),
        ("POST /v1/plan HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), 411),
        (endless, 431),
        (format!("GET / HTTP/1.1\r\n{fields}\r\n"), 431),
        ("\u{16}\u{3}\u{1}\r\n\r\n".to_owned(), 400),
        ("DELETE /v1/routes HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 405),
        ("GET /v1/../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(), 404),
    ] {
        let answer = asker.raw(request.as_bytes());
        assert_eq!(answer.status, status, "{}", &request[..request.len().min(60)]);
        // What is no request at all is answered by its status alone.
        assert_eq!(answer.body.is_empty(), matches!(status, 400 | 431));
        if !answer.body.is_empty() {
            assert!(!answer.json()["error"].as_str().unwrap().is_empty());
        }
    }
    proxy.stop();
}

#[test]
fn a_connection_serves_many_requests_also_with_their_heads_in_one_piece() {
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let (_place, proxy, asker) = start(&route("web", &port.local(), &backend, ""));
    let one = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut stream = asker.connect();
    stream.write_all(format!("{}{last}", one.repeat(5)).as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 6, "{text}");
    assert_eq!(text.matches("\r\n\r\nok\n").count(), 5, "{text}");
    // curl asks before it sends a large body.
    let mut stream = asker.connect();
    let head = "POST /v1/kill HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").unwrap();
    text.clear();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
    proxy.stop();
}

/// 200 clients and descriptors for a few: the endpoint has its own.
#[test]
fn it_answers_when_the_descriptors_are_used_up() {
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let place = Place::with("");
    place.save(&(head(&place) + &route("web", &port.local(), &backend, "")));
    let mut command = Command::new("prlimit");
    let mut proxy =
        Portway::start(command.arg("--nofile=80").arg(PORTWAY).args(["run", "--config"]).arg(place.file()));
    let clients: Vec<TcpStream> =
        (0..200).map(|_| TcpStream::connect(("127.0.0.1", port.number)).unwrap()).collect();
    proxy.phase("no descriptor is left");
    let asker = Asker { at: At::Unix(super::asker::socket(&place)), head: "Host: x\r\n".into() };
    for _ in 0..20 {
        let limits = asker.get("/v1/status")["limits"].clone();
        assert_eq!(limits["connections"]["used"], limits["connections"]["most"]);
        assert!(limits["descriptors"]["used"].as_u64() <= limits["descriptors"]["most"].as_u64(), "{limits}");
        assert_eq!(limits["descriptors"]["most"], 80);
    }
    // All at once, too.
    let open: Vec<_> = (0..MOST - 1).map(|_| asker.connect()).collect();
    asker.get("/v1/routes");
    drop((open, clients));
    until("all have ended", || asker.connections("").is_empty());
}

/// An answer that a slow reader has in part is not cut off by clients who only connect.
#[test]
fn an_answer_under_way_gives_way_to_nobody() {
    let backend = Backend::named("one");
    // An address that nobody else uses.
    let listen = |n: usize| format!("127.77.0.2:{}", 20_000 + n);
    let routes: String = (0..1200).map(|n| route(&format!("r{n}"), &listen(n), &backend, "")).collect();
    let (_place, proxy, asker) = start(&routes);
    let mut slow = asker.connect();
    slow.write_all(b"GET /v1/routes HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut start = vec![0; 2000];
    slow.read_exact(&mut start).unwrap();
    let text = String::from_utf8(start).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let length = head
        .to_lowercase()
        .split("content-length: ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .parse::<usize>();
    let silent: Vec<_> = (0..40).map(|_| asker.connect()).collect();
    asker.get("/v1/status");
    let mut rest = vec![0; length.unwrap() - body.len()];
    slow.read_exact(&mut rest).unwrap();
    assert!(rest.trim_ascii_end().ends_with(b"}") && rest.len() > 100_000, "{} bytes", rest.len());
    drop((silent, slow));
    proxy.stop();
}

#[test]
fn a_body_that_is_cut_off_is_told_from_one_that_is_too_large() {
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let (_place, proxy, asker) = start(&route("web", &port.local(), &backend, ""));
    let At::Unix(path) = &asker.at else { unreachable!() };
    let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
    stream.write_all(b"POST /v1/kill HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n{}").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("the body was cut off"), "{answer}");
    proxy.stop();
}
