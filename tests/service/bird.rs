//! `deploy/fleet`: what it has for bird, run by that program: three nodes, a router, and clients that come all the time.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;

use super::routed::*;
use crate::harness::fleet::{FleetNet, shipped};
use crate::harness::instance::*;
use crate::harness::until;

/// A node in front of a backend of its own, which says its name. As deploy/fleet/README.md says, but for the time.
fn start(net: &Netns, number: usize) -> Node<'_> {
    let backend = net.enter(|| Backend::named(&format!("node {number}")));
    let text = format!(
        "{HEAD}[admin]\nlisten = \"127.0.0.1:9180\"\n[defaults]\ndrain_delay = \"1h\"\n{}",
        route("web", "0.0.0.0:8080", &backend, "")
    );
    Node::start(net, number, &text, &[])
}

#[test]
fn a_node_that_stops_has_no_route_before_its_sockets_close_and_one_again_afterwards() {
    if cannot_route() {
        return;
    }
    let net = Arc::new(FleetNet::new());
    let router = Router::start(&net.router);
    let mut nodes: Vec<Node<'_>> =
        net.nodes.iter().zip(1..).map(|(net, number)| start(net, number)).collect();
    until("the router knows three nodes", || router.nodes() == [1, 2, 3]);
    let (talkers, comers) = (Talkers::of(&net, 0..60), Comers::of(&net, 100..160));
    comers.come(100);

    // Not the one in the middle: without a resilient group a quarter of the others' clients would move.
    nodes[0].portway.signal(Signal::TERM);
    nodes[0].portway.phase("no longer ready");
    until("the router knows two nodes", || router.nodes() == [2, 3]);
    assert!(serves(&net, 1), "its sockets are closed");
    comers.come(100);
    nodes[0].portway.signal(Signal::TERM);
    nodes[0].portway.phase("draining");
    assert!(!serves(&net, 1));
    comers.come(100);
    // Those whose clients have moved to another node end by the router's doing: nobody speaks with this one any more.
    nodes[0].portway.signal(Signal::TERM);
    nodes[0].portway.phase("stopped");
    comers.come(100);

    nodes[0].starts_again();
    until("the router knows three nodes again", || router.nodes() == [1, 2, 3]);
    let came = comers.end();
    assert_eq!(came.refused, 0, "{came:?}");
    assert!(came.lost.len() <= 1, "more than who was on the way: {came:?}");
    let flows = talkers.end();
    let of = |name: &str| flows.iter().filter(|(flow, _)| flow.reached == name).count();
    assert!(of("node 1") > 0 && of("node 2") > 0 && of("node 3") > 0);
    for (flow, lives) in &flows {
        assert_eq!(*lives, flow.reached != "node 1", "of {}", flow.reached);
    }
    drop(flows);
    router.shares_out();
    let reached = |number| visit(number).unwrap().reached;
    assert!(net.clients.enter(|| (200..300).map(reached).any(|name| name == "node 1")));
    for node in nodes {
        node.portway.signal(Signal::KILL);
    }
}

#[test]
fn the_unit_is_right() {
    if lacks(&["systemd-analyze", "birdc"]) {
        return;
    }
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/fleet");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portway-announce.service");
    // `verify` looks for the program.
    let script = deploy.join("portway-announce").display().to_string();
    fs::write(
        &path,
        shipped(
            "portway-announce.service",
            &[("ExecStart=/usr/local/sbin/portway-announce", &format!("ExecStart={script}"))],
        ),
    )
    .unwrap();
    let analyze = |args: &[&str]| {
        let output = Command::new("systemd-analyze").args(args).arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() && said.is_empty(),
            "{said}{}",
            String::from_utf8_lossy(&output.stdout)
        );
    };
    analyze(&["verify", "--man=no", "--recursive-errors=no"]);
    analyze(&["security", "--offline=true", "--threshold=17"]);
}
