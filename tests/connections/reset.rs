//! A reset is passed on as a reset, after what was read before it (rule 2), and noticed at once (rule 3).

use std::time::Duration;

use crate::harness::{Chunk, End, PATIENCE, Peer, Scene, pass, until};
use crate::on;

/// Less than any receive buffer: all of it can be delivered before the reset.
const READ: u64 = 50_000;

/// `sender` sends and resets; `receiver` gets every byte, and then the reset.
fn data_then_reset(mut sender: Peer, mut receiver: Peer, chunk: Chunk, before_reset: Duration) {
    let n = chunk.total(READ);
    sender.chunk = chunk;
    std::thread::scope(|both| {
        both.spawn(|| {
            sender.send(n);
            // A reset throws away what its own kernel has not sent: also without a proxy.
            until("all is sent", || sender.unacknowledged() == 0);
            pass(before_reset);
            sender.reset();
        });
        both.spawn(|| assert_eq!(receiver.receive_all(), End::Reset(n)));
    });
}

fn each_chunk(scene: &Scene, pause: Duration, order: impl Fn((Peer, Peer)) -> (Peer, Peer)) {
    for chunk in Chunk::ALL {
        for _ in 0..5 {
            let (sender, receiver) = order(scene.connect());
            data_then_reset(sender, receiver, chunk, pause);
        }
    }
}

on! { tcp_ways:
    fn the_client_sends_and_resets_at_once(scene) {
        each_chunk(scene, Duration::ZERO, |(client, server)| (client, server));
    }

    fn the_server_sends_and_resets_at_once(scene) {
        each_chunk(scene, Duration::ZERO, |(client, server)| (server, client));
    }

    fn the_server_sends_and_resets_a_little_later(scene) {
        for _ in 0..3 {
            let (client, server) = scene.connect();
            data_then_reset(server, client, Chunk::Of(65_536), Duration::from_millis(200));
        }
    }

    fn the_server_resets_while_the_client_reads_slowly(scene) {
        let (mut client, mut server) = scene.connect();
        server.send(READ);
        until("all is sent", || server.unacknowledged() == 0);
        server.reset();
        assert_eq!(client.receive_slowly(500, Duration::from_millis(5)), End::Reset(READ));
    }

    fn the_client_resets_while_the_server_reads_slowly(scene) {
        let (mut client, mut server) = scene.connect();
        client.send(READ);
        until("all is sent", || client.unacknowledged() == 0);
        client.reset();
        assert_eq!(server.receive_slowly(500, Duration::from_millis(5)), End::Reset(READ));
    }

    fn a_reset_after_a_fin_is_a_reset(scene) {
        let (mut client, mut server) = scene.connect();
        server.send(READ);
        server.fin();
        client.receive(READ);
        client.send(10);
        server.receive(10);
        client.reset();
        // The server has had its own FIN answered by nothing: its kernel reports EPIPE or ECONNRESET.
        server.fails_within(PATIENCE);
        assert!(server.send_if_taken(1) == 0, "a write after a reset was taken");
    }

    fn without_a_byte(scene) {
        let (client, mut server) = scene.connect();
        client.reset();
        assert_eq!(server.receive_all(), End::Reset(0));
        let (mut client, server) = scene.connect();
        server.reset();
        assert_eq!(client.receive_all(), End::Reset(0));
    }

    fn a_server_that_closes_with_unread_data_resets(scene) {
        let (mut client, mut server) = scene.connect();
        client.send(READ);
        server.receive(1);
        server.send(10);
        // Only what its kernel holds makes a close a reset. A TLS library that had read all would end with FIN.
        until("its kernel holds data", || server.unread() > 0);
        drop(server);
        assert_eq!(client.receive_all(), End::Reset(10));
    }

    fn noticed_within_100_ms_while_blocked_writing(scene) {
        // Whoever pushes is blocked; whoever resets does so while the other neither reads nor writes.
        let noticed_after = |client_pushes: bool, client_resets: bool| {
            let (mut client, mut server) = scene.connect();
            if client_pushes { &mut client } else { &mut server }.push_until_blocked(u64::MAX);
            let (resets, other) = if client_resets { (client, server) } else { (server, client) };
            std::thread::scope(|both| {
                let watch = both.spawn(|| other.fails_within(PATIENCE));
                both.spawn(move || resets.reset());
                watch.join().unwrap()
            })
        };
        for (client_pushes, client_resets) in [(true, true), (true, false), (false, true), (false, false)] {
            // A busy machine may wake the proxy, or this test, late; but not every time.
            let mut tries = std::iter::repeat_with(|| noticed_after(client_pushes, client_resets)).take(10);
            assert!(tries.any(|after| after < Duration::from_millis(100)), "{client_pushes} {client_resets}");
        }
    }
}

on! { tcp_ways:
    fn t2_a_reset_behind_more_than_the_buffers_hold_overtakes_nothing(scene) {
        const LONG: u64 = 3_000_000;
        let all_arrive = || {
            let (mut client, mut server) = scene.connect();
            std::thread::scope(|both| {
                both.spawn(move || {
                    server.send(LONG);
                    until("all is sent", || server.unacknowledged() == 0);
                    server.reset();
                });
                client.receive_slowly(8192, Duration::from_millis(1)) == End::Reset(LONG)
            })
        };
        // A client that a busy machine keeps from reading for 50 ms is one that does not read; but not every time.
        assert!((0..5).any(|_| all_arrive()));
    }
}

on! { every_way:
    fn a_reset_ends_a_connection_of_any_family(scene) {
        // A Unix socket has no reset: its peer sees the connection end, after the data.
        let (mut client, mut server) = scene.connect();
        server.send(READ);
        client.receive(READ);
        client.reset();
        let end = server.receive_all();
        assert!(end == End::Fin(0) || end == End::Reset(0), "{end:?}");
        drop(server);
        let (mut client, mut server) = scene.connect();
        client.send(READ);
        server.receive(READ);
        server.send(READ);
        until("all is sent", || server.unacknowledged() == 0);
        server.reset();
        let end = client.receive_all();
        assert!(end == End::Fin(READ) || end == End::Reset(READ), "{end:?}");
    }
}
