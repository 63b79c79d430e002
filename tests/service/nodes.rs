//! What becomes of three nodes, their clients and their limits when a node dies, is cut off, or starts while the store is away.
//! The routes come from etcd, the backends are beside it, and bird tells the router of the nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use socket2::SockRef;

use super::routed::*;
use crate::harness::fleet::{FleetNet, Running};
use crate::harness::instance::*;
use crate::harness::until;
use crate::store::signer::Signer;

const BACKENDS: [&str; 5] = ["a", "b", "c", "d", "e"];
const LIMIT: usize = 2;
/// Those that stay all the time, and those that come for a moment.
const STAY: Range<u32> = 20_000..20_090;
const ETCD: &str = "10.2.0.2:2379";
/// The longest pause before a store that did not answer is asked again (`state::pull`).
const ASKED_AGAIN: Duration = Duration::from_secs(60);

/// The network of the backends and of the store.
struct Behind {
    net: Netns,
    folder: tempfile::TempDir,
    signer: Signer,
    etcd: Option<Running>,
}

impl Behind {
    fn new(router: &Netns) -> Behind {
        let net = Netns::new();
        router.cable("behind", &net);
        router.ip("address add 10.2.0.1/24 dev behind");
        net.ip("address add 10.2.0.2/24 dev wire");
        net.ip("route add default via 10.2.0.1");
        for (name, port) in BACKENDS.into_iter().zip(3001..) {
            net.enter(|| backend(&format!("10.2.0.2:{port}"), name));
        }
        let folder = tempfile::tempdir().unwrap();
        let behind = Behind { net, folder, signer: Signer::new(1), etcd: None };
        std::fs::write(behind.folder.path().join("edge.pub"), behind.signer.public()).unwrap();
        behind
    }

    /// What the store has with a serial.
    fn text(serial: u16) -> String {
        let upstreams: Vec<String> =
            (3001..).take(BACKENDS.len()).map(|port| format!("\"10.2.0.2:{port}\"")).collect();
        format!(
            "{HEAD}[admin]\nlisten = \"127.0.0.1:9180\"\n[defaults]\ndrain_timeout = \"1s\"\n[[route]]\nname = \"web\"\nlisten = \"0.0.0.0:8080\"\n\
             upstream = [{}]\nbalance = \"source-hash\"\nmax_connections_per_client = {LIMIT}\n\
             [[route]]\nname = \"serial-{serial}\"\nlisten = \"{}\"\nupstream = \"10.2.0.2:3001\"\n",
            upstreams.join(", "),
            9000 + serial
        )
    }

    /// A node that takes its routes from the store, and has them on its disk already.
    fn node<'n>(&self, net: &'n Netns, number: usize) -> Node<'n> {
        let (url, name) = (format!("etcd://{ETCD}/edge"), format!("edge-{number}"));
        let key = self.folder.path().join("edge.pub");
        Node::start(
            net,
            number,
            &Behind::text(1),
            &["--from", &url, "--key", key.to_str().unwrap(), "--node", &name],
        )
    }

    fn store_starts(&mut self) {
        let (client, peer) = (format!("http://{ETCD}"), "http://127.0.0.1:2380");
        let mut command = self.net.command("etcd");
        command.arg("--data-dir").arg(self.folder.path().join("data"));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]);
        command.args(["--initial-cluster", &format!("default={peer}"), "--unsafe-no-fsync=true"]);
        self.etcd = Some(Running::start(command.current_dir(self.folder.path())));
        until("etcd starts", || self.control(&["endpoint", "health"]));
    }

    fn store_goes_away(&mut self) {
        self.etcd = None;
    }

    fn control(&self, args: &[&str]) -> bool {
        let mut command = self.net.command("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &format!("http://{ETCD}")]).args(args);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }

    /// Puts a text with this serial into the store.
    fn publish(&self, serial: u16) {
        let text = Behind::text(serial);
        assert!(self.control(&["put", "--", "edge", &text]));
        let signature = self.signer.sign(&text, &format!("serial={serial}"));
        assert!(self.control(&["put", "--", "edge.minisig", &signature]));
    }
}

/// Says a name, and the address that it sees, to whoever connects; then echoes. In the network of the thread.
fn backend(addr: &str, name: &'static str) {
    let listener = TcpListener::bind(addr).unwrap();
    SockRef::from(&listener).listen(LONG_QUEUE).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let SocketAddr::V4(node) = stream.peer_addr()? else { return Ok(0) };
                stream.write_all(format!("{name} {}\n", node.ip()).as_bytes())?;
                std::io::copy(&mut stream.try_clone()?, &mut stream)
            });
        }
    });
}

