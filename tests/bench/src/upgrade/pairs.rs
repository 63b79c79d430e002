//! Many pairs of every kind, one upgrade, and the proof of each byte of each pair.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::crowd::{Crowd, Ended, Manner};
use super::end::{How, Plan, Trip};
use super::live::{Answer, Live, done, until};

/// Bytes that each pair moves each way before, and after.
const SOME: u64 = 2_000;
/// So many open at a time: the queues of accept are 4,096 long.
const AT_ONCE: u64 = 500;
/// How often readers of bulk get another piece, each at its turn.
const PIECE_EVERY: Duration = Duration::from_millis(10);
/// What a reader of bulk takes each second.
const PIECE: u64 = 64 << 10;

/// How many pairs of each kind.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    pub all: u64,
    pub bulk: u64,
    pub half_closed: u64,
    pub held: u64,
    pub asking: u64,
    /// Between an answer and the next question.
    pub every: Duration,
}

/// The numbers of the pairs of each kind.
pub struct Kinds {
    pub bulk: Range<u64>,
    pub half_closed: Range<u64>,
    pub held: Range<u64>,
    pub asking: Range<u64>,
    pub idle: Range<u64>,
}

impl Mix {
    pub fn kinds(self) -> Kinds {
        let half = self.bulk + self.half_closed;
        let held = half + self.held;
        let asking = held + self.asking;
        Kinds {
            bulk: 0..self.bulk,
            half_closed: self.bulk..half,
            held: half..held,
            asking: held..asking,
            idle: asking..self.all,
        }
    }
}

/// Both sides of the load.
pub struct Sides {
    pub clients: Crowd,
    pub backend: Crowd,
    pub upstream: SocketAddr,
}

impl Sides {
    pub fn begin() -> Result<Sides> {
        let door = TcpListener::bind("127.0.0.1:0")?;
        let upstream = door.local_addr()?;
        Ok(Sides { clients: Crowd::begin(None)?, backend: Crowd::begin(Some(door))?, upstream })
    }

    /// The side that sends in a pair that moves bytes one way, and the one that reads.
    fn one_way(&self, pair: u64) -> (&Crowd, &Crowd) {
        if pair.is_multiple_of(2) { (&self.clients, &self.backend) } else { (&self.backend, &self.clients) }
    }

    /// Opens pairs, and waits until the backend knows each.
    pub fn open(&self, live: &Live, pairs: Range<u64>, plan: Plan, manner: Manner) -> Result<()> {
        let mut next = pairs.start;
        while next < pairs.end {
            let until_here = (next + AT_ONCE).min(pairs.end);
            (next..until_here).for_each(|pair| self.clients.connect(pair, live.address, plan, manner));
            until("every pair is open", || {
                (next..until_here).all(|pair| self.backend.moved(pair).is_some())
            })?;
            next = until_here;
        }
        Ok(())
    }

    /// Waits until each of these has sent and received so many bytes, at both ends.
    pub fn reach(&self, pairs: Range<u64>, bytes: u64) -> Result<()> {
        let full = |crowd: &Crowd, pair| crowd.moved(pair) == Some((bytes, bytes));
        until("what was sent has come", || {
            pairs.clone().all(|pair| full(&self.clients, pair) && full(&self.backend, pair))
        })
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub mix: Mix,
    pub answer: Answer,
    /// From the answer until the old process had ended.
    pub left_after: Duration,
    pub before: Vec<Duration>,
    pub during: Vec<Duration>,
    pub proof: Proof,
    /// Bytes in pipes and queues when it began.
    pub under_way: u64,
}

/// What both ends of all pairs say in the end.
#[derive(Debug, Default)]
pub struct Proof {
    pub ended: usize,
    pub moved: u64,
    pub lost: u64,
    pub doubled: u64,
    pub wrong: usize,
    pub reset: usize,
    pub failed: usize,
}

impl Proof {
    /// Compares what each end has sent with what the other has received.
    pub fn of(clients: &[Ended], backend: &[Ended]) -> Proof {
        let servers: HashMap<u64, &Ended> = backend.iter().map(|ended| (ended.pair, ended)).collect();
        let mut proof = Proof::default();
        for ended in clients.iter().chain(backend) {
            proof.wrong += usize::from(ended.how == How::Wrong);
            proof.reset += usize::from(ended.how == How::Reset);
            proof.failed += usize::from(matches!(ended.how, How::Refused | How::Failed));
        }
        for client in clients {
            let Some(server) = servers.get(&client.pair) else { continue };
            proof.ended += 1;
            for (sent, received) in [(client.sent, server.received), (server.sent, client.received)] {
                proof.moved += received;
                proof.lost += sent.saturating_sub(received);
                proof.doubled += received.saturating_sub(sent);
            }
        }
        proof
    }

