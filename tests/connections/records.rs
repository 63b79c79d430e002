//! Every connection ends with one outcome, with whom to blame, and with its bytes to the byte.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::proc::LISTEN;
use crate::harness::{End, Peer, Proxy, Upstream, until, upstream::Family};

/// A proxy in front of an upstream, and a connection on which 1,000 bytes went up and 2,000 down.
fn after_some_bytes(options: &str) -> (Proxy, Peer, Peer) {
    let upstream = Upstream::on(Family::V4);
    let proxy = Proxy::in_front_of(&upstream.addr).with(&[options]).start();
    let (mut client, mut server) = (proxy.connect(), upstream.accept());
    client.send(1000);
    server.receive(1000);
    server.send(2000);
    client.receive(2000);
    (proxy, client, server)
}

#[track_caller]
fn says(proxy: &Proxy, outcome: &str, blame: &str) {
    let record = proxy.record(0);
    assert_eq!((&record["outcome"], &record["blame"]), (&outcome.into(), &blame.into()), "{record}");
    assert_eq!((&record["up"], &record["down"]), (&1000.into(), &2000.into()), "{record}");
    assert_eq!(record["path"], "buffer", "{record}");
}

#[test]
fn whoever_sends_fin_first_has_closed() {
    let (proxy, mut client, mut server) = after_some_bytes("--set relay=auto");
    client.fin();
    assert_eq!(server.receive_all(), End::Fin(1000));
    server.fin();
    assert_eq!(client.receive_all(), End::Fin(2000));
    says(&proxy, "client-closed", "client");
    proxy.finish();

    let (proxy, mut client, mut server) = after_some_bytes("--set relay=auto");
    server.fin();
    assert_eq!(client.receive_all(), End::Fin(2000));
    client.fin();
    assert_eq!(server.receive_all(), End::Fin(1000));
    says(&proxy, "upstream-closed", "upstream");
    proxy.finish();
}

#[test]
fn whoever_resets_has_reset() {
    let (proxy, client, mut server) = after_some_bytes("--set relay=auto");
    client.reset();
    assert_eq!(server.receive_all(), End::Reset(1000));
    says(&proxy, "client-reset", "client");
    proxy.finish();

    let (proxy, mut client, server) = after_some_bytes("--set relay=auto");
    server.reset();
    assert_eq!(client.receive_all(), End::Reset(2000));
    says(&proxy, "upstream-reset", "upstream");
    proxy.finish();
}

#[test]
fn a_timeout_is_the_operators() {
    let (proxy, mut client, _server) = after_some_bytes("--idle-timeout 1s");
    assert_eq!(client.receive_all(), End::Reset(2000));
    says(&proxy, "idle", "operator");
    proxy.finish();

    let (proxy, mut client, mut server) = after_some_bytes("--set half_close_timeout=1s");
    client.fin();
    assert_eq!(server.receive_all(), End::Fin(1000));
    assert_eq!(client.receive_all(), End::Reset(2000));
    says(&proxy, "half-close-timeout", "operator");
    proxy.finish();
}

#[test]
fn a_connection_that_reaches_its_age_is_drained() {
    let began = Instant::now();
    let (proxy, mut client, _server) = after_some_bytes("--set max_age=2s --set drain_timeout=1s");
    assert_eq!(client.receive_all(), End::Reset(2000));
    assert!(began.elapsed() >= Duration::from_millis(1_800 + 900), "{:?}", began.elapsed());
    says(&proxy, "drained", "operator");
    proxy.finish();

    // One that ends within the drain ends as ever.
    let (proxy, mut client, server) = after_some_bytes("--set max_age=1ms --set drain_timeout=1h");
    client.fin();
    server.fin();
    assert_eq!(client.receive_all(), End::Fin(2000));
    says(&proxy, "client-closed", "client");
    proxy.finish();
}

#[test]
fn connections_that_began_together_do_not_end_together() {
    let upstream = Upstream::on(Family::V4);
    let proxy =
        Proxy::in_front_of(&upstream.addr).with(&["--set max_age=10s --set drain_timeout=0s"]).start();
    let pairs: Vec<_> = (0..40).map(|_| (proxy.connect(), upstream.accept())).collect();
    for (client, server) in pairs {
        let mut client = client;
        assert_eq!(client.receive_all(), End::Reset(0));
        drop(server);
    }
    let ages: Vec<u64> = (0..40).map(|n| proxy.record(n)["duration_ms"].as_f64().unwrap() as u64).collect();
    let (least, most) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
    assert!(*least >= 9_000 && most - least > 500, "{ages:?}");
    proxy.finish();
}

#[test]
fn a_client_that_is_forgotten_after_its_fin_is_the_clients_doing() {
    let (proxy, client, mut server) = after_some_bytes("--set keepalive=1s");
    client.forgotten_after_a_second();
    client.fin();
    assert_eq!(server.receive_all(), End::Fin(1000));
    drop(client);
    assert_eq!(proxy.record(0)["blame"], "client");
    proxy.finish();
}

#[test]
fn a_stop_says_drained_and_a_second_signal_killed() {
    let (mut proxy, _client, _server) = after_some_bytes("--set drain_timeout=0s");
    proxy.signal(Signal::TERM);
    assert!(proxy.ends_within(crate::harness::PATIENCE).success());
    says(&proxy, "drained", "operator");

    let (mut proxy, _client, _server) = after_some_bytes("--set drain_timeout=1h");
    proxy.signal(Signal::TERM);
    until("it drains", || proxy.process.count(LISTEN) == 0);
    proxy.signal(Signal::TERM);
    assert!(proxy.ends_within(crate::harness::PATIENCE).success());
    says(&proxy, "killed", "operator");
}

#[test]
fn a_failed_connect_names_what_was_tried() {
    let proxy = Proxy::leading_to(&["unix:/nonexistent/one", "unix:/nonexistent/two"]).start();
    drop(proxy.addr.try_connect());
    let record = proxy.record(0);
    assert_eq!(record["outcome"], "connect-failed");
    assert_eq!((&record["up"], &record["down"], &record["path"]), (&0.into(), &0.into(), &"none".into()));
    let text = record.to_string();
    assert!(text.contains("/nonexistent/one") && text.contains("/nonexistent/two"), "{text}");
    proxy.finish();
}

#[test]
fn a_client_of_a_dual_stack_listener_is_shown_as_plain_ipv4() {
    let upstream = Upstream::on(Family::V4);
    let proxy = Proxy::in_front_of(&upstream.addr).listening_at("PORT").start();
    let (client, _server) = (proxy.connect(), upstream.accept());
    client.reset();
    let shown = proxy.record(0)["client"].to_string();
    assert!(shown.starts_with("\"127.0.0.1:"), "{shown}");
    proxy.finish();
}
