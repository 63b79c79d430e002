//! Many edits: under load (D1), and until a leak would show (D9).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::saves::Style;
use crate::harness::EndOnDrop;
use crate::harness::instance::*;

/// D1, in short: long flows and a steady rate of new ones, while the file is edited in every style.
#[test]
fn edits_under_load_break_nothing() {
    let [steady, moving, extra, last] = [(); 4].map(|()| Port::reserve());
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let text = |turn: usize| {
        let mut routes = vec![("steady", steady.local(), &a)];
        routes.push(("moving", moving.local(), if turn.is_multiple_of(2) { &a } else { &b }));
        if turn.is_multiple_of(3) {
            routes.push(("extra", extra.local(), &a));
        }
        // No text is the beginning of another: in place that would count as cut off.
        format!("# {turn}\n{}", file(&routes))
    };
    let place = Place::with(&text(0));
    let mut portway = Portway::run(&place.file());
    let (done, connects, bytes) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let ended = EndOnDrop(&done);
        for seed in 0..50_u64 {
            // Every other one through the route that changes: `on_change` is "keep".
            let mut flow = Flow::open(if seed % 2 == 0 { steady.number } else { moving.number });
            let (done, bytes) = (&done, &bytes);
            scope.spawn(move || {
                let mut data = Noise(seed + 1);
                while !done.load(Ordering::Relaxed) {
                    flow.round_trip(&data.bytes(4096))
                        .unwrap_or_else(|error| panic!("flow {seed} broke: {error}"));
                    bytes.fetch_add(4096, Ordering::Relaxed);
                    pass(Duration::from_millis(20));
                }
            });
        }
        let (done, connects, steady, moving) = (&done, &connects, steady.number, moving.number);
        for port in [steady, moving] {
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    Flow::try_open(port)
                        .unwrap_or_else(|error| panic!("a connect to port {port} failed: {error}"));
                    connects.fetch_add(1, Ordering::Relaxed);
                    pass(Duration::from_millis(10));
                }
            });
        }
        edit_in_every_style(&place, &mut portway, text);
        place.save(&format!("{}{}", text(201), route("last", &last.local(), &a, "")));
        // New sockets listen a moment before the routes change.
        portway.until("the last text runs", |_| !is_refused(last.number) && reached(moving) == "b");
        assert_eq!((reached(extra.number), reached(last.number)), ("a".into(), "a".into()));
        drop(ended);
    });
    let reloads = portway.count("reloaded");
    assert!(reloads >= 20, "{reloads} reloads");
    assert!(connects.load(Ordering::Relaxed) > 500, "{connects:?} connects");
    assert!(bytes.load(Ordering::Relaxed) > 10 << 20, "{bytes:?} bytes");
    portway.stop();
}

/// 200 edits. Some are left alone until they run, others come in a burst.
fn edit_in_every_style(place: &Place, portway: &mut Portway, text: impl Fn(usize) -> String) {
    let mut random = Noise(42);
    for turn in 1..=200 {
        let style = Style::ALL[usize::from(random.byte()) % Style::ALL.len()];
        style.save(place, &text(turn), turn);
        match turn % 5 {
            0 => drop(portway.phase_of(&["reloaded", "nothing changed"])),
            _ => pass(Duration::from_millis(u64::from(random.byte()) / 4)),
        }
    }
}

/// Bytes that no two flows share (xorshift64).
struct Noise(u64);

impl Noise {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_le_bytes()[3]
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }
}

/// D9: what an edit replaces is gone when its connections are.
#[test]
fn a_thousand_reloads_leave_nothing_behind() {
    let (port, extra) = (Port::reserve(), Port::reserve());
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let text = |turn: usize| {
        let mut routes = vec![("web", port.local(), if turn.is_multiple_of(2) { &a } else { &b })];
        if turn.is_multiple_of(3) {
            routes.push(("extra", extra.local(), &a));
        }
        format!("# {turn:04}\n{}", file(&routes))
    };
    let place = Place::with(&text(0));
    let mut portway = Portway::run(&place.file());
    let (mut early, mut flows) = ((0, Descriptors::new()), std::collections::VecDeque::new());
    for turn in 1..=1002 {
        place.save(&text(turn));
        portway.hang_up();
        portway.phase("reloaded");
        flows.push_back(Flow::open(port.number));
        if flows.len() > 8 {
            flows.pop_front();
        }
        portway.seen.truncate(1);
        if turn == 300 {
            early = (resident(portway.pid()), portway.descriptors());
        }
    }
    let late = resident(portway.pid());
    assert!(late < early.0 + 1024, "{} KiB resident after 300 reloads, {late} KiB after 1,002", early.0);
    for mut flow in flows {
        flow.ping().unwrap();
    }
    portway.until("as many descriptors as before", |portway| {
        let (now, start) = (portway.descriptors(), &early.1);
        now.iter().all(|(kind, count)| count <= start.get(kind).unwrap_or(&0))
    });
    portway.hang_up();
    portway.phase("nothing changed");
    place.save(&text(1));
    portway.phase("reloaded");
    portway.stop();
}

/// Resident memory in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
