//! Thousands of connections through upgrades, and new processes that die at every step: the short form of `tests/upgrade/judge`.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};

use super::between::{Point, carry, command};
use super::connections::{Line, MUCH, Pair, exchange, lines_of, moved};
use super::fake::script;
use super::{refused, upgrade};
use crate::harness::instance::{Backend, Flow, PORTWAY, Place, Port, route};
use crate::harness::peer::{End, push_until_blocked};
use crate::harness::{Peer, raise_descriptor_limit, until};

/// Bytes of a message.
const SOME: u64 = 500;
/// `PACKET-after FILE` or `PACKET-before FILE`: where a new process dies, and where the packets are counted.
const BETWEEN: &str = "PORTWAY_BETWEEN";

/// So many pairs, or as many as two of three processes can hold the ends of.
fn pairs(line: &Line, wanted: usize) -> Vec<Pair> {
    raise_descriptor_limit();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let count = wanted.min(usize::try_from(limit / 5).unwrap());
    (0..count).map(|_| line.open()).collect()
}

/// Bytes at full speed one way, until they are told to end.
struct Bulk {
    stop: Arc<AtomicBool>,
    ends: Vec<(JoinHandle<u64>, JoinHandle<End>)>,
}

impl Bulk {
    fn through(line: &Line, streams: usize) -> Bulk {
        let stop = Arc::new(AtomicBool::new(false));
        let begin = |number: usize| {
            let Pair { client, server } = line.open();
            let (mut from, mut to) =
                if number.is_multiple_of(2) { (client, server) } else { (server, client) };
            let stop = stop.clone();
            let sender = spawn(move || {
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    from.send(1 << 20);
                    sent += 1 << 20;
                }
                from.fin();
                assert_eq!(from.receive_all(), End::Fin(0));
                sent
            });
            let reader = spawn(move || {
                let end = to.receive_all();
                to.fin();
                end
            });
            (sender, reader)
        };
        let ends = (0..streams).map(begin).collect();
        Bulk { stop, ends }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for (sender, reader) in self.ends {
            let sent = sender.join().unwrap();
            assert_eq!(reader.join().unwrap(), End::Fin(sent));
        }
    }
}

#[test]
fn u30_two_thousand_pairs_move_five_times_and_each_byte_arrives_once() {
    let (_place, mut portway, asker, lines) = lines_of(&[""]);
    let mut idle = pairs(&lines[0], 2_000);
    let mut half_closed: Vec<Pair> = idle.split_off(idle.len() * 9 / 10);
    let mut held = half_closed.split_off(half_closed.len() * 4 / 5);
    for (number, pair) in half_closed.iter_mut().enumerate() {
        let Pair { client, server } = pair;
        let (ends, stays) = if number.is_multiple_of(2) { (client, server) } else { (server, client) };
        ends.send(SOME);
        ends.fin();
        assert_eq!(stays.receive_all(), End::Fin(SOME));
    }
    let mut senders: Vec<&mut Peer> = held.iter_mut().map(|pair| &mut pair.client).collect();
    let pushed = push_until_blocked(&mut senders, MUCH);
    let bulk = Bulk::through(&lines[0], 2);
    let all = (idle.len() + half_closed.len() + held.len() + 2) as u64;
    for _ in 0..5 {
        assert_eq!(moved(&upgrade(&mut portway, &asker)), (all, 0));
        exchange(&mut idle, SOME);
        for (number, Pair { client, server }) in half_closed.iter_mut().enumerate() {
            let (reads, sends) = if number.is_multiple_of(2) { (client, server) } else { (server, client) };
            sends.send(SOME);
            reads.receive(SOME);
        }
    }
    bulk.end();
    for (mut pair, pushed) in held.into_iter().zip(pushed) {
        assert!(pushed < MUCH);
        pair.server.receive(pushed);
        exchange(std::slice::from_mut(&mut pair), SOME);
        pair.end();
    }
    for (number, Pair { client, server }) in half_closed.into_iter().enumerate() {
        let (mut reads, sends) = if number.is_multiple_of(2) { (client, server) } else { (server, client) };
        sends.fin();
        assert_eq!(reads.receive_all(), End::Fin(5 * SOME));
    }
    idle.into_iter().for_each(Pair::end);
    portway.old_ones_have_ended();
    portway.stop();
}

/// A program that takes over as Portway does, and dies at this point. `None`: it lives, and the packets are counted.
fn dies_at(place: &Place, point: Option<Point>) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let Point { packet, after } = point.unwrap_or(Point { packet: 0, after: false });
    let word = if after { "after" } else { "before" };
    let (file, count) = (place.file(), place.root().join("count"));
    let test = "upgrade::judge::stands_between_if_it_is_started_so";
    let what = format!("{packet} {word} {} {}", count.display(), file.display());
    script(place, &format!("{BETWEEN}='{what}' exec '{}' --exact {test} -q", own.display()))
}

#[test]
fn stands_between_if_it_is_started_so() {
    let Ok(what) = std::env::var(BETWEEN) else { return };
    let [packet, word, count, file] = what.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let packet: usize = packet.parse().unwrap();
    let point = (packet > 0).then_some(Point { packet, after: word == "after" });
    let mut program = command(PORTWAY, point.is_some());
    program.args(["run", "--take-over", "--config", file]);
    carry(program, point, |packets| std::fs::write(count, packets.to_string()).unwrap()).unwrap();
}

/// A client that asks and waits for the answer, all the time. It may be reset, and comes again. Returns how often it was.
fn asking(port: u16, stop: Arc<AtomicBool>) -> JoinHandle<usize> {
    spawn(move || {
        let mut resets = 0;
        let mut flow = Flow::open(port);
        while !stop.load(Ordering::Relaxed) {
            if let Err(error) = flow.ping() {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                resets += 1;
                flow = Flow::open(port);
            }
        }
        resets
    })
}

#[test]
fn u31_a_new_process_that_dies_at_any_step_costs_no_idle_connection() {
    let (place, mut portway, asker, lines) = lines_of(&[""]);
    let port = Port::reserve();
    let text = std::fs::read_to_string(place.file()).unwrap();
    place.save(&(text + &route("asked", &port.local(), &Backend::named("b"), "")));
    portway.phase("reloaded");
    let mut idle = pairs(&lines[0], 690);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4).map(|_| asking(port.number, stop.clone())).collect();
    let answer = asker.post("/v1/upgrade", &serde_json::json!({ "binary": dies_at(&place, None) }));
    portway.follow(u32::try_from(answer["pid"].as_u64().unwrap()).unwrap());
    portway.old_ones_have_ended();
    let count = place.root().join("count");
    until("the packets are counted", || count.exists());
    let packets: usize = std::fs::read_to_string(count).unwrap().parse().unwrap();
    assert!(packets > 20, "{packets}");
    for fault in 0..20 {
        // Up to three quarters: on a busy machine an upgrade may have fewer packets than the one that was counted, and once the last
        // answer has come the old process has left.
        let point = Point { packet: packets * (fault + 1) / 27, after: fault % 2 == 0 };
        println!("{point:?}: {}", refused(&mut portway, &asker, &dies_at(&place, Some(point))));
        exchange(&mut idle, SOME);
    }
    stop.store(true, Ordering::Relaxed);
    let resets: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
    println!("clients that were asking were reset {resets} times, of {packets} steps");
    upgrade(&mut portway, &asker);
    exchange(&mut idle, SOME);
    idle.into_iter().for_each(Pair::end);
    portway.old_ones_have_ended();
    portway.stop();
}
