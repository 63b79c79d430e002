//! How many connections, how fast, and how much each may move.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::peer::*;
use crate::harness::instance::*;
use crate::harness::sender;

fn with(port: &Port, backend: &Backend, more: &str) -> String {
    format!("{HEAD}{}", route("app", &port.local(), backend, more))
}

/// Waits until a flow can be had again: what has ended is counted a moment later.
fn again(portway: &mut Portway, mut open: impl FnMut() -> std::io::Result<Flow>) -> Flow {
    let mut flow = None;
    portway.until("there is a place again", |_| {
        flow = open().ok();
        flow.is_some()
    });
    flow.unwrap()
}

#[test]
fn a_full_route_resets_the_next_client_until_one_has_ended() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let place = Place::with(&with(&port, &backend, "max_connections = 3\n"));
    let mut portway = Portway::run(&place.file());
    let mut held: Vec<Flow> = (0..3).map(|_| Flow::open(port.number)).collect();
    for _ in 0..5 {
        assert!(turned_away("127.0.0.1", port.number));
    }
    let told = portway.phase("limited a client");
    assert_eq!((&told["by"], &told["limited"]), (&"max_connections".into(), &1.into()), "{told}");
    held.pop();
    held.push(again(&mut portway, || Flow::try_open(port.number)));
    assert!(turned_away("127.0.0.1", port.number));
    // What is open counts under the next text too, and is not touched by it.
    place.save(&with(&port, &backend, "max_connections = 1\n"));
    portway.phase("reloaded");
    assert!(turned_away("127.0.0.1", port.number));
    held.iter_mut().for_each(|flow| flow.ping().unwrap());
    place.save(&with(&port, &backend, "max_connections = 4\n"));
    portway.phase("reloaded");
    held.push(Flow::open(port.number));
    assert!(turned_away("127.0.0.1", port.number));
    drop(held);
    portway.stop();
}

/// Less than a tenth is left: who has most gets no more of it, however often it tries, and others have their places.
#[test]
fn the_last_places_of_all_are_for_those_who_have_few() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let place = Place::with(&format!("[limits]\nmax_connections = 100\n{}", with(&port, &backend, "")));
    let portway = Portway::run(&place.file());
    let to = ([127, 0, 0, 1], port.number).into();
    let open = |from: &str| Flow::greeted(sender::from(from, to)?);
    let mut held: Vec<Flow> = std::iter::from_fn(|| open("127.0.0.1").ok()).take(100).collect();
    assert!((90..=92).contains(&held.len()), "{}", held.len());
    for _ in 0..3 {
        // It is counted anew.
        pass(Duration::from_millis(150));
        assert!(open("127.0.0.1").is_err());
    }
    held.extend((0..3).map(|_| open("127.0.0.2").unwrap()));
    drop(held);
    portway.stop();
}

#[test]
fn clients_of_a_full_route_can_wait_instead() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let text =
        |most: u32| with(&port, &backend, &format!("max_connections = {most}\nwhen_full = \"wait\"\n"));
    let place = Place::with(&text(2));
    let mut portway = Portway::run(&place.file());
    let mut held: Vec<Flow> = (0..2).map(|_| Flow::open(port.number)).collect();
    let waits = || TcpStream::connect(("127.0.0.1", port.number)).unwrap();
    let first = waits();
    // It has its turn: of two that come at once, either may be first.
    portway.phase("the route is full");
    let [second, third, fourth] = [waits(), waits(), waits()];
    second.set_nonblocking(true).unwrap();
    assert_eq!((&second).read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    second.set_nonblocking(false).unwrap();
    // One ends, one comes in, in their order.
    held.pop();
    held.push(Flow::greeted(first).unwrap());
    // An edit that makes room is heard at once.
    place.save(&text(4));
    portway.phase("reloaded");
    held.push(Flow::greeted(second).unwrap());
    held.push(Flow::greeted(third).unwrap());
    // And so is one that lets them all in, or turns to resetting.
    place.save(&with(&port, &backend, "max_connections = 4\n"));
    portway.phase("reloaded");
    assert!(is_reset(fourth));
    held.iter_mut().for_each(|flow| flow.ping().unwrap());
    drop(held);
    portway.stop();
}