/// The backend that a connection came to, and its node.
fn both(flow: &Flow) -> (&str, usize) {
    let (backend, node) = flow.reached.split_once(' ').unwrap();
    (backend, node.split('.').nth(2).unwrap().parse().unwrap())
}

/// Each of these clients has as many connections as it may have, all through one node to one backend. Returns which.
fn exact(net: &FleetNet, clients: Range<u32>) -> Vec<(String, usize)> {
    net.clients.enter(|| {
        let one = |number: u32| {
            // On ports that the kernel picks: by both ends they would be shared out.
            let open: Vec<Flow> = (0..=LIMIT).filter_map(|_| visit(number).ok()).collect();
            assert_eq!(open.len(), LIMIT, "client {number} has {} connections", open.len());
            let reached: Vec<_> = open.iter().map(both).collect();
            assert!(reached.windows(2).all(|pair| pair[0] == pair[1]), "client {number}: {reached:?}");
            (reached[0].0.to_owned(), reached[0].1)
        };
        clients.map(one).collect()
    })
}

/// All of it.
struct Fleet<'n> {
    net: &'n FleetNet,
    router: Router<'n>,
    nodes: Vec<Node<'n>>,
    behind: Behind,
}

/// A test with three nodes that serve, and have serial 1 of the store.
fn with_fleet(test: impl FnOnce(&mut Fleet<'_>)) {
    if cannot_route() || lacks(&["etcd", "etcdctl", "nft"]) {
        return;
    }
    let net = &FleetNet::new();
    let mut behind = Behind::new(&net.router);
    behind.store_starts();
    behind.publish(1);
    let router = Router::start(&net.router);
    let nodes = net.nodes.iter().zip(1..).map(|(net, number)| behind.node(net, number)).collect();
    let mut fleet = Fleet { net, router, nodes, behind };
    for node in &mut fleet.nodes {
        assert_eq!(node.portway.phase("the file is written")["serial"], 1);
    }
    fleet.has(&[1, 2, 3]);
    test(&mut fleet);
    for mut node in fleet.nodes {
        node.portway.signal(Signal::TERM);
        node.portway.phase("stopped");
    }
}

impl Fleet<'_> {
    /// Waits until the router leads clients to these nodes.
    fn has(&self, nodes: &[usize]) {
        until(&format!("the router knows {nodes:?}"), || self.router.nodes() == nodes);
    }

    /// Node 1 is number 1.
    fn node(&mut self, number: usize) -> &mut Portway {
        &mut self.nodes[number - 1].portway
    }

    /// Something befalls these nodes: their connections are lost, and none of the others.
    fn loses(&mut self, nodes: &[usize], fault: impl FnOnce(&mut Self)) {
        let talkers = Talkers::of(self.net, STAY);
        fault(self);
        let flows = talkers.end();
        let mut count: BTreeMap<usize, usize> = BTreeMap::new();
        for (flow, lives) in &flows {
            let (_, node) = both(flow);
            *count.entry(node).or_default() += 1;
            assert_eq!(*lives, !nodes.contains(&node), "a connection of node {node}");
        }
        assert!(nodes.iter().all(|node| count.contains_key(node)) && count.len() > 1, "{count:?}");
    }

    /// Whatever their node, clients come to the backend that they came to before; and each of these nodes has some.
    fn keeps(&self, before: &[(String, usize)], nodes: &[usize]) {
        let now = exact(self.net, 0..1000);
        for (number, (before, now)) in before.iter().zip(&now).enumerate() {
            assert_eq!(before.0, now.0, "of client {number}");
        }
        assert_eq!(
            now.into_iter().map(|(_, node)| node).collect::<BTreeSet<_>>(),
            nodes.iter().copied().collect()
        );
    }
}

