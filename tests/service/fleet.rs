//! `deploy/fleet`: what it has for keepalived, run by that program, each node in a network of its own.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::harness::fleet::{Running, shipped};
use crate::harness::instance::*;
use crate::harness::{lacks, lacks_root, until};

const LISTEN: u16 = 8080;
/// The address that clients know.
const SERVICE: &str = "192.0.2.10";

/// A node with its backend: Portway, and the folder for what runs beside it.
struct Node<'n> {
    net: &'n Netns,
    place: Place,
    portway: Portway,
}

impl<'n> Node<'n> {
    fn start(net: &'n Netns) -> Node<'n> {
        let backend = net.enter(|| Backend::named("served"));
        // As deploy/fleet/README.md says, but for the time.
        let text = format!(
            "{HEAD}[admin]\nlisten = \"127.0.0.1:9180\"\n[defaults]\ndrain_delay = \"1h\"\n{}",
            route("web", &format!("0.0.0.0:{LISTEN}"), &backend, "")
        );
        let place = Place::with(&text);
        let mut command = net.command(PORTWAY);
        let portway = Portway::start(command.arg("run").arg("--config").arg(place.file()));
        Node { net, place, portway }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.root().join(name)
    }

    /// Whether this node has the address.
    fn has(&self, address: &str) -> bool {
        let shown = self.net.command("ip").args(["-o", "-4", "address", "show"]).output().unwrap();
        String::from_utf8_lossy(&shown.stdout).contains(&format!("inet {address}/"))
    }
}

/// Whether a client that is in this network is served at an address.
fn is_served(net: &Netns, address: &str) -> bool {
    let reached =
        net.enter(|| Flow::greeted(TcpStream::connect((address, LISTEN))?).map(|flow| flow.reached));
    reached.is_ok_and(|reached| reached == "served")
}

#[test]
fn keepalived_moves_the_address_before_the_sockets_close() {
    if lacks_root() || lacks(&["keepalived"]) {
        return;
    }
    let (one, two) = Netns::pair();
    let mut nodes = [Node::start(&one), Node::start(&two)];
    let keepalived = |node: &Node<'_>, priority: &str| {
        let script = format!("{PORTWAY} status --ready --admin 127.0.0.1:9180");
        let changes = [
            ("/usr/bin/portway status --ready", &*script),
            ("user portway", "user root"),
            ("interface eth0", "interface wire"),
            ("priority 100", priority),
            ("192.0.2.10/24", "192.0.2.10/32"),
        ];
        fs::write(node.path("keepalived.conf"), shipped("keepalived.conf", &changes)).unwrap();
        let mut command = node.net.command("keepalived");
        command.args(["--dont-fork", "--vrrp", "--use-file"]).arg(node.path("keepalived.conf"));
        command.arg("--pid").arg(node.path("keepalived.pid")).arg("--vrrp_pid").arg(node.path("vrrp.pid"));
        Running::start(&mut command)
    };
    let _first = keepalived(&nodes[0], "priority 100");
    until("the first node has the address", || nodes[0].has(SERVICE));
    let _second = keepalived(&nodes[1], "priority 90");
    two.ip(&format!("route add {SERVICE}/32 dev wire"));
    assert!(is_served(&two, SERVICE) && !nodes[1].has(SERVICE));
    nodes[0].portway.signal(Signal::TERM);
    nodes[0].portway.phase("no longer ready");
    until("the second node has the address", || nodes[1].has(SERVICE) && !nodes[0].has(SERVICE));
    // Nobody was turned away meanwhile: the first node still serves.
    assert!(is_served(&two, "10.99.0.1") && is_served(&one, "10.99.0.1"));
    assert!(is_served(&two, SERVICE));
    nodes[0].portway.signal(Signal::TERM);
    nodes[0].portway.phase("stopped");
    let [first, second] = nodes;
    drop(first);
    second.portway.signal(Signal::KILL);
}
