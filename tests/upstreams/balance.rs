//! Who has the next connection.

use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use super::server::*;
use crate::harness::instance::*;

fn three() -> [Server; 3] {
    ["a", "b", "c"].map(Server::new)
}

fn entries(servers: &[Server]) -> Vec<String> {
    servers.iter().map(|server| entry(server, "")).collect()
}

#[test]
fn by_default_each_has_its_turn() {
    let (port, servers) = (Port::reserve(), three());
    let place = Place::with(&leads(&port, &entries(&servers), ""));
    let portway = Portway::run(&place.file());
    assert_eq!(reach(&port, 9).concat(), "abcabcabc");
    portway.stop();
}

#[test]
fn turns_go_by_weight_and_an_edit_changes_it_at_once() {
    let (port, servers) = (Port::reserve(), three());
    let text = |weights: [u32; 3]| {
        let weighted = servers.iter().zip(weights);
        let entries: Vec<_> =
            weighted.map(|(server, weight)| entry(server, &format!("weight = {weight}"))).collect();
        leads(&port, &entries, "")
    };
    let place = Place::with(&text([5, 1, 1]));
    let mut portway = Portway::run(&place.file());
    assert_eq!(reach(&port, 7).concat(), "aabacaa");
    place.save(&text([1, 1, 2]));
    portway.phase("reloaded");
    let names = reach(&port, 8);
    assert_eq!(["a", "b", "c"].map(|name| count(&names, name)), [2, 2, 4]);
    portway.stop();
}

#[test]
fn first_leads_to_the_first() {
    let (port, servers) = (Port::reserve(), three());
    let place = Place::with(&leads(&port, &entries(&servers), "balance = \"first\""));
    let portway = Portway::run(&place.file());
    assert_eq!(reach(&port, 4).concat(), "aaaa");
    portway.stop();
}

#[test]
fn open_connections_are_levelled_and_their_number_outlives_edits() {
    let (port, servers) = (Port::reserve(), three());
    let text = |how: &str| leads(&port, &entries(&servers), &format!("balance = \"{how}\""));
    let place = Place::with(&text("first"));
    let mut portway = Portway::run(&place.file());
    let mut held: Vec<Flow> = (0..4).map(|_| Flow::open(port.number)).collect();
    place.save(&text("least-connections"));
    portway.phase("reloaded");
    // What `a` has of the old text counts: the next eight go to the two others.
    held.extend((0..8).map(|_| Flow::open(port.number)));
    let names: Vec<String> = held.iter().map(|flow| flow.reached.clone()).collect();
    assert_eq!(["a", "b", "c"].map(|name| count(&names, name)), [4, 4, 4]);
    drop(held);
    servers.iter().for_each(Server::end_connections);
    portway.stop();
}

#[test]
fn a_server_has_no_more_connections_than_it_takes() {
    let (port, servers) = (Port::reserve(), three());
    let upstreams = [entry(&servers[0], "max_connections = 2"), entry(&servers[1], "max_connections = 1")];
    let place = Place::with(&leads(&port, &upstreams, "balance = \"first\""));
    let mut portway = Portway::run(&place.file());
    let held: Vec<Flow> = (0..3).map(|_| Flow::open(port.number)).collect();
    assert_eq!(held.iter().map(|flow| flow.reached.as_str()).collect::<String>(), "aab");
    assert!(Flow::try_open(port.number).is_err());
    portway.until("the refusal is in the access log", |portway| {
        portway.seen.iter().any(|line| line["outcome"] == "limited")
    });
    // T18: the last that was passed over is named.
    let refused = portway.seen.iter().find(|line| line["outcome"] == "limited").unwrap();
    let detail = format!("{}: has all the connections that it takes", servers[1].addr());
    assert_eq!((&refused["detail"], &refused["blame"]), (&detail.into(), &"operator".into()));
    drop(held);
    servers.iter().for_each(Server::end_connections);
    portway.until("all three have ended", |portway| {
        portway.seen.iter().filter(|line| line["outcome"].is_string()).count() == 4
    });
    assert_eq!(reach(&port, 1).concat(), "a");
    portway.stop();
}

/// A client from another address of the loopback network.
fn from(host: u8, port: &Port) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, host], 0)).into()).unwrap();
    socket.connect(&port.local().parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.into()
}

#[test]
fn a_source_has_the_same_upstream_in_every_process_and_order() {
    let (port, other, servers) = (Port::reserve(), Port::reserve(), three());
    let hashed = |port: &Port, entries: &[String]| leads(port, entries, "balance = \"source-hash\"");
    let mut reversed = entries(&servers);
    let place = Place::with(&hashed(&port, &reversed));
    reversed.reverse();
    let twin = Place::with(&hashed(&other, &reversed));
    let (one, two) = (Portway::run(&place.file()), Portway::run(&twin.file()));
    let mut names = Vec::new();
    for host in 1..=30 {
        let [name, again, there] =
            [&port, &port, &other].map(|port| Flow::greeted(from(host, port)).unwrap().reached);
        assert_eq!([&again, &there], [&name, &name], "127.0.0.{host}");
        names.push(name);
    }
    assert!(["a", "b", "c"].iter().all(|name| count(&names, name) >= 2), "{names:?}");
    servers.iter().for_each(Server::end_connections);
    one.stop();
    two.stop();
}
