//! Edits that are large, or ask for more than there can be: probes and the watchdog do not wait for them.

use std::time::{Duration, Instant};

use super::asker::{Asker, head, start};
use crate::harness::instance::{Backend, HEAD, Port, reached, route};
use crate::harness::raise_descriptor_limit;

#[test]
fn s8_ranges_that_are_too_wide_together_are_a_fault_at_once() {
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let web = route("web", &port.local(), &backend, "");
    let (place, mut proxy, asker) = start(&web);
    let wide: String = (1..=120)
        .map(|n| format!("[[route]]\nlisten = \"127.9.0.{n}:1-65535\"\nupstream = \"127.0.0.1:9\"\n"))
        .collect();
    place.save(&(head(&place) + &web + &wide));
    let headline = proxy.refused();
    assert!(headline.contains("the port ranges of the file have more than 65536 ports"), "{headline}");
    assert_eq!(asker.get("/v1/status")["generation"], 1);
    assert_eq!(reached(port.number), "one");
    proxy.stop();
}

/// Thousands of sockets are opened, moved and closed: whoever asks whether it lives is answered in between.
#[test]
fn s8_a_large_edit_keeps_no_probe_waiting() {
    raise_descriptor_limit();
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20);
    // The move holds the old ones and the new ones for a moment.
    let ports = (most / 4).min(5_000);
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let web = route("web", &port.local(), &backend, "");
    let (place, mut proxy, asker) = start(&web);
    let range = |host: u8| route("range", &format!("127.88.0.{host}:20000-{}", 19_999 + ports), &backend, "");
    for (what, text) in [("open", range(1)), ("move", range(2)), ("close", String::new())] {
        let (before, begun) = (proxy.count("reloaded"), Instant::now());
        place.save(&(head(&place) + &web + &text));
        let mut longest = Duration::ZERO;
        while proxy.count("reloaded") == before {
            let asked = Instant::now();
            assert_eq!(asker.ask("GET", "/healthz", "").status, 200);
            longest = longest.max(asked.elapsed());
            assert!(begun.elapsed() < 3 * crate::harness::PATIENCE, "{}", proxy.log());
        }
        let took = begun.elapsed();
        println!("{what} {ports} ports: {took:?}, and the longest probe {longest:?}");
        let bound = (took / 2).max(Duration::from_millis(500));
        assert!(longest < bound, "{what}: {took:?} for the edit, {longest:?} for a probe");
    }
    proxy.stop();
}

/// The answer to the call that moves the endpoint is still sent, and then its connection ends.
#[test]
fn s6_an_edit_that_moves_the_endpoint_does_not_cut_off_answers_under_way() {
    let (port, other, backend) = (Port::reserve(), Port::reserve(), Backend::named("one"));
    let web = route("web", &port.local(), &backend, "");
    let (place, mut proxy, asker) = start(&web);
    let token = "s3cret-0123456789abcdef";
    let elsewhere = format!("{HEAD}[admin]\nlisten = \"{}\"\ntoken = \"{token}\"\n{web}", other.local());
    let bearer = format!("Host: {}\r\nAuthorization: Bearer {token}\r\n", other.local());
    let moved = Asker::tcp(other.number).with(&bearer);
    for (text, asker) in [(elsewhere, asker), (HEAD.to_owned() + &web, moved)] {
        let request = format!("POST /v1/kill HTTP/1.1\r\n{}Content-Length: 2\r\n\r\n{{", asker.head);
        let (mut under_way, mut idle) = (asker.connect(), asker.connect());
        under_way.write_all(request.as_bytes()).unwrap();
        // It is read before this one is.
        assert_eq!(asker.ask("GET", "/healthz", "").status, 200);
        place.save(&text);
        proxy.phase("reloaded");
        // Who only waits is let go.
        assert_eq!(idle.read(&mut [0]).unwrap_or_default(), 0);
        under_way.write_all(b"}").unwrap();
        let mut answer = String::new();
        under_way.read_to_string(&mut answer).unwrap();
        assert!(
            answer.contains("400 Bad Request") && answer.contains("which connections are meant"),
            "{answer}"
        );
    }
    drop(proxy);
}
