//! Listeners that were closed, and that cannot be opened again: another program has taken the address meanwhile.

use std::net::TcpListener;

use serde_json::{Value, json};

use super::asker::{Asker, portway, start};
use super::by_hand::fine;
use crate::harness::instance::{Backend, Place, Port, Portway, is_refused, reached, route};
use crate::harness::until;

/// A program that listens at the port.
fn takes(port: &Port) -> TcpListener {
    TcpListener::bind(("127.0.0.1", port.number)).unwrap()
}

/// What everybody is told of a route that cannot listen at this port.
fn told_of(asker: &Asker, place: &Place, port: &Port) {
    let shown = asker.route("web");
    let why = format!(
        "cannot listen on 127.0.0.1:{0}: the address is in use; another program has it: `ss -ltnp 'sport = :{0}'` names it",
        port.number
    );
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("down"), &json!(why)), "{shown}");
    assert_eq!(asker.get("/v1/status")["routes"]["down"], 1);
    let metrics = asker.ask("GET", "/metrics", "").body;
    assert!(metrics.contains("portway_route_up{route=\"web\",protocol=\"tcp\"} 0\n"), "{metrics}");
    for command in ["routes", "status"] {
        let said = fine(portway(&place.file(), &[command]));
        assert!(said.contains("DOWN") && said.contains(&why), "{command}: {said}");
    }
}

fn serves_again(asker: &Asker) {
    until("it serves", || asker.route("web")["state"] == "up");
    assert_eq!(asker.route("web")["reason"], Value::Null);
    let metrics = asker.ask("GET", "/metrics", "").body;
    assert!(metrics.contains("portway_route_up{route=\"web\",protocol=\"tcp\"} 1\n"), "{metrics}");
}

fn warned(proxy: &mut Portway, phase: &str, port: &Port) {
    let line = proxy.phase(phase);
    assert_eq!(line["level"], "WARN", "{line}");
    let fault = format!("cannot listen on 127.0.0.1:{}: the address is in use", port.number);
    assert_eq!(line["fault"], fault, "{line}");
}

#[test]
fn a_port_that_was_taken_while_it_was_refused_is_told_until_it_is_free() {
    let (port, server) = (Port::reserve(), Port::reserve());
    let text = format!(
        "[[route]]\nname = \"web\"\nlisten = \"{}\"\nupstream = \"{}\"\nwhen_down = \"refuse\"\n\
         health = {{ interval = \"100ms\", timeout = \"100ms\", rise = 1, fall = 1 }}\n",
        port.local(),
        server.local()
    );
    let up = takes(&server);
    let (place, mut proxy, asker) = start(&text);
    serves_again(&asker);
    drop(up);
    proxy.phase("no upstream is available: the listening socket is closed until one is back");
    let taken = takes(&port);
    let up = takes(&server);
    warned(&mut proxy, "cannot listen again: trying until it works", &port);
    told_of(&asker, &place, &port);
    drop(taken);
    proxy.phase("listening again");
    serves_again(&asker);
    assert!(!is_refused(port.number));
    assert_eq!(proxy.count("cannot listen again: trying until it works"), 1);
    // It ends no check's connection.
    drop(up);
    proxy.stop();
}

#[test]
fn a_route_whose_time_by_hand_is_over_says_that_its_address_was_taken() {
    let (port, other, a) = (Port::reserve(), Port::reserve(), Backend::named("a"));
    let text = route("web", &port.local(), &a, "") + &route("other", &other.local(), &a, "");
    let (place, mut proxy, asker) = start(&text);
    fine(portway(&place.file(), &["disable", "web", "--for", "1s"]));
    let taken = takes(&port);
    warned(&mut proxy, "its time by hand is over, and it cannot serve yet", &port);
    told_of(&asker, &place, &port);
    drop(taken);
    fine(portway(&place.file(), &["enable", "web"]));
    serves_again(&asker);
    assert_eq!(reached(port.number), "a");
    proxy.stop();
}
