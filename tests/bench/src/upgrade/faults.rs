//! The new process dies, at every step of an upgrade: the old one serves on, with what was idle.

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::between::{Point, carry, command};
use super::crowd::{Crowd, Manner};
use super::end::{How, Plan};
use super::live::{Live, done, until};
use super::pairs::{Proof, Sides};

/// Bytes that each idle pair moves between two faults.
const SOME: u64 = 100;
const MIRROR: Manner = Manner { mirrors: true, is_held: false };

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub faults: u64,
    pub idle: u64,
    pub asking: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    pub idle: u64,
    /// Packets of an upgrade without a fault.
    pub packets: usize,
    /// Orders that were refused, as they were to.
    pub refused: u64,
    /// Orders that have succeeded: the fault came too late.
    pub late: u64,
    pub lost: Proof,
    /// Pairs that were asking: those that moved bytes in the new process, which has died, were reset, and were to be.
    pub asking: usize,
    pub asking_reset: usize,
    pub asking_wrong: usize,
    pub stayed: bool,
    pub fds_before: usize,
    pub fds_after: usize,
    /// The longest time from an order to its refusal.
    pub longest: Duration,
}

/// The role of the program that Portway starts.
pub fn stand_between(args: &[String]) -> Result<()> {
    let [packet, after, count, portway, rest @ ..] = args else { anyhow::bail!("it is for the judge alone") };
    let packet: usize = packet.parse()?;
    let point = (packet > 0).then_some(Point { packet, after: after == "after" });
    let mut program = command(portway, point.is_some());
    program.args(rest);
    carry(program, point, |packets| drop(std::fs::write(count, packets.to_string())))?;
    Ok(())
}

/// The whole scenario.
pub fn run(portway: &Path, dir: &Path, faults: Faults) -> Result<Outcome> {
    let sides = Sides::begin()?;
    let mut live = Live::start(portway, dir, sides.upstream)?;
    let mut idle = Idle { pairs: 0..faults.idle, bytes: 0 };
    idle.open(&sides, &live)?;
    let program = Program { portway, count: &dir.join("count") };
    // Some come anew for each fault, behind those that ask: these move amid the others.
    let anew = faults.idle / 2;
    let mut amid = Idle { pairs: faults.idle..faults.idle + faults.asking + anew, bytes: 0 };
    let packets = count(&sides, &mut live, &program, &mut amid)?;
    let mut outcome = Outcome { packets, ..Outcome::default() };
    let mut next = amid.pairs.end;
    until_gone(&sides, next - faults.idle)?;
    let descriptors = |live: &Live| live.descriptors().values().sum::<usize>();
    let few = usize::try_from(2 * faults.idle + anew)?;
    until("those that came anew hold no descriptors", || descriptors(&live) < few)?;
    outcome.fds_before = descriptors(&live);
    let pid = live.pid;
    let mut asked = HashSet::new();
    for number in 0..usize::try_from(faults.faults)? {
        let asking = next..next + faults.asking;
        let mut amid = Idle { pairs: asking.end..asking.end + anew, bytes: 0 };
        next = amid.pairs.end;
        asked.extend(asking.clone());
        ask(&sides, &live, asking.clone())?;
        amid.open(&sides, &live)?;
        let point = point(number, usize::try_from(faults.faults)?, packets);
        let dying = program.script_of(&live, point)?;
        outcome.order(&mut live, &dying)?;
        for idle in [&mut idle, &mut amid] {
            idle.talk(&sides).with_context(|| format!("after the fault at {point:?}"))?;
        }
        amid.end(&sides);
        let reads = Plan { read_to: u64::MAX, fin_after: Some(0), ..Plan::default() };
        asking.for_each(|pair| sides.clients.plan(pair, Plan { send_to: u64::MAX, stops: true, ..reads }));
        until_gone(&sides, next - faults.idle)?;
    }
    outcome.stayed = live.pid == pid && live.processes() == 1;
    // If they are not, the table says it.
    let _ = until("its descriptors are as before", || descriptors(&live) <= outcome.fds_before);
    outcome.fds_after = descriptors(&live);
    idle.end(&sides);
    outcome.idle = next - u64::try_from(asked.len())?;
    prove(&sides, &asked, &mut outcome)?;
    live.stop()?;
    Ok(outcome)
}

