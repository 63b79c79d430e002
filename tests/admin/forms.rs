//! Forms of HTTP that mislead, and clients that speak something else: one answer that says so, and the connection ends.

use super::asker::{Asker, start};
use crate::harness::instance::{Backend, HEAD, Place, Port, Portway, route};

/// What stands behind a request and must not be taken for another one.
const HIDDEN: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn s13_what_two_readers_could_read_in_two_ways_is_refused_and_nothing_behind_it_is_read() {
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let (_place, proxy, asker) = start(&route("web", &port.local(), &backend, ""));
    for (fields, status) in [
        ("Content-Length:\r\n", 400),
        ("Content-Length: \r\n", 400),
        ("Content-Length: +4\r\n", 400),
        ("Content-Length: -4\r\n", 400),
        ("Content-Length: 0x4\r\n", 400),
        ("Content-Length: 4, 4\r\n", 400),
        ("Content-Length: 4\r\nContent-Length: 5\r\n", 400),
        ("Content-Length: 99999999999999999999\r\n", 400),
        ("Content-Length : 4\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", 411),
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", 411),
        ("Transfer-Encoding: chunked\r\n", 411),
        ("Transfer-Encoding: xchunked\r\n", 400),
        ("Transfer-Encoding: chunked, identity\r\n", 400),
        ("Transfer-Encoding : chunked\r\n", 400),
        ("X: a\r\n Content-Length: 4\r\n", 400),
        ("X: a\rContent-Length: 4\r\n", 400),
        ("X: a\0b\r\n", 400),
        (": 4\r\n", 400),
    ] {
        let request = format!("POST /v1/kill HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n0\r\n\r\n{HIDDEN}");
        let answer = asker.raw(request.as_bytes());
        assert_eq!(answer.status, status, "{fields:?}: {answer:?}");
        let all = answer.head + &answer.body;
        assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{fields:?}: {all}");
    }
    // The same length twice is one length.
    let same = "POST /v1/kill HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    assert!(asker.raw(same.as_bytes()).body.contains("which connections are meant"));
    proxy.stop();
}

#[test]
fn s13_a_head_has_at_most_16_kib() {
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let (_place, proxy, asker) = start(&route("web", &port.local(), &backend, ""));
    let one = |length: usize| format!("X: {}\r\n", "x".repeat(length));
    for (fields, status) in [
        (one(15 << 10), 200),
        (one(17 << 10), 431),
        (one(20 << 10), 431),
        (one(300).repeat(50), 200),
        (one(400).repeat(50), 431),
    ] {
        let request =
            format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n");
        assert_eq!(asker.raw(request.as_bytes()).status, status, "{} bytes", request.len());
    }
    proxy.stop();
}

#[test]
fn s13_whoever_speaks_http_2_is_told_so() {
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let (_place, proxy, asker) = start(&route("web", &port.local(), &backend, ""));
    // With an empty SETTINGS frame (RFC 9113, 3.4).
    let answer = asker.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    assert_eq!(answer.status, 505, "{answer:?}");
    assert_eq!(answer.json()["error"], "this endpoint does not speak HTTP/2");
    assert!(answer.json()["help"].as_str().unwrap().contains("--http1.1"), "{answer:?}");
    proxy.stop();
}

#[test]
fn s13_a_browser_on_another_site_is_refused_also_where_it_sends_no_origin() {
    let (port, admin, backend) = (Port::reserve(), Port::reserve(), Backend::named("one"));
    let listen = admin.local();
    let text = format!("{HEAD}[admin]\nlisten = \"{listen}\"\n");
    let place = Place::with(&(text + &route("web", &port.local(), &backend, "")));
    let proxy = Portway::run(&place.file());
    let ask = |path: &str, site: &str| {
        let asker = Asker::tcp(admin.number).with(&format!("Host: {listen}\r\nSec-Fetch-Site: {site}\r\n"));
        asker.ask("GET", path, "").status
    };
    for path in ["/v1/plan", "/v1/status", "/metrics"] {
        assert_eq!([ask(path, "none"), ask(path, "same-origin")], [200; 2], "{path}");
        assert_eq!([ask(path, "cross-site"), ask(path, "same-site")], [403; 2], "{path}");
    }
    // A link to the page, and a probe, show nothing.
    assert_eq!([ask("/", "cross-site"), ask("/healthz", "cross-site")], [200; 2]);
    // The authority of an absolute form counts, and not `Host` (RFC 9112, 3.2.2).
    let absolute = |host: &str| {
        let head =
            format!("GET http://{host}/v1/status HTTP/1.1\r\nHost: {listen}\r\nConnection: close\r\n\r\n");
        Asker::tcp(admin.number).raw(head.as_bytes()).status
    };
    assert_eq!([absolute(&listen), absolute("evil.example")], [200, 421]);
    proxy.stop();
}
