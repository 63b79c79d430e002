//! What the network does to an attempt: the next upstream has the client.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::server::*;
use crate::harness::instance::*;
use crate::harness::netns::Netns;

/// One that takes every connection and resets it a moment later, when the client surely takes it for connected.
fn resetting() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let clone = listener.try_clone().unwrap();
    std::thread::spawn(move || {
        for stream in clone.incoming().flatten() {
            pass(Duration::from_millis(20));
            drop(SockRef::from(&stream).set_linger(Some(Duration::ZERO)));
        }
    });
    listener
}

#[test]
fn an_upstream_that_resets_before_a_byte_is_passed_over() {
    let (port, bad, good) = (Port::reserve(), resetting(), Server::new("good"));
    let bad = bad.local_addr().unwrap();
    let upstreams = [format!("\"{bad}\""), entry(&good, "")];
    let place = Place::with(&leads(&port, &upstreams, "balance = \"first\""));
    let mut portway = Portway::run(&place.file());
    assert_eq!(count(&reach(&port, 30), "good"), 30);
    portway.until("all are in the access log", |portway| {
        portway.catch_up();
        portway.seen.iter().filter(|line| line["outcome"].is_string()).count() == 30
    });
    let told = portway.seen.iter().filter_map(|line| line["detail"].as_str());
    let passed_over = told.filter(|why| *why == format!("{bad}: reset before a byte")).count();
    assert_eq!(passed_over, 30, "the log:\n{}", portway.log());
    good.end_connections();
    portway.stop();
}

#[test]
fn the_last_upstream_that_resets_resets_the_client() {
    let (port, bad) = (Port::reserve(), resetting());
    let upstreams = [format!("\"{}\"", bad.local_addr().unwrap())];
    let place = Place::with(&leads(&port, &upstreams, ""));
    let mut portway = Portway::run(&place.file());
    assert!(Flow::try_open(port.number).is_err());
    portway.until("the reset is in the access log", |portway| {
        // As early as in the connect itself, or after it.
        portway
            .seen
            .iter()
            .any(|line| line["outcome"] == "upstream-reset" || line["outcome"] == "connect-failed")
    });
    portway.stop();
}

#[test]
fn a_client_that_resets_before_a_byte_resets_the_upstream() {
    // They are connected by the kernel, and silent.
    let (port, servers) = (Port::reserve(), [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap()));
    let upstreams =
        servers.iter().map(|server| format!("\"{}\"", server.local_addr().unwrap())).collect::<Vec<_>>();
    let place = Place::with(&leads(&port, &upstreams, "balance = \"first\""));
    let mut portway = Portway::run(&place.file());
    let client = TcpStream::connect(("127.0.0.1", port.number)).unwrap();
    let (mut server, _) = servers[0].accept().unwrap();
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let end = server.read(&mut [0]);
    assert!(end.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset), "{end:?}");
    portway.until("the reset is in the access log", |portway| {
        portway.seen.iter().any(|line| line["outcome"] == "client-reset")
    });
    portway.stop();
}

#[test]
fn nobody_waits_for_a_reset_that_does_not_come() {
    // Both sides are silent for a while, and then the client speaks.
    let (port, servers) = (Port::reserve(), [Backend::named("a"), Backend::named("b")]);
    let upstreams = servers.iter().map(|server| format!("\"{}\"", server.addr)).collect::<Vec<_>>();
    let place = Place::with(&leads(&port, &upstreams, ""));
    let portway = Portway::run(&place.file());
    let begun = Instant::now();
    for _ in 0..50 {
        Flow::open(port.number).ping().unwrap();
    }
    // It would be a second each.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    portway.stop();
}

#[test]
fn an_upstream_for_which_no_port_is_left_is_not_down_and_another_is_used() {
    if lacks_root() {
        return;
    }
    const PORTS: u16 = 50;
    let netns = Netns::new();
    let servers = netns.enter(|| [Server::at("a", "127.0.0.11:3000"), Server::at("b", "127.0.0.12:3000")]);
    netns.sysctl("ipv4/ip_local_port_range", "50000 50049");
    let text = "[log]\nformat = \"json\"\naccess = \"stderr\"\n[[route]]\nlisten = \"127.0.0.1:8080\"\n\
                upstream = [\"127.0.0.11:3000\", \"127.0.0.12:3000\"]\nbalance = \"first\"\n";
    let place = Place::with(text);
    let mut portway = Portway::start(netns.command(PORTWAY).arg("run").arg("--config").arg(place.file()));
    // From ports of their own: one that is bound is none that connect(2) would choose.
    let connect = |i: u16| {
        netns.enter(|| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            let own = std::net::SocketAddr::from(([127, 0, 0, 1], 20_000 + i));
            socket.bind(&own.into()).unwrap();
            socket.connect(&"127.0.0.1:8080".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
            Flow::greeted(TcpStream::from(socket)).unwrap()
        })
    };
    let held: Vec<Flow> = (0..PORTS + 20).map(connect).collect();
    let names: Vec<String> = held.iter().map(|flow| flow.reached.clone()).collect();
    assert_eq!((count(&names, "a"), count(&names, "b")), (PORTS.into(), 20));
    let starving = "this system has no socket or port left";
    assert_eq!((portway.count(starving), portway.count("upstream is down")), (1, 0), "{}", portway.log());
    drop(held);
    servers.iter().for_each(Server::end_connections);
    // Each from another port: the last one may be in TIME-WAIT.
    let mut ports = 200..;
    portway.until("a port is free again", |_| connect(ports.next().unwrap()).reached == "a");
    portway.stop();
}

#[test]
fn a_link_that_goes_down_and_comes_back() {
    if lacks_root() {
        return;
    }
    let (near, far) = Netns::pair();
    let main = far.enter(|| Server::at("main", "10.99.0.2:3000"));
    let spare = near.enter(|| Server::at("spare", "127.0.0.11:3000"));
    let text = "[log]\nformat = \"json\"\naccess = \"stderr\"\n[[route]]\nlisten = \"127.0.0.1:8080\"\n\
                upstream = [\"10.99.0.2:3000\", \"127.0.0.11:3000\"]\nbalance = \"first\"\nconnect_timeout = \"1s\"\n";
    let place = Place::with(text);
    let mut portway = Portway::start(near.command(PORTWAY).arg("run").arg("--config").arg(place.file()));
    let reach = || near.enter(|| Flow::open(8080)).reached;
    assert_eq!(reach(), "main");
    near.ip("link set wire down");
    // Its network is unreachable, which is known at once.
    let begun = Instant::now();
    let names: Vec<String> = (0..20).map(|_| reach()).collect();
    assert_eq!(count(&names, "spare"), 20);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let down = portway.phase("upstream is down");
    assert!(down["error"].as_str().unwrap().contains("network is unreachable"), "{down}");
    near.ip("link set wire up");
    portway.until("the main server is used again", |_| reach() == "main");
    // Down at the other end: nobody answers, not even that nobody is there.
    far.ip("link set wire down");
    let begun = Instant::now();
    assert_eq!(reach(), "spare");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    far.ip("link set wire up");
    [&main, &spare].into_iter().for_each(Server::end_connections);
    portway.stop();
}
