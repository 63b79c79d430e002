//! `[fleet] replicas`: nodes side by side share the checks of their upstreams, counted at the upstream.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::resolver::{Resolver, Says};
use crate::harness::instance::*;
use crate::harness::netns::Netns;
use crate::harness::until;

const INTERVAL: Duration = Duration::from_millis(200);

/// A server that counts who connects.
struct Counter {
    port: u16,
    came: Arc<AtomicUsize>,
}

impl Counter {
    fn new() -> Counter {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let counter = Counter { port: listener.local_addr().unwrap().port(), came: Arc::default() };
        let came = counter.came.clone();
        std::thread::spawn(move || {
            for _ in listener.incoming().flatten() {
                came.fetch_add(1, Ordering::SeqCst);
            }
        });
        counter
    }

    fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }
}

/// A route whose upstream is checked every [`INTERVAL`].
fn checks(port: &Port, upstream: u16, fleet: &str) -> String {
    format!(
        "{HEAD}[fleet]\nreplicas = {fleet}\n[[route]]\nname = \"one\"\nlisten = \"{}\"\nupstream = \"127.0.0.1:{upstream}\"\n\
         health = {{ interval = \"200ms\", timeout = \"200ms\" }}\n",
        port.local()
    )
}

/// How many checks one node makes at most in this time: each pause is at least nine tenths of the interval.
fn at_most(time: Duration) -> usize {
    (time.as_secs_f64() / (0.9 * INTERVAL.as_secs_f64())).ceil() as usize
}

#[test]
fn an_upstream_of_many_nodes_is_checked_as_often_as_of_one() {
    const NODES: usize = 8;
    let server = Counter::new();
    let ports: Vec<Port> = (0..NODES).map(|_| Port::reserve()).collect();
    let begun = Instant::now();
    let nodes: Vec<(Place, Portway)> = ports
        .iter()
        .map(|port| {
            let place = Place::with(&checks(port, server.port, &NODES.to_string()));
            let portway = Portway::run(&place.file());
            (place, portway)
        })
        .collect();
    // Alone each would have made as many by then.
    until("the nodes have checked for a while", || server.came() >= 3 * NODES);
    let (came, time) = (server.came(), begun.elapsed());
    // Each node's first check comes at its own time, so that all of them may be one ahead.
    assert!(came <= at_most(time) + NODES, "{came} checks in {time:?}");
    nodes.into_iter().for_each(|(_, portway)| portway.stop());
}

#[test]
fn an_edit_of_their_number_counts_at_once() {
    let (port, server) = (Port::reserve(), Counter::new());
    // A check every 200 s.
    let place = Place::with(&checks(&port, server.port, "1000"));
    let mut portway = Portway::run(&place.file());
    place.save(&checks(&port, server.port, "1"));
    portway.phase("reloaded");
    until("it checks as one node does", || server.came() >= 5);
    portway.stop();
}

/// The checks of many nodes are far between; what a node's own clients meet tells it at once.
#[test]
fn a_connect_that_fails_tells_at_once() {
    let (port, admin, gone, b) = (Port::reserve(), Port::reserve(), Port::reserve(), Backend::named("b"));
    // A check every 200 s.
    let health = "health = { interval = \"200ms\", timeout = \"200ms\" }";
    let text = format!(
        "{HEAD}[admin]\nlisten = \"{}\"\n[fleet]\nreplicas = 1000\n[[route]]\nname = \"one\"\nlisten = \"{}\"\n\
         upstream = [\"{}\", \"{}\"]\nbalance = \"first\"\n{health}\n",
        admin.local(),
        port.local(),
        gone.local(),
        b.addr
    );
    let place = Place::with(&text);
    let portway = Portway::run(&place.file());
    let is_down = || {
        let asked = Command::new(PORTWAY).args(["upstreams", "--admin", &admin.local()]).output().unwrap();
        String::from_utf8(asked.stdout).unwrap().lines().any(|line| line.contains(" DOWN "))
    };
    assert!(!is_down());
    // Three in a row put an upstream down. None of the clients meets it.
    (0..3).for_each(|_| assert_eq!(reached(port.number), "b"));
    until("it is down", is_down);
    portway.stop();
}

#[test]
fn the_addresses_of_a_name_are_counted() {
    if lacks_root() {
        return;
    }
    let netns = Netns::new();
    netns.resolver("nameserver 127.0.0.1\n");
    let nodes = |count: u8| Says::Addrs((1..=count).map(|host| Ipv4Addr::new(10, 0, 0, host)).collect());
    let resolver = netns.enter(|| Resolver::start(&[("nodes.test", nodes(3))]));
    let text = format!(
        "{HEAD}[admin]\nlisten = \"127.0.0.1:9180\"\n[fleet]\nreplicas = \"nodes.test\"\n\
         [[route]]\nlisten = \"127.0.0.1:8080\"\nupstream = \"127.0.0.1:9000\"\n"
    );
    let place = Place::with(&text);
    let portway = Portway::start(netns.command(PORTWAY).arg("run").arg("--config").arg(place.file()));
    let counted = |count: &str| {
        let asked = netns.command("curl").args(["-s", "http://127.0.0.1:9180/metrics"]).output().unwrap();
        let metrics = String::from_utf8(asked.stdout).unwrap();
        metrics.lines().any(|line| line == format!("portway_fleet_nodes {count}"))
    };
    until("three are counted", || counted("3"));
    resolver.says("nodes.test", nodes(5));
    until("five are counted", || counted("5"));
    // Whoever does not answer has not gone.
    resolver.says("nodes.test", Says::ServFail);
    let asked = resolver.asked();
    until("it is asked again", || resolver.asked() > asked + 1);
    assert!(counted("5"));
    portway.stop();
}
