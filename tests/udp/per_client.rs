//! Limits per client hold for sessions.

use super::peers::*;
use crate::harness::instance::*;

/// The counts of drops in the log.
fn dropped(portway: &mut Portway) -> String {
    let said = |portway: &mut Portway| portway.count("datagrams were dropped") > 0;
    portway.until("it is said", said);
    let told = portway.seen.iter().find(|line| message(line) == "datagrams were dropped").unwrap();
    told["reasons"].as_str().unwrap().to_owned()
}

#[test]
fn max_connections_per_client_bounds_the_sessions_of_each_client() {
    let (port, server) = (free_port(), Server::echo());
    let more = "max_connections_per_client = 3\nidle_timeout = \"500ms\"";
    let place =
        Place::with(&format!("{LOGGED}{}", udp_route("udp", &port.to_string(), &[server.addr], more)));
    let mut portway = Portway::run(&place.file());
    let clients: Vec<Client> = (0..4).map(|_| Client::of(port)).collect();
    for client in &clients[..3] {
        assert_eq!(client.ask(b"in"), b"in");
    }
    clients[3].send(b"out");
    assert!(clients[3].hears_nothing());
    // Another client has a number of its own.
    assert_eq!(Client::at(&format!("[::1]:{port}")).ask(b"other"), b"other");
    assert_eq!(dropped(&mut portway), "limited 1");
    assert_eq!(portway.count("limited a client"), 1);
    assert!(server.sources_of(b"out").is_empty());
    // A session that ends gives its place back.
    records(&mut portway, 4);
    assert_eq!(clients[3].ask(b"in"), b"in");
    records(&mut portway, 5);
    portway.stop();
}

#[test]
fn rate_per_client_bounds_how_fast_its_sessions_come() {
    let (port, server) = (free_port(), Server::echo());
    let more = "rate_per_client = \"1/h burst 3\"\nidle_timeout = \"500ms\"";
    let place =
        Place::with(&format!("{LOGGED}{}", udp_route("udp", &port.to_string(), &[server.addr], more)));
    let mut portway = Portway::run(&place.file());
    let clients: Vec<Client> = (0..4).map(|_| Client::of(port)).collect();
    for client in &clients[..3] {
        assert_eq!(client.ask(b"in"), b"in");
        // The rate is of sessions, not of datagrams.
        assert_eq!(client.ask(b"again"), b"again");
    }
    clients[3].send(b"out");
    assert!(clients[3].hears_nothing());
    assert_eq!(Client::at(&format!("[::1]:{port}")).ask(b"other"), b"other");
    assert_eq!(dropped(&mut portway), "limited 1");
    assert_eq!(portway.count("limited a client"), 1);
    records(&mut portway, 4);
    portway.stop();
}
