//! `socket_buffers`: what the kernel holds for clients who do not read.

use std::process::Command;

use crate::harness::instance::*;
use crate::harness::upstream::Family;
use crate::harness::{Peer, Upstream, until};

/// The queues of a process's TCP connections: how large each may become, as the kernel tells it.
fn bounds(portway: &Portway) -> Vec<u64> {
    let shown = Command::new("ss").args(["-tmnpHO", "state", "established"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let own = format!("pid={},", portway.pid());
    let own = shown.lines().filter(|line| line.contains(&own));
    // skmem:(r0,rb131072,t0,tb46080,…): `rb` and `tb` are the bounds.
    own.flat_map(|line| {
        let (_, memory) = line.split_once("skmem:(").unwrap_or_else(|| panic!("{line}"));
        ["rb", "tb"].map(|key| {
            let value = memory.split(',').find_map(|part| part.strip_prefix(key)).unwrap();
            value.parse().unwrap()
        })
    })
    .collect()
}

fn text(port: &Port, upstream: &Upstream, buffers: &str) -> String {
    format!(
        "{HEAD}[[route]]\nname = \"app\"\nlisten = \"{}\"\nupstream = \"{}\"\nsocket_buffers = \"{buffers}\"\n",
        port.local(),
        upstream.addr
    )
}

/// A client who does not read, and a server that writes until nobody takes any more.
fn stuck(port: &Port, upstream: &Upstream) -> (Peer, Peer) {
    let to = format!("127.0.0.1:{}", port.number).parse().unwrap();
    let client = crate::harness::upstream::Addr::Ip(to).connect();
    let mut server = upstream.accept();
    server.push_until_blocked(u64::MAX);
    (client, server)
}

#[test]
fn a_client_who_never_reads_uses_no_more_than_the_file_says_and_an_edit_changes_that() {
    // The kernel doubles what it is told (socket(7)).
    const BOUND: u64 = 2 * 64 * 1024;
    let (port, upstream) = (Port::reserve(), Upstream::on(Family::V4));
    let place = Place::with(&text(&port, &upstream, "off"));
    let mut portway = Portway::run(&place.file());
    let free = stuck(&port, &upstream);
    assert!(bounds(&portway).iter().any(|bound| *bound > 2 * BOUND), "{:?}", bounds(&portway));
    drop(free);
    until("the first is gone", || bounds(&portway).is_empty());
    place.save(&text(&port, &upstream, "64 KiB"));
    portway.phase("reloaded");
    let bounded = stuck(&port, &upstream);
    assert_eq!(bounds(&portway), [BOUND; 4]);
    drop(bounded);
    until("the second is gone", || bounds(&portway).is_empty());
    // The kernel adapts them again.
    place.save(&text(&port, &upstream, "off"));
    portway.phase("reloaded");
    let free = stuck(&port, &upstream);
    assert!(bounds(&portway).iter().any(|bound| *bound > 2 * BOUND), "{:?}", bounds(&portway));
    drop(free);
    portway.stop();
}
