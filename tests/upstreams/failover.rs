//! Servers that go and come: no client sees it while one works.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::server::*;
use crate::harness::instance::*;

const DOWN: &str = "upstream is down";
const UP: &str = "upstream is up again";

#[test]
fn a_dead_server_costs_no_client_and_is_told_of_once() {
    let (port, mut servers) = (Port::reserve(), ["a", "b"].map(Server::new));
    let entries: Vec<_> = servers.iter().map(|server| entry(server, "")).collect();
    let place = Place::with(&leads(&port, &entries, ""));
    let mut portway = Portway::run(&place.file());
    servers[0].die();
    let names = reach(&port, 100);
    assert_eq!(count(&names, "b"), 100);
    let down = portway.phase(DOWN);
    assert_eq!(down["upstream"], servers[0].addr().to_string());
    assert!(down["error"].as_str().unwrap().contains("connection refused"), "{down}");
    assert_eq!(portway.count(DOWN), 1);
    // Who was passed over, why, and how long it took.
    let tried = portway.seen.iter().filter_map(|line| line["detail"].as_str());
    let tried: Vec<String> = tried.map(str::to_owned).collect();
    let refused = format!("{}: connection refused (", servers[0].addr());
    assert!(!tried.is_empty() && tried.iter().all(|detail| detail.starts_with(&refused)), "{tried:?}");

    servers[0].start();
    portway.until("it is back", |portway| {
        drop(Flow::open(port.number));
        portway.count(UP) == 1
    });
    let names = reach(&port, 10);
    assert_eq!(count(&names, "a"), 5);
    servers.iter().for_each(Server::end_connections);
    portway.stop();
}

#[test]
fn a_backup_serves_while_the_others_are_down_and_no_longer() {
    let (port, mut main, spare) = (Port::reserve(), Server::new("main"), Server::new("spare"));
    let upstreams = [entry(&spare, "backup = true"), entry(&main, "")];
    let place = Place::with(&leads(&port, &upstreams, ""));
    let mut portway = Portway::run(&place.file());
    assert_eq!(count(&reach(&port, 5), "main"), 5);
    main.die();
    assert_eq!(count(&reach(&port, 20), "spare"), 20);
    main.start();
    portway.until("the main server is back", |_| Flow::open(port.number).reached == "main");
    assert_eq!(count(&reach(&port, 20), "main"), 20);
    [&main, &spare].into_iter().for_each(Server::end_connections);
    portway.stop();
}

/// How many clients have tried a dead upstream first, as the access log says.
fn trials(portway: &mut Portway) -> usize {
    portway.catch_up();
    portway.seen.iter().filter(|line| line["detail"].is_string()).count()
}

#[test]
fn what_is_known_of_an_upstream_outlives_an_edit_of_its_route() {
    let (port, mut dead, alive) = (Port::reserve(), Server::new("dead"), Server::new("alive"));
    let text = |name: &str| {
        let entries = [entry(&dead, ""), entry(&alive, "")];
        leads(&port, &entries, "balance = \"first\"").replace("\"app\"", &format!("\"{name}\""))
    };
    let (before, after) = (text("app"), text("renamed"));
    dead.die();
    let place = Place::with(&before);
    let mut portway = Portway::run(&place.file());
    // Trials of the dead one until its time is longer than the edit takes.
    portway.until("the dead one has had several trials", |portway| {
        assert_eq!(Flow::open(port.number).reached, "alive");
        trials(portway) >= 5
    });
    place.save(&after);
    portway.phase("reloaded");
    reach(&port, 20);
    alive.end_connections();
    // One trial may fall into this time; without a memory there were three before it was down again.
    portway.until("the clients are in the log", |portway| {
        portway.catch_up();
        portway.seen.iter().filter(|line| line["route"] == "renamed").count() == 20
    });
    let failed = portway.seen.iter().filter(|line| line["route"] == "renamed" && line["detail"].is_string());
    assert!(failed.count() <= 1);
    assert_eq!(portway.count(DOWN), 1);
    portway.stop();
}

