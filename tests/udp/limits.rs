//! How many sessions there may be, and who gives way.

use super::peers::*;
use crate::harness::instance::*;

#[test]
fn a_full_route_displaces_who_has_not_shown_that_it_hears_us_and_then_the_longest_silent() {
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
    let proven: Vec<Client> = (0..2).map(|_| Client::of(port)).collect();
    prove(&proven);
    // One place is left, for the latest of those who have shown nothing.
    let heard = server.heard().len();
    let silent: Vec<Client> = (0..3).map(|_| Client::of(port)).collect();
    for (at, client) in silent.iter().enumerate() {
        client.send(format!("silent {at}").as_bytes());
        portway.until("it has come", |_| server.heard().len() == heard + 1 + at);
    }
    let gave_way = |portway: &mut Portway, clients: &[&Client]| {
        let records = records(portway, clients.len());
        assert_eq!(records.len(), clients.len());
        for (record, client) in records.iter().zip(clients) {
            assert_eq!(record["outcome"], "evicted");
            assert_eq!(record["client"], client.0.local_addr().unwrap().to_string());
        }
    };
    gave_way(&mut portway, &[&silent[0], &silent[1]]);
    portway.until("it is said", |portway| portway.count("the route has `max_sessions` sessions") == 1);
    // Once a third one is proven, the longest silent of the three gives way.
    let third = Client::of(port);
    prove(std::slice::from_ref(&third));
    let late = Client::of(port);
    assert_eq!(late.ask(b"late"), b"late");
    gave_way(&mut portway, &[&silent[0], &silent[1], &silent[2], &proven[0]]);
    for client in [&proven[1], &third] {
        assert_eq!(client.ask(b"3"), b"3");
    }
    assert_eq!(portway.count("datagrams were dropped"), 0);
    place.save(&one(port, &[server.addr], "idle_timeout = \"1s\"\non_change = \"cut\""));
    portway.phase("reloaded");
    portway.stop();
}

/// The strangers write to one listener of the route, the newcomers to the other.
#[test]
fn s2_max_sessions_is_one_count_for_all_listeners_of_a_route() {
    let (ports, server) = ([free_port(), free_port()], Server::echo());
    let text = |more: &str| {
        let listen = ports.map(|port| format!("\"127.0.0.1:{port}\"")).join(", ");
        one(ports[0], &[server.addr], &format!("on_change = \"cut\"\nmax_sessions = {more}"))
            .replace(&format!("\"127.0.0.1:{}\"", ports[0]), &format!("[{listen}]"))
    };
    let place = Place::with(&text("20"));
    let mut portway = Portway::run(&place.file());
    let sockets = portway.sockets().len();
    let strangers: Vec<Client> = (0..40).map(|_| Client::of(ports[0])).collect();
    strangers.iter().for_each(|client| assert_eq!(client.ask(b"stranger"), b"stranger"));
    let newcomers: Vec<Client> = (0..15).map(|_| Client::of(ports[1])).collect();
    for _ in 0..2 {
        newcomers.iter().for_each(|client| assert_eq!(client.ask(b"new"), b"new"));
    }
    assert_eq!(server.sources_of(b"new").len(), 15, "they took places from each other");
    portway.until("the others have ended", |portway| portway.sockets().len() == sockets + 20);
    assert_eq!(records(&mut portway, 35).len(), 35);
    place.save(&text("21"));
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
    for client in &clients {
        assert_eq!(client.ask(b"x"), b"x");
    }
    let sessions = portway.sockets().len() - sockets;
    assert!((16..64).contains(&sessions), "{sessions} sessions with 256 descriptors");
    portway.until("it is said", |portway| portway.count("every place for UDP sessions is taken") == 1);
    assert_eq!(portway.count("datagrams were dropped"), 0);
    drop(clients);
    portway.stop();
}
