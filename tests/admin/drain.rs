//! `drain`: a route is taken out, and comes back by `enable`; the whole proxy ends.

use std::io::{Read, Write};
use std::sync::mpsc::channel;

use serde_json::json;

use super::asker::{Asker, portway, start};
use crate::harness::instance::{Backend, Flow, Port, is_refused, reached, route};
use crate::harness::until;

#[test]
fn a_route_that_drains_takes_nobody_and_lets_its_connections_end() {
    let (one, two, backend) = (Port::reserve(), Port::reserve(), Backend::named("b"));
    let routes = route("one", &one.local(), &backend, "") + &route("two", &two.local(), &backend, "");
    let (place, proxy, asker) = start(&routes);
    let (mut flow, mut other) = (Flow::open(one.number), Flow::open(two.number));
    let file = place.file();
    let waiting = std::thread::spawn(move || portway(&file, &["drain", "one"]));
    until("it is taken out", || asker.route("one")["state"] == "drained");
    assert!(is_refused(one.number));
    flow.ping().unwrap();
    other.ping().unwrap();
    let route = asker.route("one");
    assert_eq!((&route["state"], &route["retired"]), (&json!("drained"), &json!(1)));
    // The file is what runs, but for what was done by hand.
    assert_eq!(asker.get("/v1/plan")["changes"], false);
    assert!(!waiting.is_finished());
    drop(flow);
    let drained = waiting.join().unwrap();
    assert_eq!(drained.code, 0, "{drained:?}");
    assert_eq!(drained.out, "draining 1 open connection, at most 30s\ndrained\n");
    other.ping().unwrap();
    // It comes back when somebody says so, and not with the file.
    let file = portway(&place.file(), &["reload"]);
    assert!(file.out.contains("nothing changed") && is_refused(one.number), "{file:?}");
    let back = portway(&place.file(), &["enable", "one"]);
    assert_eq!(back.out, "one follows the file again\n", "{back:?}");
    assert_eq!(reached(one.number), "b");
    other.ping().unwrap();
    assert_eq!(portway(&place.file(), &["drain", "three"]).code, 2);
    drop(other);
    proxy.stop();
}

#[test]
fn out_of_time_they_are_cut() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let (place, proxy, asker) = start(&route("one", &port.local(), &backend, "drain_timeout = \"300ms\"\n"));
    let mut flow = Flow::open(port.number);
    let drained = portway(&place.file(), &["drain", "one"]);
    assert_eq!(drained.code, 0, "{drained:?}");
    assert!(flow.was_reset());
    assert_eq!(asker.get("/v1/status")["routes"]["all"], 0);
    assert_eq!(asker.get("/v1/status")["traffic"]["closed"], 1);
    proxy.stop();
}

/// Nothing else keeps the process: it has no connection.
#[test]
fn what_is_asked_when_the_process_ends_is_answered_first() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let (_place, mut proxy, asker) = start(&route("one", &port.local(), &backend, ""));
    let (mut asked, body) = (asker.connect(), br#"{"route":"one"}"#);
    let head = format!("POST /v1/enable HTTP/1.1\r\n{}Content-Length: {}\r\n\r\n", asker.head, body.len());
    asked.write_all(head.as_bytes()).unwrap();
    let draining = asker.post("/v1/drain", &json!({}));
    assert_eq!(draining["open"], 0, "{draining}");
    proxy.phase("stopped");
    asked.write_all(body).unwrap();
    let mut answer = String::new();
    asked.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer:?}");
}

#[test]
fn a_drain_of_all_ends_the_process_and_is_seen_until_then() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let (place, mut proxy, asker) = start(&route("one", &port.local(), &backend, ""));
    let mut flow = Flow::open(port.number);
    assert_eq!(asker.ask("GET", "/readyz", "").body, "ready\n");
    let (send, ended) = channel();
    let file = place.file();
    std::thread::spawn(move || send.send(portway(&file, &["drain"])));
    proxy.phase("draining");
    let asker = Asker::unix(&place);
    assert_eq!(asker.ask("GET", "/readyz", "").status, 503);
    assert_eq!(asker.ask("GET", "/healthz", "").status, 200);
    let status = asker.get("/v1/status");
    assert_eq!((&status["phase"], &status["traffic"]["open"]), (&json!("draining"), &json!(1)));
    let said = portway(&place.file(), &["status"]).out;
    assert!(said.contains(", draining, started ") && !said.contains("draining for"), "{said}");
    assert_eq!(asker.ask("POST", "/v1/reload", "null").status, 503);
    assert!(is_refused(port.number));
    flow.ping().unwrap();
    drop(flow);
    proxy.phase("stopped");
    let drained = ended.recv_timeout(crate::harness::instance::PATIENCE).unwrap();
    assert_eq!((drained.code, drained.out.ends_with("drained\n")), (0, true), "{drained:?}");
}
