//! The process stays: another one stands in while it becomes the new program.

use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::json;

use crate::admin::asker::{Asker, head, portway as command, start};
use crate::harness::instance::{Backend, Flow, Port, Portway, is_refused, reached, route};
use crate::harness::successor::children;
use crate::harness::{Peer, until};

/// Waits until the process serves again, alone.
fn is_back(portway: &Portway, asker: &Asker) {
    until("the process serves again", || {
        let answer = asker.try_ask("GET", "/v1/status");
        answer.is_some_and(|answer| answer.status == 200 && answer.json()["pid"] == portway.pid())
    });
    until("nobody stands in any more", || children(portway.pid()).is_empty());
}

#[test]
fn u30_the_process_stays_and_so_does_what_is_open() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let (place, portway, asker) = start(&route("one", &port.local(), &backend, ""));
    let mut flow = Flow::open(port.number);
    let id = asker.connections("")[0]["id"].clone();
    let before = portway.pid();
    for round in 0..3 {
        let done = command(&place.file(), &["upgrade", "--in-place"]);
        assert_eq!(done.code, 0, "{done:?}");
        assert!(done.out.contains("1 connection and 0 UDP sessions moved"), "{done:?}");
        assert!(
            done.out.ends_with("the old process becomes the new version, and takes over again\n"),
            "{done:?}"
        );
        is_back(&portway, &asker);
        assert_eq!(portway.pid(), before);
        flow.ping().unwrap();
        assert_eq!(reached(port.number), "b", "{round}");
        assert_eq!(asker.connections("")[0]["id"], id);
    }
    let arguments = std::fs::read_to_string(format!("/proc/{before}/cmdline")).unwrap();
    assert!(arguments.contains("--take-over"), "{arguments}");
    drop(flow);
    portway.stop();
}

#[test]
fn u31_a_stop_while_another_stands_in_ends_both() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let (_place, portway, asker) = start(&route("one", &port.local(), &backend, "relay = \"copy\"\n"));
    // A copy that is held back keeps the old process from becoming the new one.
    let mut stuck = Peer::client(TcpStream::connect(("127.0.0.1", port.number)).unwrap().into());
    stuck.push_until_blocked(64 << 20);
    let answer = asker.post("/v1/upgrade", &json!({ "in_place": true }));
    assert_eq!((&answer["in_place"], &answer["draining"]), (&true.into(), &1.into()), "{answer}");
    let stand_in = u32::try_from(answer["pid"].as_u64().unwrap()).unwrap();
    assert_eq!(children(portway.pid()), [stand_in]);
    assert_eq!(reached(port.number), "b");
    portway.signal(Signal::TERM);
    until("nobody listens", || is_refused(port.number));
    drop(stuck);
    portway.stopped();
}

#[test]
fn u32_a_fault_of_the_file_meanwhile_only_delays_the_return() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let text = route("one", &port.local(), &backend, "relay = \"copy\"\n");
    let (place, mut portway, asker) = start(&text);
    let mut stuck = Peer::client(TcpStream::connect(("127.0.0.1", port.number)).unwrap().into());
    stuck.push_until_blocked(64 << 20);
    let mut flow = Flow::open(port.number);
    asker.post("/v1/upgrade", &json!({ "in_place": true }));
    place.save("nonsense");
    portway.phase("edit refused");
    drop(stuck);
    portway.phase("becoming the new version");
    portway.phase("the file has faults: another process serves until it is mended");
    flow.ping().unwrap();
    assert_eq!(reached(port.number), "b");
    assert_ne!(asker.get("/v1/status")["pid"], portway.pid());
    place.save(&(head(&place) + &text));
    is_back(&portway, &asker);
    flow.ping().unwrap();
    assert_eq!(reached(port.number), "b");
    drop(flow);
    portway.stop();
}
