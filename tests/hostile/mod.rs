//! Strangers who want the proxy for themselves, each beside a panel of honest clients that must not notice.
//!
//! The short form runs with `cargo test --test times hostile`: each attack for three seconds, on a busy
//! machine up to twenty. The long form is by hand:
//! `PORTWAY_HOSTILE_SECONDS=60 cargo test --release --test times hostile -- --nocapture`, some thirty minutes. Each attack
//! says what the panel has met, and what the proxy held.

mod attacks;
mod crowd;
mod hello;
mod panel;
mod raw;
mod target;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{EndOnDrop, lacks, lacks_root, pass, raise_descriptor_limit, until};
use attacks::{ATTACKS, Attack};
use panel::{Met, Panel};
use target::Target;

/// Of a hundred honest clients so many are served, those left out that were too slow.
const SERVED: f64 = 98.0;
/// In the long form, on a machine that does nothing else: of all.
const SERVED_OF_ALL: f64 = 85.0;
/// Half of those within this part of the attack: who is kept waiting waits for its end. On a machine that does twenty things at
/// once an attack lasts longer, until enough have tried, and the 99th of a hundred says more of the machine.
const PART: u32 = 5;
/// An attack of the short form goes on until so many of each kind have tried: fewer show nothing.
const ENOUGH: usize = 30;
/// But no longer than this.
const LONGEST: Duration = Duration::from_secs(20);
/// In the long form, on a machine that does nothing else: 99 of a hundred within this time.
const NEARLY_ALL: Duration = Duration::from_millis(500);
/// Lines of the logs for each second of an attack.
const LINES: usize = 10_000;

/// Whether an attack is over.
pub struct Stop(AtomicBool);

impl Stop {
    pub fn now(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long an attack lasts, where that is given by hand.
fn given() -> Option<Duration> {
    let text = std::env::var("PORTWAY_HOSTILE_SECONDS").ok()?;
    Some(Duration::from_secs(text.parse().unwrap()))
}

fn length() -> Duration {
    given().unwrap_or(Duration::from_secs(3))
}

#[test]
fn strangers_do_not_shut_others_out() {
    if lacks_root() || lacks(&["ip", "prlimit"]) {
        return;
    }
    raise_descriptor_limit();
    let only = std::env::var("PORTWAY_HOSTILE_ONLY").unwrap_or_default();
    let mut target = Target::start();
    // What the first clients need for good is there before the first attack.
    for _ in 0..2 {
        let panel = Panel::begin(&target.netns);
        pass(Duration::from_millis(500));
        let met = panel.end();
        assert!(met.iter().all(|met| met.success() > 99.0), "without an attack: {met:#?}");
    }
    let faults: Vec<String> = ATTACKS
        .iter()
        .filter(|attack| attack.name.contains(&only))
        .flat_map(|attack| stands(&mut target, attack))
        .collect();
    until("all descriptors are given back", || target.left_over().keys().all(|kind| kind == "pipe"));
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// One attack: what was not as it should be.
fn stands(target: &mut Target, attack: &Attack) -> Vec<String> {
    target.rests();
    let lines = target.lines();
    let (stop, begun) = (Stop(AtomicBool::new(false)), Instant::now());
    let panel = Panel::begin(&target.netns);
    let (mut grown, mut open) = (0, 0);
    std::thread::scope(|scope| {
        let _over = EndOnDrop(&stop.0);
        scope.spawn(|| target.netns.enter(|| (attack.run)(&stop)));
        while begun.elapsed() < length() || (panel.tried() < ENOUGH && begun.elapsed() < LONGEST) {
            grown = target.grown().max(grown);
            open = target.open().max(open);
            pass(Duration::from_millis(50));
        }
    });
    let lasted = begun.elapsed();
    let met = panel.end();
    let ended = Instant::now();
    target.lets_go();
    let gone = ended.elapsed();
    let (kept, lines) = (target.grown(), target.lines() - lines);
    println!(
        "{}: {} MiB more, {} MiB kept, {open} descriptors, {lines} lines, all given back after {:?}",
        attack.name,
        grown >> 20,
        kept >> 20,
        gone
    );
    let judged = met.iter().filter(|met| !met.kind.starts_with(attack.but));
    let asks_again = |met: &Met| attack.overflows && met.kind.starts_with("udp");
    let mut faults: Vec<String> = judged.filter_map(|met| of_panel(met, lasted, asks_again(met))).collect();
    let mut expect = |right: bool, what: String| {
        if !right {
            faults.push(what);
        }
    };
    expect(grown < attack.memory << 20, format!("{} MiB more", grown >> 20));
    expect(lines < LINES * (1 + lasted.as_secs() as usize), format!("{lines} lines of the logs"));
    faults.iter().map(|fault| format!("{}: {fault}", attack.name)).collect()
}

/// What was not as it should be for honest clients of one kind, in an attack that has lasted so long. `asks_again`: the kernel
/// loses of what they send, so that they may have to wait for their next attempt.
fn of_panel(met: &Met, lasted: Duration, asks_again: bool) -> Option<String> {
    let (success, half, p99) = (met.success(), met.within(50), met.within(99));
    let (asked, slow) = (met.served.len() + met.failed.len(), met.failed.len() - met.judged().count());
    println!(
        "  {:<14} {asked:>5} clients, {slow} too slow, {success:.1} % of the others served, half in {half:?}, p99 {p99:?}",
        met.kind
    );
    let why = met.judged().next().map(|failure| failure.error.to_string()).unwrap_or_default();
    let of_all = 100.0 * met.served.len() as f64 / asked.max(1) as f64;
    let in_time = match given() {
        Some(_) => (p99 < NEARLY_ALL || asks_again) && of_all >= SERVED_OF_ALL,
        None => half * PART < lasted,
    };
    // One of a few is no share.
    let fine = (success >= SERVED || met.judged().count() <= 1) && in_time && !met.served.is_empty();
    (!fine).then(|| {
        format!("{}: {success:.1} % of {asked} served, half in {half:?}, p99 {p99:?} {why}", met.kind)
    })
}