#[test]
fn t9_what_is_known_of_a_dead_upstream_outlives_its_route() {
    let (port, other) = (Port::reserve(), Port::reserve());
    let (mut dead, alive) = (Server::new("dead"), Server::new("alive"));
    let with = leads(&port, &[entry(&dead, ""), entry(&alive, "")], "balance = \"first\"");
    let without = leads(&other, &[entry(&alive, "")], "").replace("\"app\"", "\"other\"");
    dead.die();
    let place = Place::with(&with);
    let mut portway = Portway::run(&place.file());
    // Trials, until it is down for longer than the edits take.
    portway.until("the dead one has had several trials", |portway| {
        assert_eq!(Flow::open(port.number).reached, "alive");
        trials(portway) >= 6
    });
    place.save(&without);
    portway.phase("reloaded");
    assert_eq!(reach(&other, 1).concat(), "alive");
    alive.end_connections();
    let before = trials(&mut portway);
    place.save(&with);
    portway.phase("reloaded");
    assert_eq!(count(&reach(&port, 20), "alive"), 20);
    // One trial may fall into this time; without a memory there were three before it was down again.
    let after = trials(&mut portway);
    assert!(after <= before + 1, "{} trials", after - before);
    assert_eq!(portway.count(DOWN), 1);
    alive.end_connections();
    portway.stop();
}

#[test]
fn t10_a_connection_of_the_time_after_a_recovery_is_not_cut_for_what_was_before() {
    let (port, mut server) = (Port::reserve(), Server::new("a"));
    let place = Place::with(&leads(&port, &[entry(&server, "")], "on_down = \"cut\""));
    let mut portway = Portway::run(&place.file());
    for turn in 1..=2 {
        let mut cut = Flow::open(port.number);
        server.refuse();
        portway.until("it is down", |portway| {
            drop(Flow::try_open(port.number));
            portway.count(DOWN) == turn
        });
        assert!(cut.was_reset(), "turn {turn}");
        server.start();
        portway.until("it is up", |portway| {
            drop(Flow::try_open(port.number));
            portway.count(UP) == turn
        });
        let late: Vec<Flow> = (0..3).map(|_| Flow::open(port.number)).collect();
        // What cuts them would do so at once, and others that come and go show that it has had its turn.
        reach(&port, 10);
        portway.until("those are in the log", |portway| {
            portway.catch_up();
            portway.seen.iter().filter(|line| line["outcome"] == "client-closed").count() >= 10 * turn
        });
        let cut = portway.seen.iter().filter(|line| line["outcome"] == "upstream-down").count();
        assert_eq!(cut, turn, "{}", portway.log());
        server.end_connections();
        for mut flow in late {
            assert!(!flow.was_reset());
        }
    }
    portway.stop();
}

#[test]
fn where_all_are_down_the_first_that_works_again_serves_at_once() {
    let (port, mut servers) = (Port::reserve(), ["a", "b"].map(Server::new));
    let entries: Vec<_> = servers.iter().map(|server| entry(server, "")).collect();
    let place = Place::with(&leads(&port, &entries, ""));
    let mut portway = Portway::run(&place.file());
    servers.iter_mut().for_each(Server::die);
    portway.until("both are down", |portway| {
        assert!(Flow::try_open(port.number).is_err());
        portway.count(DOWN) == 2
    });
    servers[1].start();
    assert_eq!(count(&reach(&port, 10), "b"), 10);
    assert_eq!(portway.phase(UP)["upstream"], servers[1].addr().to_string());
    servers[1].end_connections();
    portway.stop();
}

#[test]
fn a_server_that_comes_and_goes_under_load_is_seen_by_no_client() {
    let (port, mut flapping, steady) = (Port::reserve(), Server::new("flapping"), Server::new("steady"));
    let place = Place::with(&leads(&port, &[entry(&flapping, ""), entry(&steady, "")], ""));
    let mut portway = Portway::run(&place.file());
    for _ in 0..3 {
        // It only refuses: who is connected stays so, so every failure would be Portway's.
        flapping.refuse();
        let names = reach(&port, 60);
        // A client may stand in its queue when it closes.
        assert_eq!(count(&names, "steady"), 60);
        flapping.start();
        portway.until("it is used again", |_| Flow::open(port.number).reached == "flapping");
    }
    assert!(portway.count(DOWN) <= 3 && portway.count(UP) <= 3);
    [&flapping, &steady].into_iter().for_each(Server::end_connections);
    portway.stop();
}