impl Outcome {
    /// Orders an upgrade that is to fail.
    fn order(&mut self, live: &mut Live, program: &Path) -> Result<()> {
        let answer = live.upgrade(Some(program))?;
        self.longest = self.longest.max(answer.took);
        self.refused += u64::from(answer.status != 200);
        self.late += u64::from(answer.status == 200);
        Ok(())
    }
}

/// Over all steps, and if there are more faults each once more at its other side. Once the last answer has come the old process has left: who dies
/// then dies alone.
fn point(number: usize, faults: usize, packets: usize) -> Point {
    let step = if faults < packets { number * packets / faults } else { number % packets };
    let turn = number / packets;
    Point { packet: step + 1, after: (number + turn) % 2 == 1 && step + 1 < packets }
}

/// How many packets an upgrade without a fault has.
fn count(sides: &Sides, live: &mut Live, program: &Program<'_>, amid: &mut Idle) -> Result<usize> {
    amid.open(sides, live)?;
    let none = program.script_of(live, Point { packet: 0, after: false })?;
    done(live.upgrade(Some(&none))?)?;
    live.alone()?;
    amid.end(sides);
    let packets = std::fs::read_to_string(program.count).context("nobody has counted")?.parse()?;
    ensure!(packets > 0, "there were no packets");
    Ok(packets)
}

fn until_gone(sides: &Sides, pairs: u64) -> Result<()> {
    let all = usize::try_from(pairs)?;
    until("those that came anew have ended", || sides.clients.count_ended() >= all)
}

/// What Portway starts as the new program.
struct Program<'a> {
    portway: &'a Path,
    count: &'a Path,
}

impl Program<'_> {
    /// A program that dies at this point; not at all at packet 0.
    fn script_of(&self, live: &Live, Point { packet, after }: Point) -> Result<PathBuf> {
        let own = std::env::current_exe()?;
        let word = if after { "after" } else { "before" };
        let (own, count, portway) = (own.display(), self.count.display(), self.portway.display());
        let command = format!("exec '{own}' between {packet} {word} '{count}' '{portway}' \"$@\"");
        live.script("program", &command)
    }
}

/// Pairs that say nothing while an upgrade is under way.
struct Idle {
    pairs: Range<u64>,
    /// What each has moved each way.
    bytes: u64,
}

impl Idle {
    fn open(&mut self, sides: &Sides, live: &Live) -> Result<()> {
        self.bytes = SOME;
        sides.open(live, self.pairs.clone(), self.plan(), MIRROR)?;
        sides.reach(self.pairs.clone(), self.bytes)
    }

    fn plan(&self) -> Plan {
        Plan { send_to: self.bytes, read_to: u64::MAX, ..Plan::default() }
    }

    fn talk(&mut self, sides: &Sides) -> Result<()> {
        self.bytes += SOME;
        self.pairs.clone().for_each(|pair| sides.clients.plan(pair, self.plan()));
        sides.reach(self.pairs.clone(), self.bytes)
    }

    fn end(&self, sides: &Sides) {
        let ends = Plan { fin_after: Some(0), ..self.plan() };
        self.pairs.clone().for_each(|pair| sides.clients.plan(pair, ends));
    }
}

fn ask(sides: &Sides, live: &Live, pairs: Range<u64>) -> Result<()> {
    let asks = Plan { asks: Some(Duration::ZERO), read_to: u64::MAX, ..Plan::default() };
    sides.open(live, pairs, asks, MIRROR)
}

/// Each idle pair has ended in order, at both ends.
fn prove(sides: &Sides, asked: &HashSet<u64>, outcome: &mut Outcome) -> Result<()> {
    let all = usize::try_from(outcome.idle)? + asked.len();
    until("all have ended", || sides.clients.count_ended() >= all && sides.backend.count_ended() >= all)?;
    let of = |crowd: &Crowd| {
        crowd.take_ended().into_iter().partition::<Vec<_>, _>(|end| asked.contains(&end.pair))
    };
    let ((asking, idle), (_, servers)) = (of(&sides.clients), of(&sides.backend));
    outcome.lost = Proof::of(&idle, &servers);
    outcome.asking = asking.len();
    outcome.asking_reset = asking.iter().filter(|ended| ended.how == How::Reset).count();
    outcome.asking_wrong = asking.iter().filter(|ended| ended.how == How::Wrong).count();
    Ok(())
}
