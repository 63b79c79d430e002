//! R4: sessions whose upstream is gone although nothing refuses: its address has left the name, or it has fallen silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::peers::*;
use crate::harness::instance::*;
use crate::upstreams::resolver::{Resolver, Says};

/// Asks until an answer begins with this, and says how many questions that took.
fn asks_until(client: &Client, wanted: &str) -> usize {
    let begun = Instant::now();
    client.0.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    for turn in 1.. {
        client.send(b"anybody?");
        let mut buffer = [0; 64];
        if client.0.recv(&mut buffer).is_ok() && buffer.starts_with(wanted.as_bytes()) {
            client.0.set_read_timeout(Some(PATIENCE)).unwrap();
            return turn;
        }
        assert!(begun.elapsed() < PATIENCE, "no answer of {wanted}");
    }
    unreachable!()
}

/// The record of a route's first session.
fn record_of(portway: &mut Portway, route: &str) -> serde_json::Value {
    let of = |portway: &Portway| {
        let mut ended =
            portway.seen.iter().filter(|line| line["route"] == route && line["outcome"].is_string());
        ended.next().cloned()
    };
    portway.until("its session has ended", |portway| of(portway).is_some());
    of(portway).unwrap()
}

/// The old address is silent, the clients go on writing.
#[test]
fn r4_sessions_end_once_their_address_has_left_the_name_and_another_is_there() {
    if lacks_root() {
        return;
    }
    let netns = Netns::new();
    netns.resolver("nameserver 127.0.0.1\n");
    let at = |host: u8| Says::Addrs(vec![[127, 0, 0, host].into()]);
    let resolver = netns.enter(|| Resolver::start(&[("app", at(11))]));
    let silent = Arc::new(AtomicBool::new(false));
    let quiet = silent.clone();
    let answers = move |_: &[u8]| if quiet.load(Ordering::SeqCst) { Vec::new() } else { vec![b"a".to_vec()] };
    let _servers = netns.enter(|| {
        (Server::on("127.0.0.11:3000", answers), Server::on("127.0.0.12:3000", |_| vec![b"b".to_vec()]))
    });
    let mut text = LOGGED.to_owned();
    for (port, name, more) in [
        (8080, "default", ""),
        (8081, "cut", "on_vanish = \"cut\""),
        (8082, "drain", "on_vanish = \"drain\"\ndrain_timeout = \"700ms\""),
        (8083, "keep", "on_vanish = \"keep\""),
    ] {
        text += &format!(
            "[[route]]\nname = \"{name}\"\nprotocol = \"udp\"\nlisten = \"127.0.0.1:{port}\"\n\
             upstream = \"app.test:3000\"\nidle_timeout = \"10m\"\n{more}\n"
        );
    }
    let place = Place::with(&text);
    let mut command = netns.command(PORTWAY);
    let mut portway = Portway::start(command.arg("run").arg("--config").arg(place.file()));
    let clients = netns.enter(|| [8080, 8081, 8082, 8083].map(Client::of));
    let [default, cut, drain, keep] = &clients;
    clients.iter().for_each(|client| assert_eq!(client.ask(b"hello"), b"a"));
    silent.store(true, Ordering::SeqCst);
    resolver.says("app", at(12));
    portway.until("it has left", |portway| portway.count("the addresses of the name have changed") == 2);
    let left = Instant::now();
    asks_until(default, "b");
    asks_until(cut, "b");
    asks_until(drain, "b");
    assert!(left.elapsed() > Duration::from_millis(500), "{:?}", left.elapsed());
    for route in ["default", "cut", "drain"] {
        let record = record_of(&mut portway, route);
        assert_eq!((&record["outcome"], &record["blame"]), (&"upstream-gone".into(), &"upstream".into()));
    }
    keep.send(b"anybody?");
    assert!(keep.hears_nothing());
    assert!(!portway.seen.iter().any(|line| line["route"] == "keep" && line["outcome"].is_string()));
    place.save(&format!("{LOGGED}{}", udp_route("rest", "127.0.0.1:8084", &[closed_port()], "")));
    portway.phase("reloaded");
    portway.signal(rustix::process::Signal::TERM);
    portway.phase("stopped");
}

/// Nothing refuses, no name changes: the upstream is just silent.
#[test]
fn r4_a_session_whose_upstream_falls_silent_moves_although_its_client_goes_on_writing() {
    let silent = Arc::new(AtomicBool::new(false));
    let quiet = silent.clone();
    let a = Server::on("127.0.0.1:0", move |_| {
        if quiet.load(Ordering::SeqCst) { Vec::new() } else { vec![b"a".to_vec()] }
    });
    let (port, b) = (free_port(), Server::on("127.0.0.1:0", |_| vec![b"b".to_vec()]));
    let place = Place::with(&one(port, &[a.addr, b.addr], "idle_timeout = \"700ms\""));
    let mut portway = Portway::run(&place.file());
    let client = Client::of(port);
    assert_eq!(client.ask(b"hello"), b"a");
    silent.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    asks_until(&client, "b");
    let (took, silence) = (begun.elapsed(), Duration::from_millis(650));
    assert!(took > silence, "{took:?}");
    let record = records(&mut portway, 1).swap_remove(0);
    assert_eq!(
        (&record["outcome"], &record["blame"]),
        (&"upstream-lost".into(), &"upstream".into()),
        "{record}"
    );
    assert_eq!(record["upstream"], a.addr.to_string());
    portway.stop();
}

/// A stream in one direction is no lost upstream: nobody ever promised an answer. Nor is an upstream that answers late.
#[test]
fn r4_a_stream_without_answers_and_one_with_few_go_on() {
    let (port, server) =
        (
            free_port(),
            Server::on("127.0.0.1:0", |datagram| {
                if datagram == b"answer" { vec![b"here".to_vec()] } else { Vec::new() }
            }),
        );
    let place = Place::with(&one(port, &[server.addr], "idle_timeout = \"2s\""));
    let portway = Portway::run(&place.file());
    let (stream, talk) = (Client::of(port), Client::of(port));
    assert_eq!(talk.ask(b"answer"), b"here");
    for turn in 0..40 {
        pass(Duration::from_millis(100));
        stream.send(b"stream");
        talk.send(b"talk");
        if turn % 10 == 9 {
            assert_eq!(talk.ask(b"answer"), b"here");
        }
    }
    assert_eq!((server.sources_of(b"stream").len(), server.sources_of(b"talk").len()), (1, 1));
    portway.stop();
}
