//! What was sent last arrives although nothing follows it (A6). Small segments fill the slots of a pipe long before its
//! bytes, and a relay that takes a full pipe for an empty socket waits for ever.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::harness::pattern::Rng;
use crate::harness::upstream::Addr;
use crate::harness::{End, Netns, Peer, Proxy, Upstream, lacks_root, pass};

const RUNS: usize = 2000;
/// Each on a thread of its own.
const AT_ONCE: usize = 4;

#[test]
fn the_tail_of_small_segments_arrives_with_auto() {
    arrives("auto");
}

#[test]
fn the_tail_of_small_segments_arrives_with_splice() {
    arrives("splice");
}

fn arrives(relay: &str) {
    if lacks_root() {
        return;
    }
    // Loopback has segments of 64 KiB; a veth pair has an MTU of 1,500.
    let (near, far) = Netns::pair();
    let upstream = far.enter(|| Upstream::at_ip("10.99.0.2:0"));
    let plan = Proxy::in_front_of(&upstream.addr).with(&[&format!("--set relay={relay}")]).inside(&near);
    let proxy = plan.listening_at("10.99.0.1:PORT").start();
    let addr = Addr::Ip(format!("10.99.0.1:{}", proxy.port()).parse().unwrap());
    // One at a time, so that both ends are of one connection.
    let pair = Mutex::new(|| (addr.connect(), upstream.accept()));
    let stalls: Vec<Duration> = std::thread::scope(|all| {
        let workers = (0..AT_ONCE as u64).map(|worker| {
            let (far, pair) = (&far, &pair);
            let runs = move || {
                let mut rng = Rng::new(worker + 1);
                let run = |_| {
                    let (client, server) = pair.lock().unwrap()();
                    longest_stall(client, server, &mut rng)
                };
                (0..RUNS / AT_ONCE).map(run).max().unwrap()
            };
            all.spawn(move || far.enter(runs))
        });
        workers.collect::<Vec<_>>().into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert!(stalls.iter().all(|stall| *stall < Duration::from_secs(1)), "stalls: {stalls:?}");
    proxy.finish();
}

/// The server sends small segments, the client reads in bursts. How long it waited for bytes at most.
fn longest_stall(mut client: Peer, mut server: Peer, rng: &mut Rng) -> Duration {
    let total = 1 + rng.next() % (200 * 1024);
    let mut sizes = Rng::new(rng.next() | 1);
    std::thread::scope(|both| {
        both.spawn(move || {
            let mut left = total;
            while left > 0 {
                let n = (100 + sizes.next() % 1300).min(left);
                server.send(n);
                left -= n;
            }
            // No FIN before the other side has all: nothing but the bytes themselves may bring the tail.
            assert_eq!(server.receive_all(), End::Fin(0));
            server.fin();
        });
        let (mut left, mut longest) = (total, Duration::ZERO);
        while left > 0 {
            let n = (1 + rng.next() % 65_536).min(left);
            let begun = Instant::now();
            client.receive(n);
            longest = longest.max(begun.elapsed());
            left -= n;
            if rng.next().is_multiple_of(4) {
                pass(Duration::from_micros(300));
            }
        }
        client.fin();
        assert_eq!(client.receive_all(), End::Fin(total));
        longest
    })
}
