//! Whatever begins a connection to an upstream begins it as a client's: PROXY header, TLS; and ends it as one that is
//! done. (R2)

use std::net::TcpStream;
use std::process::Command;

use serde_json::Value;

use super::gate::{Demands, Gate};
use crate::clients::pki::Authority;
use crate::harness::instance::*;

/// A file whose routes lead to gates, and the authority of theirs beside it.
fn place(authority: &Authority, text: &str) -> Place {
    let place = Place::with(text);
    std::fs::write(place.folder().join("ca.pem"), authority.pem()).unwrap();
    place
}

fn route(port: &Port, gate: &Gate, more: &str) -> String {
    let (listen, upstream, keys) = (port.local(), gate.addr(), gate.keys());
    format!(
        "[[route]]\nname = \"{listen}\"\nlisten = \"{listen}\"\nupstream = \"{upstream}\"\n{keys}{more}\n"
    )
}

/// What it has seen is what clients would do.
#[track_caller]
fn is_polite(gate: &Gate) {
    let seen = gate.seen();
    assert!(seen.faults.is_empty(), "{:?}, tls {}: {seen:?}", gate.demands, gate.tls);
}

#[test]
fn r2_checks_begin_with_the_header_and_tls_and_end_politely() {
    let authority = Authority::new();
    let pair = authority.pair("gate.test");
    let times = "interval = \"3s\", timeout = \"3s\"";
    for more in [
        "",
        ", send = \"PING\\r\\n\", expect = \"PONG\"",
        ", steps = [{ expect = \"gate\" }, { send = \"?\" }]",
    ] {
        let gates = Gate::each(&pair);
        let ports: Vec<Port> = gates.iter().map(|_| Port::reserve()).collect();
        let health = format!("health = {{ {times}{more} }}");
        let routes: String =
            gates.iter().zip(&ports).map(|(gate, port)| route(port, gate, &health)).collect();
        let place = place(&authority, &format!("{HEAD}{routes}"));
        let mut portway = Portway::run(&place.file());
        portway.until("each is checked twice", |_| gates.iter().all(|gate| gate.seen().clean >= 2));
        assert_eq!(portway.count("upstream is down"), 0, "{}", portway.log());
        for gate in &gates {
            is_polite(gate);
            let seen = gate.seen();
            let (told, untold) = if gate.demands == Demands::Nothing { (0, 2) } else { (2, 0) };
            assert!(seen.own >= told && seen.clients >= untold, "{:?}: {seen:?}", gate.demands);
            assert!(told == 0 || seen.clients == 0, "a check names a client: {seen:?}");
        }
        portway.stop();
    }
}

#[test]
fn r2_a_closed_port_is_opened_by_trials_that_begin_with_the_header_and_tls() {
    let authority = Authority::new();
    let pair = authority.pair("gate.test");
    let mut gates = Gate::each(&pair);
    let ports: Vec<Port> = gates.iter().map(|_| Port::reserve()).collect();
    let refuse = "when_down = \"refuse\"";
    let routes: String = gates.iter().zip(&ports).map(|(gate, port)| route(port, gate, refuse)).collect();
    let place = place(&authority, &format!("{HEAD}{routes}"));
    let mut portway = Portway::run(&place.file());
    gates.iter_mut().for_each(Gate::close);
    portway.until("all ports are closed", |_| {
        ports.iter().all(|port| {
            drop(Flow::try_open(port.number));
            is_refused(port.number)
        })
    });
    gates.iter_mut().for_each(Gate::open);
    portway.until("all ports are open", |portway| portway.count("listening again") == gates.len());
    for (gate, port) in gates.iter().zip(&ports) {
        assert_eq!(reached(port.number), "gate");
        portway.until("the client's is over", |_| gate.seen().clients > 0 && gate.seen().clean >= 2);
        is_polite(gate);
        assert!(gate.demands == Demands::Nothing || gate.seen().own == 1, "{:?}", gate.seen());
    }
    portway.stop();
}

