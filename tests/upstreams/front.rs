//! What clients see while no upstream is available.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::server::*;
use crate::harness::instance::*;
use crate::harness::raise_descriptor_limit;

const CLOSED: &str = "no upstream is available: the listening socket is closed";
const OPEN: &str = "listening again";
const TOO_MANY: &str = "too many clients wait for an upstream";
const FREE: &str = "there are free places again for clients that wait";

#[test]
fn clients_that_are_held_are_served_when_an_upstream_comes_back() {
    let (port, mut server) = (Port::reserve(), Server::new("a"));
    let place = Place::with(&leads(&port, &[entry(&server, "")], "when_down = \"hold 1m\""));
    let mut portway = Portway::run(&place.file());
    server.die();
    let waiting: Vec<TcpStream> =
        (0..50).map(|_| TcpStream::connect(("127.0.0.1", port.number)).unwrap()).collect();
    portway.phase("upstream is down");
    // One that leaves does not wait on.
    let mut left = waiting;
    let leaving = left.split_off(40);
    leaving.iter().for_each(|client| drop(socket2::SockRef::from(client).set_linger(Some(Duration::ZERO))));
    drop(leaving);
    portway.until("ten have left", |portway| {
        portway.catch_up();
        portway.seen.iter().filter(|line| line["outcome"] == "client-reset").count() == 10
    });
    server.start();
    let begun = Instant::now();
    for client in left {
        assert_eq!(Flow::greeted(client).unwrap().reached, "a");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    server.end_connections();
    portway.stop();
}

#[test]
fn a_held_client_is_reset_when_its_time_is_over() {
    let (port, mut server) = (Port::reserve(), Server::new("a"));
    server.die();
    let place = Place::with(&leads(&port, &[entry(&server, "")], "when_down = \"hold 600ms\""));
    let mut portway = Portway::run(&place.file());
    let begun = Instant::now();
    assert!(Flow::try_open(port.number).is_err());
    assert!(begun.elapsed() >= Duration::from_millis(590), "{:?}", begun.elapsed());
    portway.until("it is in the access log", |portway| {
        portway.seen.iter().any(|line| line["outcome"] == "connect-failed")
    });
    // Nobody had to give way to it.
    assert_eq!((portway.count(TOO_MANY), portway.count(FREE)), (0, 0));
    portway.stop();
}

#[test]
fn no_more_clients_are_held_than_there_are_places() {
    const PLACES: usize = 1024;
    raise_descriptor_limit();
    let (port, mut server) = (Port::reserve(), Server::new("a"));
    server.die();
    let place = Place::with(&leads(&port, &[entry(&server, "")], "when_down = \"hold 1m\""));
    let mut portway = Portway::run(&place.file());
    let clients: Vec<TcpStream> =
        (0..PLACES + 30).map(|_| TcpStream::connect(("127.0.0.1", port.number)).unwrap()).collect();
    // Those that have waited longest give way.
    portway.until("thirty are sent away", |portway| {
        portway.catch_up();
        portway.seen.iter().filter(|line| line["outcome"] == "evicted").count() == 30
    });
    let told = portway.seen.iter().filter_map(|line| line["detail"].as_str());
    assert_eq!(told.filter(|why| why.contains("has given its place to another")).count(), 30);
    assert_eq!((portway.count(TOO_MANY), portway.count(FREE)), (1, 0));
    server.start();
    let served = clients.into_iter().filter_map(|client| Flow::greeted(client).ok()).count();
    assert_eq!(served, PLACES);
    // Whoever waits some seconds later needs nobody's place: it is said once. Each leaves by a reset, and keeps none.
    server.die();
    let mut held = None;
    portway.until("there are free places again", |portway| {
        held = Some(TcpStream::connect(("127.0.0.1", port.number)).unwrap());
        held.iter()
            .for_each(|client| socket2::SockRef::from(client).set_linger(Some(Duration::ZERO)).unwrap());
        portway.count(FREE) > 0
    });
    assert_eq!((portway.count(TOO_MANY), portway.count(FREE)), (1, 1));
    drop(held);
    portway.stop();
}

#[test]
fn s10_clients_that_are_gone_keep_no_place_from_others_and_are_not_all_led_to_the_upstream() {
    raise_descriptor_limit();
    let (port, mut server) = (Port::reserve(), Server::new("a"));
    server.die();
    let place = Place::with(&leads(&port, &[entry(&server, "")], "when_down = \"hold 1m\""));
    let mut portway = Portway::run(&place.file());
    let from = |address: &str| crate::harness::sender::from(address, ([127, 0, 0, 1], port.number).into());
    // One that asks, ends and waits for its answer is not gone.
    let mut honest: Vec<TcpStream> = (0..3).map(|n| from(&format!("127.0.6.{}", 10 + n)).unwrap()).collect();
    honest[0].write_all(b"?").unwrap();
    honest[0].shutdown(std::net::Shutdown::Write).unwrap();
    for _ in 0..1100 {
        drop(from("127.0.6.1").unwrap());
    }
    portway.phase(TOO_MANY);
    honest.extend((0..3).map(|n| from(&format!("127.0.6.{}", 20 + n)).unwrap()));
    let sockets = |portway: &Portway| portway.descriptors().get("socket").copied().unwrap_or_default();
    portway.until("most are sent away", |portway| sockets(portway) < 128 + 20);
    // The access log cannot be filled by them.
    assert_eq!(portway.count("many clients give way to others"), 1);
    server.start();
    for client in honest {
        assert_eq!(Flow::greeted(client).unwrap().reached, "a");
    }
    portway.until("the rest has ended", |portway| sockets(portway) < 10);
    portway.catch_up();
    let led = portway.seen.iter().filter(|line| line["upstream"].is_string()).count();
    // One whose end has not been seen yet counts among the others.
    assert!(led <= 128 + 6 + 10, "{led} connections for the upstream");
    server.end_connections();
    portway.stop();
}

#[test]
fn a_client_waits_for_room_where_it_may() {
    let (port, server) = (Port::reserve(), Server::new("a"));
    let upstreams = [entry(&server, "max_connections = 1")];
    let place = Place::with(&leads(&port, &upstreams, "when_down = \"hold 1m\""));
    let portway = Portway::run(&place.file());
    let held = Flow::open(port.number);
    let waiting = TcpStream::connect(("127.0.0.1", port.number)).unwrap();
    waiting.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!((&waiting).read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
    drop(held);
    assert_eq!(Flow::greeted(waiting).unwrap().reached, "a");
    server.end_connections();
    portway.stop();
}

/// The port refuses while the server is dead, and serves again after.
fn the_port_is_closed_while_the_server_is_dead(more: &str) {
    let (port, mut server) = (Port::reserve(), Server::new("a"));
    let place = Place::with(&leads(&port, &[entry(&server, "")], &format!("when_down = \"refuse\"\n{more}")));
    let mut portway = Portway::run(&place.file());
    for _ in 0..2 {
        assert_eq!(reach(&port, 2).concat(), "aa");
        let held = Flow::open(port.number);
        server.refuse();
        portway.until("the port is closed", |portway| {
            drop(Flow::try_open(port.number));
            portway.catch_up();
            is_refused(port.number)
        });
        // Who is connected stays so.
        let mut held = held;
        server.start();
        portway.phase(OPEN);
        assert_eq!(reach(&port, 2).concat(), "aa");
        server.end_connections();
        assert!(!held.was_reset());
    }
    assert_eq!((portway.count(CLOSED), portway.count(OPEN)), (2, 2));
    portway.stop();
}

#[test]
fn a_port_is_closed_while_no_upstream_connects() {
    the_port_is_closed_while_the_server_is_dead("");
}

#[test]
fn a_port_is_closed_while_no_check_passes() {
    let check = "health = { interval = \"100ms\", timeout = \"100ms\", rise = 1, fall = 1 }";
    the_port_is_closed_while_the_server_is_dead(check);
}

#[test]
fn an_edit_opens_a_closed_port_and_may_remove_it() {
    let (port, mut server, good) = (Port::reserve(), Server::new("a"), Server::new("good"));
    let text =
        |server: &Server, when: &str| leads(&port, &[entry(server, "")], &format!("when_down = \"{when}\""));
    let place = Place::with(&text(&server, "refuse"));
    let mut portway = Portway::run(&place.file());
    server.die();
    let close = |portway: &mut Portway| {
        portway.until("the port is closed", |_| {
            drop(Flow::try_open(port.number));
            is_refused(port.number)
        });
    };
    close(&mut portway);
    // Another way: open, and a client is reset.
    place.save(&text(&server, "reset"));
    portway.phase(OPEN);
    assert!(!is_refused(port.number));
    place.save(&text(&server, "refuse"));
    portway.phase("reloaded");
    close(&mut portway);
    // Another upstream.
    place.save(&text(&good, "refuse"));
    portway.phase(OPEN);
    assert_eq!(reach(&port, 1).concat(), "good");
    place.save(&text(&server, "refuse"));
    portway.phase("reloaded");
    close(&mut portway);
    // A port that is closed is removed, and comes again.
    let other = Port::reserve();
    place.save(&leads(&other, &[entry(&good, "")], ""));
    portway.phase("reloaded");
    place.save(&text(&good, "refuse"));
    portway.phase("reloaded");
    assert_eq!(reach(&port, 1).concat(), "good");
    good.end_connections();
    portway.stop();
}
