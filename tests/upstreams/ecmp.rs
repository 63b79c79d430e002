//! Three nodes behind a router that shares clients out by their source address (ECMP, deploy/fleet/README.md): limits per client and
//! `source-hash` are exact over all of them, without a message between nodes.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};

use super::server::Server;
use crate::harness::fleet::{FleetNet, SERVICE, client, connect};
use crate::harness::instance::*;
use crate::harness::netns::Netns;

const CLIENTS: u32 = 10_000;
const LIMIT: usize = 2;
const AT_A_TIME: usize = 20;
const BACKENDS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A connection of a client. `None`: it is turned away. Otherwise the name of its backend, and the connection.
fn open(from: Ipv4Addr) -> Option<(u8, TcpStream)> {
    let mut stream = connect(from).ok()?;
    let mut name = [0];
    stream.read_exact(&mut name).ok()?;
    Some((name[0], stream))
}

/// Which nodes the router knows.
fn routes(net: &FleetNet, what: &str, nodes: &[u8]) {
    let hops: Vec<String> = nodes.iter().map(|node| format!("nexthop via 10.1.{node}.2")).collect();
    net.router.ip(&format!("route {what} 192.0.2.10/32 {}", hops.join(" ")));
}

#[test]
fn limits_per_client_and_source_hash_are_exact_over_three_nodes() {
    if lacks_root() {
        return;
    }
    let fleet = FleetNet::new();
    routes(&fleet, "add", &[1, 2, 3]);
    let start = |net: &Netns| {
        let at = |(number, name): (usize, &&'static str)| {
            net.enter(|| Server::at(name, &format!("127.0.0.{}:3000", number + 1)))
        };
        let servers: Vec<Server> = BACKENDS.iter().enumerate().map(at).collect();
        let upstreams: Vec<String> = servers.iter().map(|server| format!("\"{}\"", server.addr())).collect();
        let place = Place::with(&format!(
            "{HEAD}[[route]]\nlisten = \"{SERVICE}\"\nupstream = [{}]\nbalance = \"source-hash\"\nmax_connections_per_client = {LIMIT}\n",
            upstreams.join(", ")
        ));
        let portway = Portway::start(net.command(PORTWAY).arg("run").arg("--config").arg(place.file()));
        (servers, place, portway)
    };
    let running: Vec<_> = fleet.nodes.iter().map(start).collect();
    // Each client tries one more than it may have, on ports that the kernel picks: by both ends they would be shared out.
    let visit = |clients: std::ops::Range<u32>| {
        fleet.clients.enter(|| {
            let one = |number: u32| {
                let open: Vec<(u8, TcpStream)> = (0..=LIMIT).filter_map(|_| open(client(number))).collect();
                assert_eq!(open.len(), LIMIT, "client {number} has {} connections", open.len());
                let backends: Vec<u8> = open.iter().map(|(backend, _)| *backend).collect();
                assert!(backends.windows(2).all(|pair| pair[0] == pair[1]), "client {number}: {backends:?}");
                backends[0]
            };
            // Several at a time: on a busy machine each of them waits for the processor most of the time.
            let clients: Vec<u32> = clients.collect();
            std::thread::scope(|scope| {
                let some = |clients: &[u32]| clients.iter().map(|number| one(*number)).collect::<Vec<u8>>();
                let parts = clients.chunks(clients.len().div_ceil(AT_A_TIME));
                let threads: Vec<_> = parts.map(|clients| scope.spawn(move || some(clients))).collect();
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<u8>>()
            })
        })
    };
    let chosen = visit(0..CLIENTS);
    let mut shares: BTreeMap<u8, usize> = BTreeMap::new();
    chosen.iter().for_each(|backend| *shares.entry(*backend).or_default() += 1);
    assert_eq!(shares.len(), BACKENDS.len(), "{shares:?}");
    // Whichever node serves a client, its upstream is the same.
    for nodes in [&[1_u8][..], &[2, 3]] {
        routes(&fleet, "replace", nodes);
        assert_eq!(visit(0..1000), chosen[..1000], "by {nodes:?}");
    }
    for (servers, _place, portway) in running {
        servers.iter().for_each(Server::end_connections);
        portway.stop();
    }
}