#[test]
fn r2_a_held_client_reaches_an_upstream_that_comes_back_as_itself() {
    let authority = Authority::new();
    let pair = authority.pair("gate.test");
    let mut gates = Gate::each(&pair);
    let ports: Vec<Port> = gates.iter().map(|_| Port::reserve()).collect();
    let hold = "when_down = \"hold 1m\"";
    let routes: String = gates.iter().zip(&ports).map(|(gate, port)| route(port, gate, hold)).collect();
    let place = place(&authority, &format!("{HEAD}{routes}"));
    let mut portway = Portway::run(&place.file());
    gates.iter_mut().for_each(Gate::close);
    let held: Vec<TcpStream> = ports.iter().map(|port| TcpStream::connect(port.local()).unwrap()).collect();
    portway.until("all are down", |portway| portway.count("upstream is down") == gates.len());
    gates.iter_mut().for_each(Gate::open);
    for (gate, client) in gates.iter().zip(held) {
        let mut flow = Flow::greeted(client).unwrap();
        flow.ping().unwrap();
        assert_eq!(flow.reached, "gate");
        drop(flow);
        portway.until("it is over", |_| gate.seen().clean == 1);
        is_polite(gate);
        assert_eq!((gate.seen().own, gate.seen().clients), (0, 1));
    }
    portway.stop();
}

#[test]
fn r2_a_plan_tries_upstreams_with_the_header_and_tls() {
    let authority = Authority::new();
    let pair = authority.pair("gate.test");
    let mut gates = Gate::each(&pair);
    // One whose certificate is not the one that the route wants.
    gates.push(Gate::new(Demands::V2, Some(&Authority::new().pair("gate.test"))));
    let ports: Vec<Port> = gates.iter().map(|_| Port::reserve()).collect();
    let running = |place: &Place| {
        let listen = ports[0].local();
        let admin = place.root().join("admin.sock");
        format!(
            "{HEAD}[admin]\nlisten = \"unix:{}\"\n[[route]]\nlisten = \"{listen}\"\nupstream = \"127.0.0.1:1\"\n",
            admin.display()
        )
    };
    let place = place(&authority, "");
    place.save(&running(&place));
    let portway = Portway::run(&place.file());
    let routes: String = gates.iter().zip(&ports).map(|(gate, port)| route(port, gate, "")).collect();
    let file = place.folder().join("after.toml");
    let head = running(&place);
    let (head, _) = head.split_once("[[route]]").unwrap();
    std::fs::write(&file, format!("{head}{routes}")).unwrap();
    let mut plan = Command::new(PORTWAY);
    let admin = format!("unix:{}", place.root().join("admin.sock").display());
    plan.args(["plan", "--json", "--admin", &admin]).arg(&file);
    let printed = plan.output().unwrap();
    let plan: Value = serde_json::from_slice(&printed.stdout).unwrap_or_else(|_| panic!("{printed:?}"));
    let tried = plan["upstreams"].as_array().unwrap();
    assert_eq!(tried.len(), gates.len(), "{plan:#}");
    let (stranger, known) = gates.split_last().unwrap();
    for gate in known {
        let one = tried.iter().find(|one| one["upstream"] == gate.addr().as_str()).unwrap();
        assert_eq!((&one["result"], &one["error"]), (&"connects".into(), &Value::Null), "{one}");
        crate::harness::until("it is over", || gate.seen().clean == 1);
        is_polite(gate);
        let own = usize::from(gate.demands != Demands::Nothing);
        assert_eq!((gate.seen().own, gate.seen().clients), (own, 1 - own));
    }
    let one = tried.iter().find(|one| one["upstream"] == stranger.addr().as_str()).unwrap();
    assert_eq!(one["result"], "refuses");
    assert!(one["error"].as_str().unwrap().contains("TLS: its certificate comes from"), "{one}");
    portway.stop();
}