#[test]
fn a_client_that_waits_outlives_the_address_that_it_came_to() {
    let (port, backend) = (Port::everywhere(), Backend::named("app"));
    let text = |listen: &str| {
        format!("{HEAD}{}", route("app", listen, &backend, "max_connections = 1\nwhen_full = \"wait\"\n"))
    };
    let place = Place::with(&text(&port.local()));
    let mut portway = Portway::run(&place.file());
    let mut served = Flow::open(port.number);
    let waits = || TcpStream::connect(("127.0.0.1", port.number)).unwrap();
    let mut waiting = vec![waits()];
    portway.phase("the route is full");
    // The others wait behind the first one: in the queue of the socket that leaves.
    waiting.extend((0..5).map(|_| waits()));
    place.save(&text(&port.number.to_string()));
    portway.phase("reloaded");
    // An edit of the address waits until the socket of the one before has left.
    place.save(&text(&format!("0.0.0.0:{}", port.number)));
    portway.phase("reloaded");
    for client in &waiting {
        client.set_nonblocking(true).unwrap();
        assert_eq!((&*client).read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        client.set_nonblocking(false).unwrap();
    }
    served.ping().unwrap();
    drop(served);
    // One after the other, in any order.
    let in_turn = |client| std::thread::spawn(move || Flow::greeted(client)?.ping());
    let threads: Vec<_> = waiting.into_iter().map(in_turn).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
    portway.stop();
}

#[test]
fn a_client_has_no_more_connections_than_it_may_and_disturbs_no_other() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let place = Place::with(&with(&port, &backend, "max_connections_per_client = 2\n"));
    let mut portway = Portway::run(&place.file());
    let open = |address: &str| flow_from(address, port.number);
    let mut held = vec![open("127.0.1.1").unwrap(), open("127.0.1.1").unwrap()];
    assert!(turned_away("127.0.1.1", port.number));
    assert_eq!(portway.phase("limited a client")["by"], "max_connections_per_client");
    held.push(open("127.0.1.2").unwrap());
    // An edit does not forget whom they belong to.
    place.save(&with(&port, &backend, "max_connections_per_client = 2\nkeepalive = \"30s\"\n"));
    portway.phase("reloaded");
    assert!(turned_away("127.0.1.1", port.number));
    held.remove(0);
    held.push(again(&mut portway, || open("127.0.1.1")));
    assert!(turned_away("127.0.1.1", port.number));
    drop(held);
    portway.stop();
}

#[test]
fn a_flood_from_thousands_of_addresses_costs_known_clients_nothing() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let limits = "rate_per_client = \"5/h burst 3\"\nmax_connections_per_client = 3\n";
    let place = Place::with(&with(&port, &backend, limits));
    let mut portway = Portway::run(&place.file());
    let to = std::net::SocketAddr::from(([127, 0, 0, 1], port.number));
    let mut known: Vec<Flow> = (1..=3).map(|_| flow_from("127.200.0.1", port.number).unwrap()).collect();
    let (mut through, mut reset) = (0, 0);
    for n in 0..3000_u32 {
        // Each address of the flood comes five times; the fourth and the fifth are one too many.
        let address = std::net::Ipv4Addr::from_bits(0x7f01_0000 + n % 600).to_string();
        match from(&address, to).and_then(Flow::greeted) {
            Ok(_) => through += 1,
            Err(_) => reset += 1,
        }
        if n % 100 == 0 {
            known.iter_mut().for_each(|flow| flow.ping().unwrap());
            // A client that comes now and then is never refused.
            let calm = format!("127.201.0.{}", 1 + n / 300);
            assert_eq!(flow_from(&calm, port.number).unwrap().reached, "app", "{calm} after {n}");
        }
    }
    // Twice as many reach the limit as not, were it not for the sixty-five thousand places: nobody is forgotten.
    assert_eq!((through, reset), (1800, 1200));
    assert_eq!(portway.phase("limited a client")["by"], "rate_per_client");
    drop(known);
    portway.stop();
}

