//! Many upgrades in a row, while clients come.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::crowd::{Crowd, Manner};
use super::end::{How, Plan};
use super::live::{Live, done, until};
use super::pairs::{Proof, Sides};

/// What a visitor sends, and gets back.
const QUESTION: u64 = 100;
/// The numbers of visitors begin here.
const VISITORS: u64 = 1 << 32;

/// From one upgrade to the next, at least: visitors come meanwhile.
const EVERY: Duration = Duration::from_millis(500);

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub upgrades: u64,
    /// New connections a second.
    pub rate: u64,
    /// Connections that stay open through all.
    pub kept: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    pub row: Option<Row>,
    pub visitors: u64,
    pub served: usize,
    pub refused: usize,
    pub reset: usize,
    pub wrong: usize,
    pub failed: usize,
    /// From connect to the end, of each visitor.
    pub visits: Vec<Duration>,
    pub upgrades: Vec<Duration>,
    /// How late the last of them was sent: the load itself.
    pub late: Duration,
    pub kept: Proof,
    pub processes: usize,
    pub pss: Vec<u64>,
    pub before: BTreeMap<String, usize>,
    pub after: BTreeMap<String, usize>,
    pub drained: u64,
}

/// The whole scenario.
pub fn run(portway: &Path, dir: &Path, row: Row) -> Result<Outcome> {
    let sides = Sides::begin()?;
    let visitors = Crowd::begin(None)?;
    let mut live = Live::start(portway, dir, sides.upstream)?;
    let mirror = Manner { mirrors: true, ..Manner::default() };
    let reading = Plan { read_to: u64::MAX, ..Plan::default() };
    sides.open(&live, 0..row.kept, Plan { send_to: QUESTION, ..reading }, mirror)?;
    sides.reach(0..row.kept, QUESTION)?;
    let mut outcome = Outcome { row: Some(row), before: live.descriptors(), ..Outcome::default() };
    outcome.pss.push(live.pss()?);
    let (stop, count, late) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let address = live.address;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                let number = count.load(Ordering::Relaxed);
                let due = begun + Duration::from_nanos(number * 1_000_000_000 / row.rate);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let behind = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
                late.fetch_max(behind, Ordering::Relaxed);
                let plan = Plan { send_to: QUESTION, fin_after: Some(QUESTION), ..reading };
                visitors.connect(VISITORS + number, address, plan, mirror);
                count.store(number + 1, Ordering::Relaxed);
            }
        });
        let upgraded = upgrade(&mut live, &sides, row, &mut outcome);
        stop.store(true, Ordering::Relaxed);
        upgraded
    })?;
    outcome.visitors = count.into_inner();
    outcome.late = Duration::from_nanos(late.into_inner());
    finish(live, &sides, &visitors, &mut outcome)?;
    Ok(outcome)
}

/// One upgrade after the other; those that stay open talk between.
fn upgrade(live: &mut Live, sides: &Sides, row: Row, outcome: &mut Outcome) -> Result<()> {
    for number in 1..=row.upgrades {
        let begun = Instant::now();
        let answer = done(live.upgrade(None)?)?;
        outcome.upgrades.push(answer.took);
        outcome.drained += answer.body["draining"].as_u64().unwrap_or_default();
        let bytes = QUESTION * (number + 1);
        let more = Plan { send_to: bytes, read_to: u64::MAX, ..Plan::default() };
        (0..row.kept).for_each(|pair| sides.clients.plan(pair, more));
        sides.reach(0..row.kept, bytes)?;
        live.alone()?;
        outcome.pss.push(live.pss()?);
        std::thread::sleep(EVERY.saturating_sub(begun.elapsed()));
    }
    Ok(())
}

fn finish(live: Live, sides: &Sides, visitors: &Crowd, outcome: &mut Outcome) -> Result<()> {
    let all = usize::try_from(outcome.visitors)?;
    if let Err(why) = until("every visitor has gone", || visitors.count_ended() >= all) {
        eprintln!("upgrade: {why}");
    }
    for ended in visitors.take_ended() {
        outcome.visits.push(ended.took);
        let whole = (ended.sent, ended.received) == (QUESTION, QUESTION);
        match ended.how {
            How::Fin if whole => outcome.served += 1,
            How::Fin | How::Wrong => outcome.wrong += 1,
            How::Reset => outcome.reset += 1,
            How::Refused => outcome.refused += 1,
            How::Failed => outcome.failed += 1,
        }
    }
    outcome.processes = live.processes();
    // What visitors used is closed a moment after they have gone.
    let _ = until("its descriptors are as before", || live.descriptors() == outcome.before);
    outcome.after = live.descriptors();
    let row = outcome.row.map_or(0, |row| row.kept);
    sides.backend.take_ended();
    for pair in 0..row {
        let sent = sides.clients.moved(pair).unwrap_or_default().0;
        sides
            .clients
            .plan(pair, Plan { send_to: sent, read_to: u64::MAX, fin_after: Some(0), ..Plan::default() });
    }
    let kept = usize::try_from(row)?;
    until("those that were kept have ended", || {
        sides.clients.count_ended() >= kept && sides.backend.count_ended() >= kept
    })?;
    outcome.kept = Proof::of(&sides.clients.take_ended(), &sides.backend.take_ended());
    live.stop()
}
