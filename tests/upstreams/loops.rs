//! R9: an upstream that leads back to its own listener is found by its address, and gets no client.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use super::server::*;
use crate::harness::instance::*;
use crate::harness::netns::Netns;

const FOUND: &str = "an upstream leads back to this listener";
const OVER: &str = "an upstream no longer leads back";
const HEAD: &str = "[log]\nformat = \"json\"\naccess = \"stderr\"\n[admin]\nlisten = \"127.0.0.1:9180\"\n";

/// A route; `more` is further lines.
fn route(name: &str, listen: &str, upstream: &str, more: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\nlisten = \"{listen}\"\nupstream = {upstream}\n{more}\n")
}

fn run(netns: &Netns, routes: &[String]) -> (Portway, Place) {
    let place = Place::with(&format!("{HEAD}{}", routes.concat()));
    let portway = Portway::start(netns.command(PORTWAY).arg("run").arg("--config").arg(place.file()));
    (portway, place)
}

/// A client of this port is reset, and the access log says why.
fn is_told_of_the_loop(netns: &Netns, portway: &mut Portway, route: &str, port: u16) {
    let before = loops_of(portway, route);
    let heard = netns.enter(|| {
        let mut client = TcpStream::connect(("127.0.0.1", port))?;
        client.set_read_timeout(Some(PATIENCE))?;
        client.read(&mut [0; 16])
    });
    assert!(heard.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset), "{heard:?}");
    portway.until("it is in the access log", |portway| loops_of(portway, route) > before);
    let record = records(portway).pop().unwrap();
    assert_eq!((&record["outcome"], &record["blame"]), (&"loop".into(), &"operator".into()), "{record}");
    assert!(record["detail"].as_str().unwrap().contains("leads back to this listener"), "{record}");
}

fn records(portway: &mut Portway) -> Vec<Value> {
    portway.catch_up();
    portway.seen.iter().filter(|line| line["outcome"].is_string()).cloned().collect()
}

fn loops_of(portway: &mut Portway, route: &str) -> usize {
    let records = records(portway);
    records.iter().filter(|record| record["outcome"] == "loop" && record["route"] == route).count()
}

