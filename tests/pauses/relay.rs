//! Deadlines of connections that are relayed.

use std::time::Duration;

use rustix::process::Signal;

use super::{paused, paused_for};
use crate::harness::peer::push_until_blocked;
use crate::harness::{End, Peer, Proxy, Scene, Upstream, pass, until, upstream::Family};
use crate::on;

/// A connection on which a byte has just gone each way.
fn fresh(scene: &Scene) -> (Peer, Peer) {
    let (mut client, mut server) = scene.connect();
    client.send(1);
    server.receive(1);
    server.send(1);
    client.receive(1);
    (client, server)
}

on! { few_ways:
    fn r7_a_connection_whose_peers_have_spoken_is_neither_idle_nor_late(
        scene, "--set idle_timeout=3s", "--set half_close_timeout=3s"
    ) {
        let [mut asking, mut answering, mut half_closed, silent] = [(); 4].map(|()| fresh(scene));
        half_closed.0.fin();
        assert_eq!(half_closed.1.receive_all(), End::Fin(1));
        if let Some(proxy) = &scene.proxy {
            paused(proxy.process.0, || {
                asking.0.send(50_000);
                answering.1.send(50_000);
                half_closed.1.send(50_000);
            });
        } else {
            asking.0.send(50_000);
            answering.1.send(50_000);
            half_closed.1.send(50_000);
        }
        asking.1.receive(50_000);
        asking.1.send(10);
        asking.0.receive(10);
        answering.0.receive(50_000);
        answering.0.send(10);
        answering.1.receive(10);
        half_closed.1.fin();
        assert_eq!(half_closed.0.receive_all(), End::Fin(50_001));
        for (client, server) in [&mut asking, &mut answering] {
            client.end();
            server.end();
            assert!(matches!(client.receive_all(), End::Fin(_)));
            assert!(matches!(server.receive_all(), End::Fin(_)));
        }
        if scene.proxy.is_some() {
            silent.0.fails_within(Duration::from_secs(20));
            silent.1.fails_within(Duration::from_secs(20));
        }
    }
}

/// A proxy with an upstream, and one connection through it.
fn one(options: &str) -> (Proxy, Upstream, Peer, Peer) {
    let upstream = Upstream::on(Family::V4);
    let proxy = Proxy::in_front_of(&upstream.addr).with(&[options]).start();
    let (client, server) = (proxy.connect(), upstream.accept());
    (proxy, upstream, client, server)
}

#[test]
fn r7_a_slow_reader_that_goes_on_to_read_is_not_idle() {
    for relay in ["copy", "auto", "splice", "auto --set bandwidth=1GiB/s"] {
        let (proxy, _upstream, mut client, mut server) =
            one(&format!("--set idle_timeout=3s --set relay={relay}"));
        let pushed = push_until_blocked(&mut [&mut client], 1 << 30)[0];
        // The kernels hold less than all: the rest waits in the proxy, and behind it.
        let mut read = 0;
        paused(proxy.process.0, || {
            until("nothing is left between the two", || {
                let held = server.unread();
                server.receive(held);
                read += held;
                pass(Duration::from_millis(100));
                held == 0
            });
        });
        assert!(read > 0 && read < pushed, "{read} of {pushed}");
        client.fin();
        assert_eq!(server.receive_all(), End::Fin(pushed), "{relay}");
        server.fin();
        assert_eq!(client.receive_all(), End::Fin(0));
        drop((client, server));
        proxy.finish();
    }
}

#[test]
fn r7_a_connection_that_ends_while_its_age_runs_out_ends_by_itself() {
    let (proxy, _upstream, mut client, mut server) = one("--set max_age=1s --set drain_timeout=3s");
    server.send(1);
    client.receive(1);
    paused(proxy.process.0, || {
        server.send(50_000);
        server.fin();
        client.fin();
    });
    assert_eq!(client.receive_all(), End::Fin(50_001));
    assert_eq!(server.receive_all(), End::Fin(0));
    drop((client, server));
    proxy.finish();
}

#[test]
fn r7_a_pause_takes_nothing_of_the_drain_behind_a_greatest_age() {
    let (proxy, _upstream, mut client, mut server) = one("--set max_age=1s --set drain_timeout=3s");
    server.send(1);
    client.receive(1);
    // Longer than both together.
    paused_for(Duration::from_secs(6), proxy.process.0, || client.send(10));
    server.receive(10);
    server.send(50_000);
    server.fin();
    client.receive(50_000);
    client.fin();
    assert_eq!(server.receive_all(), End::Fin(10));
    drop((client, server));
    proxy.finish();
}

#[test]
fn r7_a_drain_waits_for_those_that_end_during_a_pause() {
    let (mut proxy, _upstream, mut client, mut server) = one("--set drain_timeout=3s");
    server.send(1);
    client.receive(1);
    proxy.signal(Signal::TERM);
    until("it drains", || proxy.log().iter().any(|line| line.contains("\"draining\"")));
    paused(proxy.process.0, || {
        server.send(50_000);
        server.fin();
    });
    // The answer to it comes some time after the pause.
    pass(Duration::from_millis(500));
    assert_eq!(client.receive_all(), End::Fin(50_001));
    client.send(10);
    client.fin();
    assert_eq!(server.receive_all(), End::Fin(10));
    assert!(proxy.ends_within(crate::harness::PATIENCE).success());
}