#[test]
fn limits_and_source_hash_are_exact_over_three_nodes_and_over_two_after_one_was_killed() {
    with_fleet(|fleet| {
        let before = exact(fleet.net, 0..10_000);
        let nodes: BTreeMap<usize, usize> = before.iter().fold(BTreeMap::new(), |mut count, (_, node)| {
            *count.entry(*node).or_default() += 1;
            count
        });
        assert!(nodes.len() == 3 && nodes.values().all(|count| *count > 2500), "{nodes:?}");
        fleet.loses(&[1], |fleet| {
            fleet.node(1).signal(Signal::KILL);
            fleet.has(&[2, 3]);
        });
        fleet.keeps(&before, &[2, 3]);
        fleet.loses(&[], |fleet| {
            fleet.nodes[0].starts_again();
            fleet.has(&[1, 2, 3]);
        });
        fleet.router.shares_out();
        fleet.keeps(&before, &[1, 2, 3]);
    });
}

#[test]
fn a_node_that_is_cut_off_loses_its_clients_to_the_others_and_comes_back() {
    with_fleet(|fleet| {
        let before = exact(fleet.net, 0..1000);
        fleet.loses(&[2], |fleet| {
            fleet.net.nodes[1].nft(
                "table inet cut { chain heard { type filter hook input priority 0; iifname wire drop; };
                 chain said { type filter hook output priority 0; oifname wire drop; }; }",
            );
            fleet.has(&[1, 3]);
        });
        fleet.keeps(&before, &[1, 3]);
        // The edit that it misses.
        fleet.behind.publish(2);
        for number in [1, 3] {
            assert_eq!(fleet.node(number).phase("the file is written")["serial"], 2);
        }
        fleet.loses(&[], |fleet| {
            fleet.net.nodes[1].nft("delete table inet cut");
            fleet.has(&[1, 2, 3]);
        });
        assert_eq!(fleet.node(2).phase_after(ASKED_AGAIN, "the file is written")["serial"], 2);
        fleet.router.shares_out();
        fleet.keeps(&before, &[1, 2, 3]);
    });
}

#[test]
fn a_node_that_starts_while_the_store_is_away_serves_what_it_served() {
    with_fleet(|fleet| {
        let before = exact(fleet.net, 0..1000);
        fleet.loses(&[], |fleet| {
            fleet.behind.store_goes_away();
            (1..=3).for_each(|number| drop(fleet.node(number).phase("the store does not answer")));
        });
        fleet.loses(&[3], |fleet| {
            fleet.node(3).signal(Signal::KILL);
            fleet.has(&[1, 2]);
        });
        fleet.loses(&[], |fleet| {
            fleet.nodes[2].starts_again();
            fleet.node(3).phase("the store does not answer");
            fleet.has(&[1, 2, 3]);
        });
        fleet.router.shares_out();
        fleet.keeps(&before, &[1, 2, 3]);
        // It comes back, with an edit.
        fleet.loses(&[], |fleet| {
            fleet.behind.store_starts();
            fleet.behind.publish(2);
            for number in 1..=3 {
                assert_eq!(fleet.node(number).phase_after(ASKED_AGAIN, "the file is written")["serial"], 2);
                fleet.node(number).phase("reloaded");
            }
        });
        fleet.keeps(&before, &[1, 2, 3]);
    });
}