#[test]
fn connections_of_an_upstream_that_went_down_go_on_or_are_cut() {
    let (keeps, cuts) = (Port::reserve(), Port::reserve());
    let mut server = Server::new("a");
    let upstream = [entry(&server, "")];
    let cutting = leads(&cuts, &upstream, "on_down = \"cut\"").replace("\"app\"", "\"cut\"");
    let (_, route) = cutting.split_once("[[route]]").unwrap();
    let place = Place::with(&format!("{}[[route]]{route}", leads(&keeps, &upstream, "")));
    let mut portway = Portway::run(&place.file());
    let (kept, mut cut) = (Flow::open(keeps.number), Flow::open(cuts.number));
    server.refuse();
    portway.until("it is down", |portway| {
        assert!(Flow::try_open(keeps.number).is_err());
        portway.count(DOWN) == 1
    });
    assert!(cut.was_reset());
    portway.until("the cut is in the access log", |portway| {
        portway.seen.iter().any(|line| line["outcome"] == "upstream-down")
    });
    // The other one is still there: its end is its server's.
    assert!(!portway.seen.iter().any(|line| line["route"] == "app" && line["up"] != 0 && line["down"] != 0));
    server.end_connections();
    let mut kept = kept;
    assert!(!kept.was_reset());
    drop(kept);
    portway.stop();
}

/// An upstream that serves one client and accepts no other: its queue is full after two more.
fn busy_with_one(through: &Port, at: &Port) -> (Flow, TcpListener) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&at.local().parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(1).unwrap();
    let listener = TcpListener::from(socket);
    let client = TcpStream::connect(("127.0.0.1", through.number)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    std::thread::spawn(move || {
        let mut own = server.try_clone().unwrap();
        // Echoes until its client has gone.
        drop(server.write_all(b"busy\n").and_then(|()| std::io::copy(&mut server, &mut own)));
    });
    (Flow::greeted(client).unwrap(), listener)
}

#[test]
fn r14_timeouts_of_one_client_cut_nobody_and_refusals_do() {
    const CLIENTS: usize = 45;
    let (port, upstream) = (Port::reserve(), Port::reserve());
    let more = "on_down = \"cut\"\nconnect_timeout = \"300ms\"";
    let place = Place::with(&leads(&port, &[format!("\"{}\"", upstream.local())], more));
    let mut portway = Portway::run(&place.file());
    let (mut held, listener) = busy_with_one(&port, &upstream);
    // From now on its kernel drops every SYN.
    let full =
        || TcpStream::connect_timeout(&upstream.local().parse().unwrap(), Duration::from_millis(300)).ok();
    let filler: Vec<TcpStream> = std::iter::from_fn(full).collect();
    let connect = || TcpStream::connect(("127.0.0.1", port.number)).unwrap();
    let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| connect()).collect();
    let down = portway.phase(DOWN);
    assert!(down["error"].as_str().unwrap().contains("no answer in time"), "{down}");
    portway.until("the others have had their time", |portway| {
        portway.catch_up();
        portway.seen.iter().filter(|line| line["outcome"] == "connect-failed").count() >= CLIENTS - 5
    });
    held.ping().unwrap();
    assert!(!portway.seen.iter().any(|line| line["outcome"] == "upstream-down"), "{}", portway.log());
    // Now it is gone, and that is evidence.
    drop((clients, filler, listener));
    portway.until("its connection is cut", |portway| {
        drop(connect());
        portway.seen.iter().any(|line| line["outcome"] == "upstream-down")
    });
    assert!(held.was_reset());
    drop(held);
    portway.stop();
}
