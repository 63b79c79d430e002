//! FIN is passed on per direction, after the data before it; the other direction goes on (rule 1).

use std::time::{Duration, Instant};

use crate::harness::{Chunk, End, PATIENCE, Peer, Proxy, Upstream, pass, upstream::Family};
use crate::on;

const MIB: u64 = 1024 * 1024;

/// Enough to fill every buffer on the way, small enough to be repeated.
const SOME: u64 = 300_000;

on! { every_way:
    fn the_client_ends_and_the_server_answers_after_it(scene) {
        for chunk in Chunk::ALL {
            let (mut client, mut server) = scene.connect();
            (client.chunk, server.chunk) = (chunk, chunk);
            let n = chunk.total(SOME);
            std::thread::scope(|both| {
                both.spawn(|| { client.send(n); client.fin(); assert_eq!(client.receive_all(), End::Fin(n)) });
                both.spawn(|| { assert_eq!(server.receive_all(), End::Fin(n)); server.send(n); server.fin(); });
            });
        }
    }

    fn the_server_ends_and_the_client_sends_after_it(scene) {
        for chunk in Chunk::ALL {
            let (mut client, mut server) = scene.connect();
            (client.chunk, server.chunk) = (chunk, chunk);
            let n = chunk.total(SOME);
            std::thread::scope(|both| {
                both.spawn(|| { server.send(n); server.fin(); assert_eq!(server.receive_all(), End::Fin(n)) });
                both.spawn(|| { assert_eq!(client.receive_all(), End::Fin(n)); client.send(n); client.fin(); });
            });
        }
    }

    fn both_stream_at_once_and_end_at_once(scene) {
        for chunk in Chunk::ALL {
            let (mut client, mut server) = scene.connect();
            (client.chunk, server.chunk) = (chunk, chunk);
            let n = chunk.total(SOME);
            let (mut to_server, mut to_client) = (client.twin(), server.twin());
            std::thread::scope(|all| {
                all.spawn(|| { to_server.send(n); to_server.fin(); });
                all.spawn(|| { to_client.send(n); to_client.fin(); });
                all.spawn(|| assert_eq!(server.receive_all(), End::Fin(n)));
                all.spawn(|| assert_eq!(client.receive_all(), End::Fin(n)));
            });
        }
    }

    fn both_end_at_once_without_a_byte(scene) {
        for _ in 0..50 {
            let (mut client, mut server) = scene.connect();
            std::thread::scope(|both| {
                both.spawn(|| { client.fin(); assert_eq!(client.receive_all(), End::Fin(0)) });
                both.spawn(|| { server.fin(); assert_eq!(server.receive_all(), End::Fin(0)) });
            });
        }
    }

    fn a_fin_may_ride_on_the_last_data(scene) {
        for n in [1, 1000, 20_000] {
            let (mut client, mut server) = scene.connect();
            client.send_with_fin(n);
            assert_eq!(server.receive_all(), End::Fin(n as u64));
            server.send_with_fin(n);
            assert_eq!(client.receive_all(), End::Fin(n as u64));
        }
    }
}

on! { few_ways:
    fn sixty_four_mebibytes_follow_a_fin(scene) {
        let (mut client, mut server) = scene.connect();
        client.fin();
        assert_eq!(server.receive_all(), End::Fin(0));
        std::thread::scope(|both| {
            both.spawn(|| { server.send(64 * MIB); server.fin(); });
            both.spawn(|| assert_eq!(client.receive_all(), End::Fin(64 * MIB)));
        });
    }

    fn a_half_closed_peer_that_lives_is_kept(scene, "--set keepalive=1s") {
        let (mut client, mut server) = scene.connect();
        server.keepalive();
        client.send(5);
        client.fin();
        assert_eq!(server.receive_all(), End::Fin(5));
        // More than a peer that does not answer its probes has: 1 s, and five times 1 s.
        pass(Duration::from_secs(7));
        assert!(!server.has_failed() && client.has_nothing());
        server.send(50_000);
        server.fin();
        assert_eq!(client.receive_all(), End::Fin(50_000));
    }

    fn a_half_closed_peer_that_is_gone_is_found_while_the_other_is_silent(scene, "--set keepalive=1s") {
        let (client, mut server) = scene.connect();
        server.keepalive();
        client.forgotten_after_a_second();
        client.fin();
        assert_eq!(server.receive_all(), End::Fin(0));
        drop(client);
        // A Unix socket tells of it at once when no proxy is between; neither is a wait without an end.
        server.fails_within(Duration::from_secs(12));
    }
}