    /// Whether so many pairs ended as they were to, and nothing was lost.
    pub fn is_clean(&self, pairs: u64) -> bool {
        self.ended as u64 == pairs
            && [self.lost, self.doubled].iter().all(|bytes| *bytes == 0)
            && [self.wrong, self.reset, self.failed].iter().all(|ends| *ends == 0)
    }
}

/// The whole scenario.
pub fn run(portway: &Path, dir: &Path, mix: Mix) -> Result<Outcome> {
    let sides = Sides::begin()?;
    let mut live = Live::start(portway, dir, sides.upstream)?;
    let kinds = mix.kinds();
    open(&sides, &live, mix, &kinds)?;
    let mut feeder = Feeder::new(&kinds.bulk);
    settle(&sides, &kinds, &mut feeder)?;
    sides.clients.take_trips();
    feeder.feed_for(&sides, Duration::from_secs(3));
    let (order, answered) = (
        Instant::now(),
        std::thread::scope(|scope| {
            let upgrade = scope.spawn(|| live.upgrade(None));
            while !upgrade.is_finished() {
                feeder.feed_for(&sides, PIECE_EVERY);
            }
            upgrade.join()
        }),
    );
    let answer = answered.ok().context("the asking thread")??;
    let answer = done(answer)?;
    let ready = order + answer.took;
    let under_way = under_way(&sides, mix.all);
    feeder.feed_for(&sides, Duration::from_secs(2));
    let trips = sides.clients.take_trips();
    let took = |wanted: &dyn Fn(&Trip) -> bool| {
        trips.iter().filter(|trip| wanted(trip)).map(|trip| trip.took).collect::<Vec<_>>()
    };
    let before = took(&|trip| trip.asked + trip.took < order);
    let during = took(&|trip| trip.asked <= ready && trip.asked + trip.took >= order);
    let proof = prove(&sides, mix, &kinds)?;
    let left_after = live.alone()?;
    live.stop()?;
    Ok(Outcome { mix, answer, left_after, before, during, proof, under_way })
}

/// Opens each kind, and brings it into its state.
fn open(sides: &Sides, live: &Live, mix: Mix, kinds: &Kinds) -> Result<()> {
    let reading = Plan { read_to: u64::MAX, ..Plan::default() };
    let held = Manner { is_held: true, ..Manner::default() };
    let talking = Plan { send_to: SOME, ..reading };
    sides.open(live, kinds.bulk.clone(), Plan::default(), held)?;
    sides.open(live, kinds.held.clone(), Plan::default(), held)?;
    for pairs in [&kinds.half_closed, &kinds.idle] {
        sides.open(live, pairs.clone(), talking, Manner::default())?;
        pairs.clone().for_each(|pair| sides.backend.plan(pair, talking));
        sides.reach(pairs.clone(), SOME)?;
    }
    for pair in kinds.half_closed.clone() {
        let (ending, _) = sides.one_way(pair);
        ending.plan(pair, Plan { fin_after: Some(SOME), ..talking });
    }
    let asking = Plan { asks: Some(mix.every), ..reading };
    sides.open(live, kinds.asking.clone(), asking, Manner { mirrors: true, ..Manner::default() })?;
    // They send what is taken; those that read of them read nothing yet.
    for pair in kinds.bulk.clone().chain(kinds.held.clone()) {
        let (sender, _) = sides.one_way(pair);
        sender.plan(pair, Plan { send_to: u64::MAX, ..Plan::default() });
    }
    Ok(())
}

/// Waits until those that nobody reads have sent what the queues take.
fn settle(sides: &Sides, kinds: &Kinds, feeder: &mut Feeder) -> Result<()> {
    let sent = || {
        let of = |pair| sides.one_way(pair).0.moved(pair).map_or(0, |(sent, _)| sent);
        kinds.held.clone().map(of).sum::<u64>()
    };
    let mut last = (sent(), Instant::now());
    let begun = Instant::now();
    while last.1.elapsed() < Duration::from_secs(1) {
        ensure!(begun.elapsed() < super::live::PATIENCE, "the queues never fill up");
        feeder.feed_for(sides, PIECE_EVERY);
        if sent() != last.0 {
            last = (sent(), Instant::now());
        }
    }
    Ok(())
}

fn under_way(sides: &Sides, all: u64) -> u64 {
    let of = |pair: u64| {
        let (client, server) = (sides.clients.moved(pair)?, sides.backend.moved(pair)?);
        Some(client.0.saturating_sub(server.1) + server.0.saturating_sub(client.1))
    };
    (0..all).filter_map(of).sum()
}

/// Lets readers of bulk take a piece, one after the other: each one a second.
struct Feeder {
    bulk: Range<u64>,
    next: u64,
    fed: HashMap<u64, u64>,
}

impl Feeder {
    fn new(bulk: &Range<u64>) -> Feeder {
        Feeder { bulk: bulk.clone(), next: bulk.start, fed: HashMap::new() }
    }