#[test]
fn all_routes_together_have_no_more_than_the_file_says() {
    let (one, two, backend) = (Port::reserve(), Port::reserve(), Backend::named("app"));
    let routes = file(&[("one", one.local(), &backend), ("two", two.local(), &backend)]);
    let place = Place::with(&format!("{routes}[limits]\nmax_connections = 2\n"));
    let mut portway = Portway::run(&place.file());
    let mut held = vec![Flow::open(one.number), Flow::open(two.number)];
    let waiting = TcpStream::connect(("127.0.0.1", two.number)).unwrap();
    assert_eq!(portway.phase("all connections of `[limits]")["connections"], 2);
    held.remove(0);
    let third = Flow::greeted(waiting).unwrap();
    place.save(&routes);
    portway.phase("reloaded");
    held.extend((0..4).map(|_| Flow::open(one.number)));
    drop((held, third));
    portway.stop();
}

#[test]
fn a_limit_that_an_edit_lowers_holds_as_connections_end() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let head = HEAD.replace("\"off\"", "\"stderr\"");
    let text = |most: u32| {
        format!("{head}{}[limits]\nmax_connections = {most}\n", route("app", &port.local(), &backend, ""))
    };
    let place = Place::with(&text(4));
    let mut portway = Portway::run(&place.file());
    let mut held: Vec<Flow> = (0..4).map(|_| Flow::open(port.number)).collect();
    place.save(&text(2));
    portway.phase("reloaded");
    // The limits follow the line at once, before anything else.
    portway.hang_up();
    portway.phase("nothing changed");
    let waiting = TcpStream::connect(("127.0.0.1", port.number)).unwrap();
    waiting.set_nonblocking(true).unwrap();
    for ended in 1..=2 {
        held.pop();
        portway.until("its end is in the access log, behind its permit", |portway| {
            portway.seen.iter().filter(|line| !line["outcome"].is_null()).count() == ended
        });
        for _ in 0..20 {
            held.iter_mut().for_each(|flow| flow.ping().unwrap());
        }
        assert!(waiting.peek(&mut [0]).is_err(), "{} of two are open, and one more", held.len());
    }
    held.pop();
    waiting.set_nonblocking(false).unwrap();
    held.push(Flow::greeted(waiting).unwrap());
    drop(held);
    portway.stop();
}

/// A server that takes one connection, reads or writes all, and says how long that took.
fn timed(port: &Port, bytes: usize, up: bool, server: &TcpListener) -> Duration {
    let begin = Instant::now();
    let mut client = TcpStream::connect(("127.0.0.1", port.number)).unwrap();
    let (mut upstream, _) = server.accept().unwrap();
    let (from, to) = if up { (&mut client, &mut upstream) } else { (&mut upstream, &mut client) };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let data: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
            from.write_all(&data).unwrap();
            from.shutdown(Shutdown::Write).unwrap();
        });
        let mut all = Vec::new();
        to.read_to_end(&mut all).unwrap();
        assert!(all.len() == bytes && all.iter().enumerate().all(|(n, byte)| *byte == (n % 251) as u8));
    });
    begin.elapsed()
}

#[test]
fn a_connection_moves_no_more_than_its_bandwidth_in_the_direction_that_has_one() {
    let (port, backend) = (Port::reserve(), TcpListener::bind("127.0.0.1:0").unwrap());
    let route = |more: &str| {
        let upstream = Backend { addr: backend.local_addr().unwrap() };
        format!(
            "{}{}",
            HEAD.replace("\"off\"", "\"stderr\""),
            self::route("app", &port.local(), &upstream, more)
        )
    };
    let place = Place::with(&route("bandwidth = { up = \"1 MiB/s\" }\n"));
    let mut portway = Portway::run(&place.file());
    let took = timed(&port, 1 << 20, true, &backend);
    // A tenth of a second's bytes go at once.
    assert!(took >= Duration::from_millis(800), "{took:?}");
    assert!(took <= Duration::from_secs(10), "{took:?}");
    let free = timed(&port, 4 << 20, false, &backend);
    assert!(free < Duration::from_millis(3000), "4 MiB down, without a bound: {free:?}");
    portway.until("both are in the access log", |portway| {
        portway.seen.iter().filter(|line| line["path"] == "copy").count() == 2
    });
    place.save(&route("bandwidth = { down = \"8 Mbit/s\" }\n"));
    portway.phase("reloaded");
    let took = timed(&port, 1_000_000, false, &backend);
    assert!(took >= Duration::from_millis(800) && took <= Duration::from_secs(10), "{took:?}");
    portway.stop();
}