on! { tcp_ways:
    fn a_half_closed_peer_that_resets_is_found_while_the_other_is_silent(scene) {
        let (client, mut server) = scene.connect();
        client.fin();
        assert_eq!(server.receive_all(), End::Fin(0));
        client.reset();
        server.fails_within(PATIENCE);
    }
}

/// What a proxy with these options and this script leaves after how long.
fn in_front(options: &str) -> (Upstream, Proxy) {
    let upstream = Upstream::on(Family::V4);
    let proxy = Proxy::in_front_of(&upstream.addr).with(&[options]).start();
    (upstream, proxy)
}

/// A timeout, and a step towards it: two in a row are beyond it.
const TIMEOUT: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(1200);

/// Tries until one says something. A machine that is late may make a pause that is longer than the timeout: then a cut is
/// right, and the try says nothing.
fn conclusive(mut attempt: impl FnMut() -> Option<()>) {
    assert!((0..10).any(|_| attempt().is_some()), "ten tries were late: this machine, or the timer");
}

/// Sends a byte through the proxy after a pause. `last`: when the byte before it was sent, at the earliest; becomes that of
/// this one. `None`: for all that the proxy could see, the timeout was over.
fn byte_after_a_pause(from: &mut Peer, to: &mut Peer, last: &mut Instant) -> Option<()> {
    pass(STEP);
    let now = Instant::now();
    from.send_if_taken(1);
    let came = to.receives_one();
    let seen = last.elapsed();
    *last = now;
    if seen >= TIMEOUT {
        return None;
    }
    assert!(came, "cut after {seen:?} at most, of {TIMEOUT:?}");
    Some(())
}

/// Waits until it is cut: no earlier than the timeout after the last byte. `None`: so late that it might have been armed twice.
fn cut_in_time(peer: &Peer, last: Instant) -> Option<()> {
    peer.fails_within(PATIENCE);
    let silent = last.elapsed();
    // The clock of timers has milliseconds.
    assert!(silent >= TIMEOUT - Duration::from_millis(2), "cut after {silent:?}");
    (silent < 2 * TIMEOUT).then_some(())
}

#[test]
fn half_close_timeout_is_armed_at_the_first_fin_and_again_by_every_byte() {
    let (upstream, proxy) = in_front("--set half_close_timeout=2s");
    conclusive(|| {
        let (mut client, mut server) = (proxy.connect(), upstream.accept());
        client.send(1);
        server.receive(1);
        // No FIN yet: silence is allowed.
        pass(TIMEOUT + STEP);
        assert!(!client.has_failed() && !server.has_failed());
        let mut last = Instant::now();
        client.fin();
        assert_eq!(server.receive_all(), End::Fin(1));
        for _ in 0..3 {
            byte_after_a_pause(&mut server, &mut client, &mut last)?;
        }
        let cut = cut_in_time(&server, last);
        assert_eq!(client.receive_all(), End::Reset(3));
        cut
    });
    proxy.finish();
}

#[test]
fn idle_timeout_is_armed_again_by_every_byte_of_either_side() {
    let (upstream, proxy) = in_front("--idle-timeout 2s");
    conclusive(|| {
        let mut last = Instant::now();
        let (mut client, mut server) = (proxy.connect(), upstream.accept());
        for _ in 0..2 {
            byte_after_a_pause(&mut server, &mut client, &mut last)?;
            byte_after_a_pause(&mut client, &mut server, &mut last)?;
        }
        let cut = cut_in_time(&server, last);
        assert_eq!(client.receive_all(), End::Reset(2));
        cut
    });
    proxy.finish();
}
