//! F7: an edit touches the sessions that it names, as it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::peers::*;
use crate::harness::instance::*;

/// Sessions that talk without a pause while the file changes around them: not one datagram is lost, and each keeps its way
/// to the upstream.
#[test]
fn sessions_outlive_the_edits_of_other_routes_and_of_their_own() {
    let (port, server, other) = (free_port(), Server::echo(), free_port());
    let text = |turn: u32| {
        // The route itself changes in every third edit; "keep" is the default.
        // A session that was kept through an edit ends with its silence: soon, and later than a busy machine takes for a round.
        let own = format!("max_sessions = {}\nidle_timeout = \"10s\"", 1000 + turn / 3);
        let mut text = one(port, &[server.addr], &own);
        if turn % 2 == 1 {
            text.push_str(&udp_route(
                "other",
                &format!("127.0.0.1:{other}"),
                &[server.addr],
                "idle_timeout = \"1s\"",
            ));
        }
        text
    };
    let place = Place::with(&text(0));
    let mut portway = Portway::run(&place.file());
    let stop = Arc::new(AtomicBool::new(false));
    let talking: Vec<_> = (0..4_u8)
        .map(|thread| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let clients: Vec<Client> = (0..15).map(|_| Client::of(port)).collect();
                let mut asked = 0_u32;
                while !stop.load(Ordering::SeqCst) {
                    for (at, client) in clients.iter().enumerate() {
                        let question = [&[thread, at as u8][..], &asked.to_be_bytes()].concat();
                        assert_eq!(client.ask(&question), question);
                    }
                    asked += 1;
                    pass(Duration::from_millis(1));
                }
                (clients.len(), asked)
            })
        })
        .collect();
    for turn in 1..=30 {
        place.save(&text(turn));
        portway.hang_up();
        portway.phase("reloaded");
        pass(Duration::from_millis(20));
    }
    place.save(&text(0));
    portway.hang_up();
    portway.phase("reloaded");
    stop.store(true, Ordering::SeqCst);
    let talked: Vec<(usize, u32)> = talking.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(talked.iter().all(|(_, asked)| *asked > 3), "{talked:?}");
    // One way to the upstream for each client: no session was made anew.
    let mut ways: Vec<_> = server.heard().iter().map(|(from, d)| (d[..2].to_vec(), *from)).collect();
    ways.sort();
    ways.dedup();
    assert_eq!(ways.len(), talked.iter().map(|(clients, _)| clients).sum::<usize>());
    place.save(&one(port, &[server.addr], "on_change = \"cut\""));
    portway.phase("reloaded");
    assert_eq!(records(&mut portway, 60).len(), 60);
    portway.stop();
}

#[test]
fn new_sessions_follow_the_new_text_and_old_ones_what_on_change_says() {
    let (port, a, b) = (free_port(), Server::named("a"), Server::named("b"));
    let text = |server: &Server, word: &str| {
        one(
            port,
            &[server.addr],
            &format!("idle_timeout = \"30s\"\ndrain_timeout = \"300ms\"\non_change = \"{word}\""),
        )
    };
    let place = Place::with(&text(&a, "keep"));
    let mut portway = Portway::run(&place.file());
    let sockets = portway.sockets();
    let old = Client::of(port);
    assert_eq!(old.says("1"), "a 1");
    place.save(&text(&b, "keep"));
    portway.phase("reloaded");
    assert_eq!(old.says("2"), "a 2");
    assert_eq!(Client::of(port).says("3"), "b 3");
    // Two sessions of two texts are there. Both are cut, also the one that an earlier edit has kept.
    place.save(&text(&a, "cut"));
    portway.phase("reloaded");
    let cut = records(&mut portway, 2);
    assert!(cut.iter().all(|record| record["outcome"] == "drained"), "{cut:?}");
    let mut upstreams: Vec<_> = cut.iter().map(|record| record["upstream"].as_str().unwrap()).collect();
    upstreams.sort_unstable();
    let mut both = [a.addr.to_string(), b.addr.to_string()];
    both.sort_unstable();
    assert_eq!(upstreams, both);
    assert_eq!(old.says("4"), "a 4");
    // A drain is over when its time is.
    let drained = Client::of(port);
    assert_eq!(drained.says("5"), "a 5");
    place.save(&text(&b, "drain"));
    portway.phase("reloaded");
    assert_eq!(drained.says("6"), "a 6");
    assert!(records(&mut portway, 4).iter().all(|record| record["outcome"] == "drained"));
    assert_eq!(drained.says("7"), "b 7");
    place.save(&text(&b, "cut"));
    portway.phase("reloaded");
    records(&mut portway, 5);
    let now = portway.sockets();
    assert!(sockets.iter().all(|socket| now.contains(socket)), "the listener has another socket");
    portway.signal(rustix::process::Signal::TERM);
    portway.phase("stopped");
}

