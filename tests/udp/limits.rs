//! How many sessions there may be, and who gives way.

use std::time::Duration;

use super::peers::*;
use crate::harness::instance::*;

#[test]
fn a_full_route_displaces_who_was_never_answered_and_never_who_has_settled() {
    let (port, server) = (
        free_port(),
        Server::on("127.0.0.1:0", |datagram| {
            if datagram.starts_with(b"silent") { Vec::new() } else { vec![datagram.to_vec()] }
        }),
    );
    let place = Place::with(&one(
        port,
        &[server.addr],
        "max_sessions = 3\nidle_timeout = \"30s\"\non_change = \"cut\"",
    ));
    let mut portway = Portway::run(&place.file());
    let settled: Vec<Client> = (0..2).map(|_| Client::of(port)).collect();
    for client in &settled {
        client.ask(b"1");
        client.ask(b"2");
    }
    // One place is left, for the latest of those who get no answer.
    let silent: Vec<Client> = (0..3).map(|_| Client::of(port)).collect();
    for (at, client) in silent.iter().enumerate() {
        client.send(format!("silent {at}").as_bytes());
        portway.until("it has come", |_| server.heard().len() == 5 + at);
    }
    let evicted = records(&mut portway, 2);
    for (record, client) in evicted.iter().zip(&silent) {
        assert_eq!(record["outcome"], "evicted");
        assert_eq!(record["client"], client.0.local_addr().unwrap().to_string());
    }
    // A third one settles, and then nobody gives way.
    let third = Client::of(port);
    third.ask(b"1");
    third.ask(b"2");
    let late = Client::of(port);
    late.send(b"late");
    assert!(late.hears_nothing());
    assert_eq!(records(&mut portway, 3).len(), 3);
    for client in settled.iter().chain([&third]) {
        assert_eq!(client.ask(b"3"), b"3");
    }
    portway.until("it is said", |portway| portway.count("datagrams were dropped") == 1);
    let told = portway.seen.iter().find(|line| message(line) == "datagrams were dropped").unwrap();
    assert_eq!(told["reasons"], "full 1");
    place.save(&one(port, &[server.addr], "on_change = \"cut\""));
    portway.phase("reloaded");
    assert_eq!(late.ask(b"late"), b"late");
    place.save(&one(port, &[server.addr], "idle_timeout = \"1s\"\non_change = \"cut\""));
    portway.phase("reloaded");
    portway.stop();
}

#[test]
fn a_client_that_is_not_let_in_opens_no_session() {
    let (port, server) = (free_port(), Server::echo());
    let place = Place::with(&one(port, &[server.addr], "deny = \"127.0.0.0/30\""));
    let mut portway = Portway::run(&place.file());
    let denied = Client::of(port);
    denied.send(b"denied");
    portway.until("it is said", |portway| portway.count("datagrams were dropped") == 1);
    let told = portway.seen.iter().find(|line| message(line) == "datagrams were dropped").unwrap();
    assert_eq!(told["reasons"], "denied 1");
    assert_eq!(server.heard(), []);
    // An edit lets it in.
    place.save(&one(port, &[server.addr], "idle_timeout = \"1s\"\nallow = \"127.0.0.1\""));
    portway.phase("reloaded");
    assert_eq!(denied.ask(b"let in"), b"let in");
    portway.stop();
}

/// By the descriptors: a limit of the process is a limit of its sessions.
#[test]
fn the_descriptors_bound_all_sessions_together() {
    let (port, server) = (free_port(), Server::echo());
    let place = Place::with(&one(port, &[server.addr], "idle_timeout = \"2s\""));
    let script = format!("ulimit -n 256; exec {PORTWAY} run --config {}", place.file().display());
    let mut portway = Portway::start(std::process::Command::new("sh").args(["-c", &script]));
    let sockets = portway.sockets().len();
    let clients: Vec<Client> = (0..100).map(|_| Client::of(port)).collect();
    // Each settles, and so none of them gives way to the next.
    let settles = |client: &&Client| {
        client.0.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        (0..2).all(|_| client.0.send(b"x").is_ok() && client.0.recv(&mut [0; 8]).is_ok())
    };
    let served = clients.iter().take_while(settles).count();
    assert!((20..64).contains(&served), "{served} sessions with 256 descriptors");
    assert_eq!(portway.sockets().len(), served + sockets);
    portway.until("it is said", |portway| portway.count("datagrams were dropped") == 1);
    let told = portway.seen.iter().find(|line| message(line) == "datagrams were dropped").unwrap();
    assert_eq!(told["reasons"], "full 1");
    drop(clients);
    portway.stop();
}