    fn feed_for(&mut self, sides: &Sides, time: Duration) {
        let begun = Instant::now();
        let each = (self.bulk.end - self.bulk.start).div_ceil(100);
        while begun.elapsed() < time {
            for _ in 0..each {
                let fed = self.fed.entry(self.next).or_default();
                *fed += PIECE;
                let (_, reader) = sides.one_way(self.next);
                reader.plan(self.next, Plan { read_to: *fed, ..Plan::default() });
                self.next = if self.next + 1 < self.bulk.end { self.next + 1 } else { self.bulk.start };
            }
            std::thread::sleep(PIECE_EVERY);
        }
    }
}

/// Every pair moves more bytes in every direction that is open, and ends: what each end says of it.
fn prove(sides: &Sides, mix: Mix, kinds: &Kinds) -> Result<Proof> {
    let reads = Plan { read_to: u64::MAX, fin_after: Some(0), ..Plan::default() };
    for pair in kinds.bulk.clone().chain(kinds.held.clone()) {
        let (sender, reader) = sides.one_way(pair);
        sender.plan(pair, Plan { send_to: u64::MAX, stops: true, ..reads });
        // The other direction has carried nothing yet.
        reader.plan(pair, Plan { send_to: SOME, ..reads });
    }
    for pair in kinds.half_closed.clone() {
        let (_, open) = sides.one_way(pair);
        open.plan(pair, Plan { send_to: 2 * SOME, ..reads });
    }
    for pair in kinds.idle.clone() {
        let talks = Plan { send_to: 2 * SOME, fin_after: Some(2 * SOME), ..reads };
        sides.clients.plan(pair, talks);
        sides.backend.plan(pair, talks);
    }
    for pair in kinds.asking.clone() {
        // The last question is answered first.
        sides.clients.plan(pair, Plan { read_to: u64::MAX, send_to: u64::MAX, stops: true, ..reads });
    }
    // What does not end by itself is missing in the proof.
    let all = usize::try_from(mix.all)?;
    let ended = || sides.clients.count_ended().min(sides.backend.count_ended()) >= all;
    if let Err(why) = until("every pair has ended", ended) {
        eprintln!("upgrade: {why}");
    }
    Ok(Proof::of(&sides.clients.take_ended(), &sides.backend.take_ended()))
}
