//! Which sockets an edit touches, and what becomes of the connections.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::instance::*;

#[test]
fn a_port_that_is_taken_leaves_everything_as_it_was() {
    let (kept, added, a) = (Port::reserve(), Port::reserve(), Backend::named("a"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_addr = taken.local_addr().unwrap().to_string();
    let before = file(&[("kept", kept.local(), &a)]);
    let place = Place::with(&before);
    let mut portway = Portway::run(&place.file());
    let sockets = portway.sockets();
    let mut flow = Flow::open(kept.number);
    let edit =
        format!("{before}{}{}", route("new", &added.local(), &a, ""), route("taken", &taken_addr, &a, ""));
    place.save(&edit);
    let headline = portway.refused();
    assert!(headline.contains(&taken_addr) && headline.contains(":14:10"), "{headline}");
    assert!(is_refused(added.number), "another route of the same edit was added");
    flow.ping().unwrap();
    drop(flow);
    portway.until("the flow has ended", |portway| portway.sockets() == sockets);

    // Another good edit heals.
    place.save(&before);
    portway.phase("fault healed");
    // The same bad edit, and then the port is given back: it is tried again.
    place.save(&edit);
    portway.refused();
    drop(taken);
    assert_eq!(portway.phase("reloaded")["plan"], "added new, taken");
    portway.phase("fault healed");
    assert_eq!(reached(added.number), "a");
    assert_eq!(portway.count("edit refused"), 2);
    portway.stop();
}

#[test]
fn an_address_that_this_host_does_not_have() {
    let (kept, a) = (Port::reserve(), Backend::named("a"));
    let before = file(&[("kept", kept.local(), &a)]);
    let place = Place::with(&before);
    let mut portway = Portway::run(&place.file());
    place.save(&format!("{before}{}", route("far", "192.0.2.1:7000", &a, "")));
    let headline = portway.refused();
    assert!(headline.contains("does not have that address"), "{headline}");
    place.save(&before);
    portway.phase("fault healed");
    portway.stop();
}

/// D5: an edit of a route leaves its socket, and with it everyone who waits in the queue.
#[test]
fn a_queue_of_waiting_clients_outlives_edits_of_its_route() {
    let (port, a, b) = (Port::reserve(), Backend::named("a"), Backend::named("b"));
    let text = |backend: &Backend| file(&[("web", port.local(), backend)]);
    let place = Place::with(&text(&a));
    let mut portway = Portway::run(&place.file());
    let mut sockets = portway.sockets();
    sockets.sort();
    for turn in 1..=6 {
        // Nothing is accepted while the process is stopped: the kernel alone takes the clients in.
        portway.signal(rustix::process::Signal::STOP);
        let waiting: Vec<TcpStream> =
            (0..100).map(|_| TcpStream::connect(("127.0.0.1", port.number)).unwrap()).collect();
        place.save(&text(if turn % 2 == 0 { &a } else { &b }));
        portway.hang_up();
        portway.signal(rustix::process::Signal::CONT);
        portway.phase("reloaded");
        for client in waiting {
            let mut flow = Flow::greeted(client).unwrap();
            assert!(["a", "b"].contains(&&*flow.reached));
            flow.ping().unwrap();
        }
        portway.until("the same sockets are left", |portway| {
            let mut now = portway.sockets();
            now.sort();
            now == sockets
        });
    }
    portway.stop();
}

#[test]
fn a_listener_that_moves_to_another_route_keeps_its_socket() {
    let (port, a, b) = (Port::reserve(), Backend::named("a"), Backend::named("b"));
    let place = Place::with(&file(&[("one", port.local(), &a)]));
    let mut portway = Portway::run(&place.file());
    let sockets = portway.sockets();
    let mut flow = Flow::open(port.number);
    place.save(&file(&[("two", port.local(), &b)]));
    assert_eq!(portway.phase("reloaded")["plan"], "added two; removed one");
    assert_eq!(reached(port.number), "b");
    flow.ping().unwrap();
    assert_eq!(flow.reached, "a");
    drop(flow);
    portway.until("the same sockets are left", |portway| portway.sockets() == sockets);
    portway.stop();
}

/// Clients come without a pause while the listener goes from every interface to one address and back: none may find
/// the port closed, nor be dropped between two sockets that both listen.
#[test]
fn a_narrower_address_is_opened_beside_the_wider_one() {
    let (port, a) = (Port::everywhere(), Backend::named("a"));
    let text = |listen: String| file(&[("web", listen, &a)]);
    let place = Place::with(&text(port.number.to_string()));
    let mut portway = Portway::run(&place.file());
    for listen in [port.local(), port.number.to_string(), port.local(), format!("0.0.0.0:{}", port.number)] {
        place.save(&text(listen));
        let (mut opened, deadline) = (0, Instant::now() + PATIENCE);
        while opened < 20 || portway.count("reloaded") == 0 {
            assert!(Instant::now() < deadline, "{}", portway.log());
            drop(TcpStream::connect(("127.0.0.1", port.number)).unwrap());
            opened += 1;
            // No more than the upstream can take: a full queue of its own loses connections that it has acknowledged.
            pass(Duration::from_millis(1));
        }
        portway.seen.clear();
        assert_eq!(reached(port.number), "a");
    }
    place.save(&text(port.local()));
    portway.phase("reloaded");
    portway.stop();
}

/// The edit from "8080" to "127.0.0.1:8080" together with a port that cannot be had: the wide one serves on, alone.
#[test]
fn a_narrower_address_in_a_refused_edit_changes_nothing() {
    let (port, a) = (Port::everywhere(), Backend::named("a"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_addr = taken.local_addr().unwrap().to_string();
    let place = Place::with(&file(&[("web", port.number.to_string(), &a)]));
    let mut portway = Portway::run(&place.file());
    let sockets = portway.sockets();
    place.save(&file(&[("web", port.local(), &a), ("x", taken_addr, &a)]));
    portway.refused();
    assert_eq!(portway.sockets(), sockets);
    let v6 = TcpStream::connect(("::1", port.number)).unwrap();
    assert_eq!(Flow::greeted(v6).unwrap().reached, "a");
    assert_eq!(reached(port.number), "a");
    place.save(&file(&[("web", port.number.to_string(), &a)]));
    portway.phase("fault healed");
    portway.stop();
}

#[derive(Clone, Copy)]
enum Edit {
    Change,
    Remove,
}

/// Opens a flow, edits its route away, and hands the flow over.
fn after(edit: Edit, policy: &str) -> (Flow, Portway, Place, Port) {
    let (port, other, a, b) = (Port::reserve(), Port::reserve(), Backend::named("a"), Backend::named("b"));
    let rest = file(&[("other", other.local(), &a)]);
    let with = |backend: &Backend| format!("{rest}{}", route("web", &port.local(), backend, policy));
    let place = Place::with(&with(&a));
    let mut portway = Portway::run(&place.file());
    let mut flow = Flow::open(port.number);
    flow.ping().unwrap();
    match edit {
        Edit::Change => {
            place.save(&with(&b));
            portway.phase("reloaded");
            assert_eq!(reached(port.number), "b");
        }
        Edit::Remove => {
            place.save(&rest);
            portway.phase("reloaded");
            assert!(is_refused(port.number));
        }
    }
    (flow, portway, place, port)
}

#[test]
fn on_change_keep_leaves_open_connections() {
    for edit in [Edit::Change, Edit::Remove] {
        let (mut flow, portway, ..) = after(edit, "on_change = \"keep\"\n");
        flow.ping().unwrap();
        drop(flow);
        portway.stop();
    }
}

#[test]
fn on_change_cut_resets_open_connections() {
    for edit in [Edit::Change, Edit::Remove] {
        let (mut flow, portway, ..) = after(edit, "on_change = \"cut\"\n");
        assert!(flow.was_reset());
        portway.stop();
    }
}

#[test]
fn on_change_drain_gives_open_connections_their_time() {
    for edit in [Edit::Change, Edit::Remove] {
        let (mut flow, portway, ..) = after(edit, "on_change = \"drain\"\ndrain_timeout = \"1s\"\n");
        flow.ping().unwrap();
        assert!(flow.was_reset());
        portway.stop();
        let (mut flow, portway, ..) = after(edit, "on_change = \"drain\"\ndrain_timeout = \"1h\"\n");
        flow.ping().unwrap();
        drop(flow);
        portway.stop();
    }
}

#[test]
fn an_edit_of_one_route_leaves_the_connections_of_another() {
    let (ports, a) = ([Port::reserve(), Port::reserve()], Backend::named("a"));
    let text = |timeout: &str| {
        let cut = format!("on_change = \"cut\"\nconnect_timeout = \"{timeout}\"\n");
        format!(
            "{HEAD}{}{}",
            route("one", &ports[0].local(), &a, "on_change = \"cut\"\n"),
            route("two", &ports[1].local(), &a, &cut)
        )
    };
    let place = Place::with(&text("5s"));
    let mut portway = Portway::run(&place.file());
    let mut flows = [Flow::open(ports[0].number), Flow::open(ports[1].number)];
    place.save(&text("6s"));
    assert_eq!(portway.phase("reloaded")["plan"], "changed two");
    assert!(flows[1].was_reset());
    flows[0].ping().unwrap();
    drop(flows);
    portway.stop();
}
