//! Stop signals: no new connections at once, time for the open ones, then a reset.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::proc::LISTEN;
use crate::harness::{End, PATIENCE, Peer, Proxy, Upstream, until, upstream::Family};

/// A proxy with one open connection, after a first signal; it refuses new connections already.
fn stopping(signal: Signal, family: Family, options: &str) -> (Proxy, Peer, Peer) {
    let upstream = Upstream::on(Family::V4);
    let proxy = Proxy::in_front_of(&upstream.addr).listening_on(family).with(&[options]).start();
    let (mut client, mut server) = (proxy.connect(), upstream.accept());
    client.send(100);
    server.receive(100);
    proxy.signal(signal);
    until("new connections are refused", || proxy.addr.try_connect().is_err());
    assert_eq!(proxy.process.count(LISTEN), 0);
    (proxy, client, server)
}

#[test]
fn a_signal_closes_the_listener_and_lets_connections_finish() {
    for signal in [Signal::TERM, Signal::INT] {
        for family in [Family::V4, Family::V6, Family::Unix] {
            let (mut proxy, mut client, mut server) = stopping(signal, family, "--set drain_timeout=1m");
            server.send(50_000);
            client.receive(50_000);
            client.fin();
            assert_eq!(server.receive_all(), End::Fin(100));
            server.send(50_000);
            server.fin();
            assert_eq!(client.receive_all(), End::Fin(100_000));
            assert!(proxy.ends_within(PATIENCE).success());
            proxy.finish();
        }
    }
}

#[test]
fn what_is_open_after_drain_timeout_is_reset() {
    let begun = Instant::now();
    let (mut proxy, mut client, mut server) = stopping(Signal::TERM, Family::V4, "--set drain_timeout=1s");
    assert!(proxy.ends_within(PATIENCE).success());
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(client.receive_all(), End::Reset(0));
    assert_eq!(server.receive_all(), End::Reset(100));
    proxy.finish();
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (first, second) in
        [(Signal::TERM, Signal::TERM), (Signal::TERM, Signal::INT), (Signal::INT, Signal::INT)]
    {
        let (mut proxy, mut client, mut server) = stopping(first, Family::V4, "--set drain_timeout=1h");
        proxy.signal(second);
        assert!(proxy.ends_within(PATIENCE).success());
        assert_eq!(client.receive_all(), End::Reset(0));
        assert_eq!(server.receive_all(), End::Reset(100));
        proxy.finish();
    }
}

#[test]
fn a_drain_timeout_of_nothing_resets_at_once() {
    let upstream = Upstream::on(Family::V4);
    let mut proxy = Proxy::in_front_of(&upstream.addr).with(&["--set drain_timeout=0s"]).start();
    let (mut client, mut server) = (proxy.connect(), upstream.accept());
    proxy.signal(Signal::TERM);
    assert!(proxy.ends_within(PATIENCE).success());
    assert_eq!(client.receive_all(), End::Reset(0));
    assert_eq!(server.receive_all(), End::Reset(0));
    proxy.finish();
}

#[test]
fn a_client_that_waits_for_its_upstream_is_reset_with_the_others() {
    let (deaf, _filler) = Upstream::deaf(Family::V4);
    let plan = Proxy::in_front_of(&deaf.addr).with(&["--connect-timeout 1m", "--set drain_timeout=1s"]);
    let mut proxy = plan.start();
    let mut client = proxy.connect();
    until("the proxy dials", || proxy.process.count(crate::harness::proc::SYN_SENT) == 1);
    proxy.signal(Signal::TERM);
    assert!(proxy.ends_within(PATIENCE).success());
    assert_eq!(client.receive_all(), End::Reset(0));
    proxy.finish();
}
