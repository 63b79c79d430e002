//! Readers that are slow, pause, or never read: nothing grows, nothing is lost, nobody who lives is cut (rule 4).

use std::time::Duration;

use crate::harness::peer::push_until_blocked;
use crate::harness::proxy::Plan;
use crate::harness::{End, Netns, Peer, Proxy, Upstream, lacks_root, pass, raise_descriptor_limit};
use crate::on;

/// Longer than a peer has that answers nothing, with `keepalive = "1s"`: 1 s, five times 1 s, and a look.
const LONGER_THAN_KEEPALIVE: Duration = Duration::from_secs(10);

on! { few_ways:
    fn a_reader_that_pauses_is_kept_while_the_writer_is_blocked(scene, "--set keepalive=1s") {
        let (mut client, mut server) = scene.connect();
        let pushed = client.push_until_blocked(u64::MAX);
        pass(LONGER_THAN_KEEPALIVE);
        assert!(!client.has_failed() && !server.has_failed(), "a paused reader was cut");
        client.fin();
        assert_eq!(server.receive_all(), End::Fin(pushed));
    }

    fn a_reader_that_pauses_is_kept_while_the_tail_waits_in_the_kernel(scene, "--set keepalive=1s") {
        scene.upstream.receives_little();
        let (mut client, mut server) = scene.connect();
        server.send(1);
        client.receive(1);
        // More than the reader's buffer, less than what the kernel takes on the way: nobody is blocked writing.
        client.send(60_000);
        client.fin();
        pass(LONGER_THAN_KEEPALIVE);
        assert!(!client.has_failed() && !server.has_failed(), "a paused reader was cut");
        assert_eq!(server.receive_all(), End::Fin(60_000));
    }
}

/// How much memory 500 connections may cost whose reader does not read: two buffers of 16 KiB each, and the task.
const PER_CONNECTION: u64 = 48 * 1024;
const CONNECTIONS: usize = 500;

#[test]
fn five_hundred_connections_whose_upstream_never_reads_take_bounded_memory() {
    never_reading(|plan| plan, PER_CONNECTION);
}

/// The beginning of a record beside them, and what TLS itself keeps.
#[test]
fn five_hundred_connections_over_tls_whose_upstream_never_reads_take_bounded_memory() {
    never_reading(|plan| plan.ending_tls(), PER_CONNECTION + 32 * 1024);
}

fn never_reading(with: impl FnOnce(Plan<'_>) -> Plan<'_>, per_connection: u64) {
    if lacks_root() {
        return;
    }
    raise_descriptor_limit();
    let netns = Netns::new();
    // Small buffers in the kernel, so that the test is about those of the proxy.
    netns.sysctl("ipv4/tcp_rmem", "4096 16384 32768");
    netns.sysctl("ipv4/tcp_wmem", "4096 16384 32768");
    let upstream = netns.enter(|| Upstream::at_ip("127.0.0.1:0"));
    let proxy = with(Proxy::in_front_of(&upstream.addr).inside(&netns)).start();
    let (mut clients, mut servers): (Vec<Peer>, Vec<Peer>) =
        netns.enter(|| (0..CONNECTIONS).map(|_| (proxy.connect(), upstream.accept())).unzip());

    let before = proxy.process.memory();
    let pushed = push_until_blocked(&mut clients.iter_mut().collect::<Vec<_>>(), 8 << 20);
    let grown = proxy.process.memory().saturating_sub(before);
    assert!(pushed.iter().all(|&n| n > 20_000 && n < 8 << 20), "not blocked: {pushed:?}");
    assert!(grown < per_connection * CONNECTIONS as u64, "grown by {} KiB", grown / 1024);

    for server in servers.iter_mut().take(5) {
        for _ in 0..50 {
            server.receive(1);
            pass(Duration::from_millis(1));
        }
    }
    for ((client, server), pushed) in clients.iter().zip(&mut servers).zip(pushed) {
        client.fin();
        assert_eq!(server.receive_all(), End::Fin(pushed));
    }
    drop((clients, servers));
    proxy.finish();
}