/// A session of a route that is gone keeps its socket, for its answers must leave from there; a client without one finds
/// nobody. A route that takes the address again finds the same socket.
#[test]
fn a_removed_route_serves_its_sessions_to_their_end() {
    let (port, a, b, rest) = (free_port(), Server::named("a"), Server::named("b"), free_port());
    let other = udp_route("rest", &format!("127.0.0.1:{rest}"), &[a.addr], "idle_timeout = \"1s\"");
    let with = |server: &Server, more: &str| format!("{}{other}", one(port, &[server.addr], more));
    let without = format!("{LOGGED}{other}");
    let place = Place::with(&with(&a, "idle_timeout = \"600ms\""));
    let mut portway = Portway::run(&place.file());
    let old = Client::of(port);
    assert_eq!(old.says("1"), "a 1");
    place.save(&without);
    portway.phase("reloaded");
    assert_eq!(old.says("2"), "a 2");
    let new = Client::of(port);
    new.send(b"3");
    assert!(new.hears_nothing());
    place.save(&with(&b, "idle_timeout = \"600ms\""));
    portway.phase("reloaded");
    assert_eq!(old.says("4"), "a 4");
    assert_eq!(new.says("5"), "b 5");
    // Removed again, and silent: the last session takes the socket with it.
    place.save(&without);
    portway.phase("reloaded");
    records(&mut portway, 2);
    portway.until("the port is free", |_| std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok());
    place.save(&with(&b, "idle_timeout = \"600ms\""));
    portway.phase("reloaded");
    assert_eq!(old.says("6"), "b 6");
    portway.stop();
}

#[test]
fn a_port_that_is_taken_leaves_everything_as_it_was() {
    let (port, server) = (free_port(), Server::echo());
    let before = one(port, &[server.addr], "idle_timeout = \"1s\"");
    let place = Place::with(&before);
    let mut portway = Portway::run(&place.file());
    let added = free_port();
    let new = udp_route("new", &format!("127.0.0.1:{added}"), &[server.addr], "");
    let taken = udp_route("taken", &server.addr.to_string(), &[closed_port()], "");
    place.save(&format!("{before}{new}{taken}"));
    let headline = portway.refused();
    assert!(headline.contains(&server.addr.to_string()) && headline.contains("ss -lunp"), "{headline}");
    assert!(
        std::net::UdpSocket::bind(("127.0.0.1", added)).is_ok(),
        "another route of the same edit was added"
    );
    assert_eq!(Client::of(port).says("x"), "x");
    place.save(&before);
    portway.phase("fault healed");
    portway.stop();
}

/// From every interface to one address, and back.
#[test]
fn a_narrower_address_is_opened_beside_the_wider_one() {
    let (port, server) = (free_port(), Server::echo());
    let text = |listen: &str| {
        format!("{LOGGED}{}", udp_route("udp", listen, &[server.addr], "idle_timeout = \"500ms\""))
    };
    let place = Place::with(&text(&port.to_string()));
    let mut portway = Portway::run(&place.file());
    for listen in [format!("127.0.0.1:{port}"), port.to_string(), format!("0.0.0.0:{port}")] {
        let client = Client::of(port);
        assert_eq!(client.says("before"), "before");
        place.save(&text(&listen));
        portway.phase("reloaded");
        assert_eq!(client.says("after"), "after", "{listen}");
    }
    place.save(&text(&port.to_string()));
    portway.phase("reloaded");
    portway.stop();
}

/// A stop takes no new sessions, and gives those that talk their time.
#[test]
fn a_stop_drains_the_sessions() {
    let (port, server) = (free_port(), Server::echo());
    let place = Place::with(&one(port, &[server.addr], "idle_timeout = \"1h\"\ndrain_timeout = \"29s\""));
    let mut portway = Portway::run(&place.file());
    let client = Client::of(port);
    client.ask(b"1");
    portway.signal(rustix::process::Signal::TERM);
    assert_eq!(portway.phase("draining")["connections"], 1);
    for _ in 0..6 {
        assert_eq!(client.ask(b"2"), b"2");
        pass(Duration::from_millis(100));
    }
    let stranger = Client::of(port);
    stranger.send(b"3");
    assert!(stranger.hears_nothing());
    let stopped = portway.phase("stopped");
    assert_eq!((&stopped["finished"], &stopped["cut"]), (&1.into(), &0.into()), "{stopped}");
    assert_eq!(records(&mut portway, 1)[0]["outcome"], "idle");
}

/// And a second signal ends them.
#[test]
fn a_second_signal_kills_the_sessions() {
    let (port, server) = (free_port(), Server::echo());
    let place = Place::with(&one(port, &[server.addr], ""));
    let mut portway = Portway::run(&place.file());
    Client::of(port).ask(b"1");
    portway.signal(rustix::process::Signal::TERM);
    portway.phase("draining");
    portway.signal(rustix::process::Signal::TERM);
    assert_eq!(portway.phase("stopped at once")["killed"], 1);
    assert_eq!(records(&mut portway, 1)[0]["outcome"], "killed");
}