/// What the admin endpoint says of a route's first upstream: its state, and the reason.
fn state_of(netns: &Netns, route: &str) -> (String, String) {
    let text = netns.enter(|| {
        let mut stream = TcpStream::connect("127.0.0.1:9180").unwrap();
        stream.write_all(b"GET /v1/upstreams HTTP/1.0\r\nHost: 127.0.0.1:9180\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    let body: Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
    let upstreams = body["upstreams"].as_array().unwrap();
    let upstream = upstreams.iter().find(|upstream| upstream["route"] == route).unwrap();
    let text = |key: &str| upstream[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("reason"))
}

fn reached(netns: &Netns, port: u16) -> std::io::Result<String> {
    netns.enter(|| Flow::try_open(port).map(|flow| flow.reached))
}

#[test]
fn r9_a_name_that_resolves_to_the_own_listener_gets_no_client_until_it_resolves_elsewhere() {
    if lacks_root() {
        return;
    }
    let netns = Netns::new();
    netns.hosts("127.0.0.1 app.test\n");
    let server = netns.enter(|| Server::at("server", "127.0.0.11:8080"));
    let routes = [
        route("app", "127.0.0.1:8080", "\"app.test:8080\"", "health = { interval = \"100ms\" }"),
        route("fine", "127.0.0.1:8081", "\"127.0.0.11:8080\"", ""),
    ];
    let (mut portway, _place) = run(&netns, &routes);
    for _ in 0..3 {
        is_told_of_the_loop(&netns, &mut portway, "app", 8080);
    }
    // Once each: nothing goes round, not even a check.
    pass(std::time::Duration::from_millis(500));
    assert_eq!((records(&mut portway).len(), portway.count(FOUND)), (3, 1), "{}", portway.log());
    let (state, reason) = state_of(&netns, "app");
    assert_eq!((&*state, &*reason), ("down", "127.0.0.1:8080: leads back to this listener"));
    assert_eq!(reached(&netns, 8081).unwrap(), "server");
    netns.hosts("127.0.0.11 app.test\n");
    portway.phase(OVER);
    assert_eq!(reached(&netns, 8080).unwrap(), "server");
    assert_eq!(state_of(&netns, "app").0, "up");
    server.end_connections();
    portway.stop();
}

#[test]
fn r9_a_circle_through_two_routes_is_found_and_a_chain_is_none() {
    if lacks_root() {
        return;
    }
    let netns = Netns::new();
    netns.hosts("127.0.0.1 here.test\n");
    let server = netns.enter(|| Server::at("server", "127.0.0.11:3000"));
    let routes = [
        route("a", "127.0.0.1:8080", "\"here.test:8081\"", ""),
        route("b", "8081", "\"here.test:8080\"", ""),
        // One after the other, to a server.
        route("first", "127.0.0.1:8082", "\"here.test:8083\"", ""),
        route("second", "8083", "\"127.0.0.11:3000\"", ""),
        // It has a way out.
        route("out", "8084", "[\"here.test:8084\", \"127.0.0.11:3000\"]", "balance = \"first\""),
    ];
    let (mut portway, _place) = run(&netns, &routes);
    is_told_of_the_loop(&netns, &mut portway, "a", 8080);
    is_told_of_the_loop(&netns, &mut portway, "b", 8081);
    assert_eq!((state_of(&netns, "a").0, state_of(&netns, "first").0), ("down".into(), "up".into()));
    assert_eq!(
        (reached(&netns, 8082).unwrap(), reached(&netns, 8084).unwrap()),
        ("server".into(), "server".into())
    );
    server.end_connections();
    portway.stop();
}

#[test]
fn r9_an_address_of_another_interface_leads_back_while_this_host_has_it() {
    if lacks_root() {
        return;
    }
    let (netns, _far) = Netns::pair();
    // A secondary address, from which no connection of this host comes.
    let has_it = || netns.ip("addr add 10.99.0.9/24 dev wire");
    has_it();
    let routes = [route("app", "8080", "\"10.99.0.9:8080\"", "connect_timeout = \"300ms\"")];
    let (mut portway, _place) = run(&netns, &routes);
    is_told_of_the_loop(&netns, &mut portway, "app", 8080);
    for _ in 0..2 {
        netns.ip("addr del 10.99.0.9/24 dev wire");
        portway.until("it is another host's", |_| state_of(&netns, "app").0 == "up");
        has_it();
        // No client has come meanwhile.
        portway.until("it is this host's again", |_| state_of(&netns, "app").1.contains("leads back"));
    }
    is_told_of_the_loop(&netns, &mut portway, "app", 8080);
    assert_eq!((portway.count(FOUND), portway.count(OVER)), (3, 2), "{}", portway.log());
    portway.stop();
}

#[test]
fn r9_a_datagram_does_not_go_round() {
    if lacks_root() {
        return;
    }
    let netns = Netns::new();
    netns.hosts("127.0.0.1 here.test\n");
    let udp = "protocol = \"udp\"\nidle_timeout = \"1s\"";
    let routes = [
        route("itself", "127.0.0.1:5353", "\"here.test:5353\"", udp),
        route("a", "127.0.0.1:5354", "\"here.test:5355\"", udp),
        route("b", "127.0.0.1:5355", "\"here.test:5354\"", udp),
        // Of another protocol: no circle.
        route("tcp", "127.0.0.1:5356", "\"here.test:5353\"", ""),
    ];
    let (mut portway, _place) = run(&netns, &routes);
    for (name, port) in [("itself", 5353), ("a", 5354), ("b", 5355)] {
        let socket = netns.enter(|| UdpSocket::bind("127.0.0.1:0").unwrap());
        socket.send_to(b"round and round", ("127.0.0.1", port)).unwrap();
        portway.until("it is in the access log", |portway| loops_of(portway, name) == 1);
    }
    pass(std::time::Duration::from_millis(300));
    let sent: u64 = records(&mut portway).iter().filter_map(|record| record["up_datagrams"].as_u64()).sum();
    assert_eq!((records(&mut portway).len(), sent), (3, 0), "{}", portway.log());
    assert_eq!(state_of(&netns, "tcp").0, "up");
    portway.stop();
}

#[test]
fn r9_a_unix_socket_that_leads_to_itself_through_a_link_is_found() {
    let place = Place::with("");
    let own = place.root().join("app.sock");
    std::os::unix::fs::symlink(place.root(), place.root().join("link")).unwrap();
    let linked = place.root().join("link/app.sock");
    let text =
        route("app", &format!("unix:{}", own.display()), &format!("\"unix:{}\"", linked.display()), "");
    place.save(&format!("[log]\nformat = \"json\"\naccess = \"stderr\"\n{text}"));
    let mut portway = Portway::run(&place.file());
    let mut client = UnixStream::connect(&own).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_or_default(), 0);
    portway.until("it is in the access log", |portway| loops_of(portway, "app") == 1);
    assert_eq!((records(&mut portway).len(), portway.count(FOUND)), (1, 1), "{}", portway.log());
    drop(client);
    portway.stop();
}
