//! Small messages are not delayed: not by Nagle's algorithm, not by a neighbour's bulk (rule 6).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::harness::{Peer, Scene, Way, upstream::Family};
use crate::on;

/// Measuring on a busy machine: the ratio is what counts, and noise only ever makes it worse.
const ATTEMPTS: usize = 8;

fn time(what: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    what();
    begun.elapsed()
}

/// The value below which this share of the values lies.
fn quantile(mut values: Vec<Duration>, share: f64) -> Duration {
    values.sort();
    values[((values.len() - 1) as f64 * share) as usize]
}

fn v4(way: Way) -> Scene {
    Scene::new(way, Family::V4, Family::V4, &[])
}

/// Two small writes and an answer of two small writes: the worst case for Nagle's algorithm, 40 ms a piece.
fn write_write_read((client, server): &mut (Peer, Peer)) {
    client.send(1);
    client.send(1);
    server.receive(2);
    server.send(1);
    server.send(1);
    client.receive(2);
}

/// What is timed is timed alone.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn small_writes_are_not_held_back() {
    let _alone = alone();
    let (direct, proxied) = (v4(Way::Direct), v4(Way::Auto));
    let (mut straight, mut through) = (direct.connect(), proxied.connect());
    let median = |ends: &mut _| quantile((0..200).map(|_| time(|| write_write_read(ends))).collect(), 0.5);
    let ratios = std::iter::repeat_with(|| {
        let (straight, through) = (median(&mut straight), median(&mut through));
        through.as_secs_f64() / straight.as_secs_f64().max(20e-6)
    });
    let ratios: Vec<f64> = ratios.take(ATTEMPTS).collect();
    assert!(ratios.iter().any(|&ratio| ratio < 20.0), "times the direct latency: {ratios:?}");
    drop((straight, through));
    proxied.finish();
}

/// One round trip on each of the connections. Both ends are here, so that the proxy's share of it is the largest.
fn ping_all(ends: &mut [(Peer, Peer)]) -> Vec<Duration> {
    let ping = |(client, server): &mut (Peer, Peer)| {
        time(|| {
            client.send(1);
            server.receive(1);
            server.send(1);
            client.receive(1);
        })
    };
    ends.iter_mut().map(ping).collect()
}

/// As [`ping_all`], while one more connection carries as much as it can.
fn ping_all_beside_bulk(scene: &Scene, ends: &mut [(Peer, Peer)]) -> Vec<Duration> {
    let (mut client, mut server) = scene.connect();
    let done = AtomicBool::new(false);
    std::thread::scope(|all| {
        all.spawn(|| {
            give_way();
            while !done.load(Ordering::Relaxed) {
                client.send(1 << 20);
            }
            client.fin();
        });
        all.spawn(|| {
            give_way();
            server.receive_all()
        });
        let times = ping_all(ends);
        done.store(true, Ordering::Relaxed);
        times
    })
}

/// This thread runs when no other wants to, and yields at once to one that does.
#[allow(unsafe_code, reason = "no crate of the house wraps sched_setscheduler(2)")]
fn give_way() {
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads one `sched_param`, and 0 is this thread.
    assert_eq!(unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const none) }, 0);
}

/// This thread, and the programs and threads that it starts from now on, run on that processor.
fn run_on(processor: usize) {
    let mut one = CpuSet::new();
    one.set(processor);
    sched_setaffinity(None, &one).unwrap();
}

/// The proxy has one processor, and so one thread, for the bulk stream and the thousand; its peers have another, so that
/// what is measured is the proxy's choice and not the kernel's.
#[test]
fn a_bulk_stream_does_not_starve_a_thousand_others() {
    let _alone = alone();
    crate::harness::raise_descriptor_limit();
    let processors = sched_getaffinity(None).unwrap();
    let mut ours = (0..CpuSet::MAX_CPU).filter(|&processor| processors.is_set(processor));
    let (first, last) = (ours.next().unwrap(), ours.last());
    run_on(last.unwrap_or(first));
    let proxied = v4(Way::Auto);
    run_on(first);
    let mut pings: Vec<(Peer, Peer)> = (0..1000).map(|_| proxied.connect()).collect();
    let mut ratios: Vec<f64> = std::iter::repeat_with(|| {
        let without = quantile(ping_all(&mut pings), 0.99);
        let beside = quantile(ping_all_beside_bulk(&proxied, &mut pings), 0.99);
        beside.as_secs_f64() / without.as_secs_f64()
    })
    .take(7)
    .collect();
    ratios.sort_by(f64::total_cmp);
    assert!(ratios[3] < 3.0, "p99 beside bulk, times that without: {ratios:?}");
    drop(pings);
    proxied.finish();
}

on! { tcp_ways:
    fn an_urgent_byte_is_dropped_and_stops_nothing(scene) {
        let _alone = alone();
        // As for every reader that does not ask for it (no SO_OOBINLINE); the mark itself is not passed on.
        let (mut client, mut server) = scene.connect();
        for _ in 0..20 {
            client.send(10);
            assert_eq!(client.socket.send_out_of_band(b"!").unwrap(), 1);
            client.send(10);
            server.receive(20);
            server.send(10);
            client.receive(10);
        }
    }
}
