//! Small messages are not delayed: not by Nagle's algorithm, not by a neighbour's bulk (rule 6).

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::harness::{EndOnDrop, Peer, Scene, Way, until, upstream::Family};
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

/// A proxy with one processor, and so with one thread for all that it does. This thread gets another.
fn on_one_thread(way: Way) -> Scene {
    let processors = sched_getaffinity(None).unwrap();
    let mut ours = (0..CpuSet::MAX_CPU).filter(|&processor| processors.is_set(processor));
    let (first, last) = (ours.next().unwrap(), ours.next_back());
    run_on(last.unwrap_or(first));
    let scene = v4(way);
    run_on(first);
    scene
}

/// Does something while one connection carries as much as it can. What has arrived of it is counted. `begin` is called by the
/// threads at both of its ends.
fn beside_bulk<R>(scene: &Scene, begin: fn(), what: impl FnOnce(&AtomicU64) -> R) -> R {
    const PIECE: u64 = 65_536;
    let (mut client, mut server) = scene.connect();
    let (arrived, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|all| {
        let _done = EndOnDrop(&done);
        all.spawn(|| {
            begin();
            while !done.load(Ordering::Relaxed) {
                client.send(PIECE);
            }
            // For a reader that has begun another piece.
            client.send(PIECE);
            client.fin();
        });
        all.spawn(|| {
            begin();
            while !done.load(Ordering::Relaxed) {
                server.receive(PIECE);
                arrived.fetch_add(PIECE, Ordering::Relaxed);
            }
            server.receive_all()
        });
        until("the bulk stream flows", || arrived.load(Ordering::Relaxed) > 64 * PIECE);
        what(&arrived)
    })
}

/// Clients that all come at once, and stay: each thread has its share of the work.
#[test]
fn long_connections_are_shared_out_among_the_threads() {
    let _alone = alone();
    for number in [2, 40] {
        let proxied = v4(Way::Auto);
        let process = proxied.proxy.as_ref().unwrap().process;
        let mut pairs: Vec<(Peer, Peer)> = (0..number).map(|_| proxied.connect()).collect();
        let before = process.cpu_of_workers();
        for _ in 0..4000 / number {
            pairs.iter_mut().for_each(write_write_read);
        }
        let work: Vec<Duration> =
            process.cpu_of_workers().iter().zip(before).map(|(now, then)| *now - then).collect();
        let (least, most) = (work.iter().min().unwrap(), work.iter().max().unwrap());
        assert_eq!(work.len(), std::thread::available_parallelism().unwrap().get());
        assert!(work.len() > number || *least * 3 > *most, "{number} connections: {work:?}");
        drop(pairs);
        proxied.finish();
    }
}

/// In bytes and not in time: what the kernel's scheduler does to either delays both.
#[test]
fn a_bulk_stream_does_not_starve_a_thousand_others() {
    let _alone = alone();
    crate::harness::raise_descriptor_limit();
    let proxied = on_one_thread(Way::Auto);
    let mut pings: Vec<(Peer, Peer)> = (0..1000).map(|_| proxied.connect()).collect();
    let mut overtaken = beside_bulk(&proxied, give_way, |arrived| {
        let round_trip = |(client, server): &mut (Peer, Peer)| {
            let before = arrived.load(Ordering::Relaxed);
            client.send(1);
            server.receive(1);
            server.send(1);
            client.receive(1);
            arrived.load(Ordering::Relaxed) - before
        };
        pings.iter_mut().map(round_trip).collect::<Vec<u64>>()
    });
    overtaken.sort_unstable();
    let p99 = overtaken[overtaken.len() * 99 / 100];
    // Twice through the proxy, each time behind one turn of the stream; and what the bulk's reader had not read yet.
    assert!(p99 < 8 << 20, "bytes of bulk while a message makes its round trip: p99 {p99}");
    drop(pings);
    proxied.finish();
}

/// How many bytes of bulk the proxy moves between two looks at its sockets, at most.
fn longest_turn(way: Way) -> u64 {
    let proxied = on_one_thread(way);
    let trace = tempfile::NamedTempFile::new().unwrap();
    let lines = || std::fs::read_to_string(trace.path()).unwrap();
    let pid = proxied.proxy.as_ref().unwrap().process.0.to_string();
    // Its ends get their share of a busy processor: beside strace they take long enough.
    beside_bulk(
        &proxied,
        || (),
        |_| {
            let mut strace = Command::new("strace")
                .args([
                    "-f",
                    "-qq",
                    "-e",
                    "trace=epoll_wait,splice,sendto",
                    "-e",
                    "signal=none",
                    "-s",
                    "0",
                    "-p",
                    &pid,
                ])
                .arg("-o")
                .arg(trace.path())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            until("enough is seen", || lines().lines().count() > 2000);
            // It lets go of the proxy when it is interrupted.
            kill_process(Pid::from_child(&strace), Signal::INT).unwrap();
            strace.wait().unwrap();
        },
    );
    proxied.finish();
    let (mut turn, mut longest, mut all) = (0, 0, 0);
    for line in lines().lines() {
        if line.contains("epoll_wait") {
            (turn, longest) = (0, longest.max(turn));
        } else if let Some(moved) = line.rsplit(" = ").next().and_then(|n| n.parse::<u64>().ok()) {
            // Through a pipe: once in, once out.
            let moved = if line.contains("splice") { moved / 2 } else { moved };
            (turn, all) = (turn + moved, all + moved);
        }
    }
    assert!(all > 16 << 20, "only {all} bytes were seen");
    longest
}

/// tokio looks at its sockets only now and then while it has a task to run: a bulk stream must make it.
#[test]
fn a_bulk_stream_lets_the_others_in_after_each_turn() {
    if crate::harness::lacks_root() {
        return;
    }
    let _alone = alone();
    for way in [Way::Copy, Way::Auto, Way::Splice] {
        let longest = longest_turn(way);
        // A pipe and a message.
        assert!(longest < 5 << 18, "{way:?}: {longest} bytes between two looks");
    }
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
