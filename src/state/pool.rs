//! The upstreams of one listener, and in which order a client should try them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::balance::{self, Seat, Turns};
use super::hash::{self, Rng};
use super::health::{self, Standing};
use super::upstream::{Attempt, Upstream};
use crate::model::Balance;

/// One upstream of a pool.
#[derive(Clone, Debug)]
pub struct Member {
    /// What is known of it.
    pub upstream: Arc<Upstream>,
    /// Its share beside the others: at least 1.
    pub weight: u32,
    /// Only where no other can be had.
    pub backup: bool,
    /// It takes no more connections than these.
    pub most: Option<u32>,
}

/// The upstreams of one listener.
#[derive(Debug)]
pub struct Pool {
    members: Vec<Member>,
    /// Of each member's name, for [`Balance::SourceHash`].
    names: Vec<u64>,
    balance: Balance,
    slow_start: Duration,
    turns: Turns,
}

/// One connection's way through a pool: which upstreams it has tried.
#[derive(Debug)]
pub struct Walk {
    client: Option<IpAddr>,
    rng: Rng,
    tried: Marks,
    /// The last of them that was full.
    full: Option<usize>,
}

/// An upstream that is to be tried now.
#[derive(Debug)]
pub struct Step {
    /// Its place in the pool.
    pub index: usize,
    /// The attempt.
    pub attempt: Attempt,
}

impl Walk {
    /// The way of a client. `chance` is any number.
    pub fn new(client: Option<IpAddr>, chance: u64) -> Self {
        Walk { client, rng: Rng::new(chance), tried: Marks::default(), full: None }
    }

    /// An upstream that was passed over because it has all the connections that it takes.
    pub fn full(&self) -> Option<usize> {
        self.full
    }
}

impl Pool {
    /// A pool of upstreams in the order of the file.
    pub fn new(members: Vec<Member>, balance: Balance, slow_start: Duration) -> Self {
        let name = |member: &Member| hash::bytes(member.upstream.addr().to_string().as_bytes());
        let names = match balance {
            Balance::SourceHash => members.iter().map(name).collect(),
            _ => Vec::new(),
        };
        Pool { turns: Turns::new(members.len()), members, names, balance, slow_start }
    }

    /// The members, in the order of the file.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The next upstream to be tried. The caller walks on until one is connected, so that choosing and retrying need
    /// not know of each other. Upstreams that are up come first, then backups that are up, then those that are down:
    /// where health errs, a client is served all the same. One that is full is passed over.
    pub fn next(&self, walk: &mut Walk, now: Instant) -> Option<Step> {
        loop {
            let index = match self.members.len() {
                1 => (!walk.tried.has(0)).then_some(0),
                _ => self.choose(walk, now),
            }?;
            walk.tried.add(index);
            let member = self.members.get(index)?;
            if let Some(attempt) = member.upstream.begin(member.most, now) {
                return Some(Step { index, attempt });
            }
            walk.full = Some(index);
        }
    }

    fn choose(&self, walk: &mut Walk, now: Instant) -> Option<usize> {
        let mut seats: Vec<Seat> = Vec::with_capacity(self.members.len());
        let mut best = u8::MAX;
        for (index, member) in self.members.iter().enumerate() {
            if walk.tried.has(index) {
                continue;
            }
            let load = member.upstream.load();
            if member.most.is_some_and(|most| load >= most) {
                walk.full = Some(index);
                continue;
            }
            let (rank, since) = match member.upstream.standing(now) {
                Standing::Up(since) => (u8::from(member.backup), since),
                // A backup is no place to try for the sake of trying.
                Standing::Trial if !member.backup => (0, Some(now)),
                Standing::Trial | Standing::Down => (2 + u8::from(member.backup), None),
            };
            if rank < best {
                (best, _) = (rank, seats.clear());
            }
            if rank == best {
                let weight = u64::from(member.weight) * u64::from(self.part(since, now));
                seats.push(Seat { index, weight, load: load.into() });
            }
        }
        match self.balance {
            Balance::First => seats.first().map(|seat| seat.index),
            Balance::RoundRobin => balance::round_robin(&seats, &self.turns),
            Balance::LeastConnections => balance::least_connections(&mut seats, &self.turns),
            Balance::RandomTwo => balance::random_two(&mut seats, &mut walk.rng),
            Balance::SourceHash => {
                let name = |index: usize| self.names.get(index).copied().unwrap_or_default();
                balance::source_hash(&seats, hash::client(walk.client), name)
            }
        }
    }

    /// How much of its weight an upstream has that came back then, in 1/256. A source keeps its upstream whatever the
    /// replica that it comes to, so there is no slow start for it.
    fn part(&self, since: Option<Instant>, now: Instant) -> u32 {
        match self.balance {
            Balance::SourceHash => 1,
            _ => health::ramp(since, self.slow_start, now),
        }
    }
}

/// A set of small numbers.
#[derive(Debug, Default)]
struct Marks {
    low: u64,
    high: Vec<u64>,
}

impl Marks {
    fn has(&self, index: usize) -> bool {
        let word = match index / 64 {
            0 => Some(&self.low),
            word => self.high.get(word - 1),
        };
        word.is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    fn add(&mut self, index: usize) {
        let word = match index / 64 {
            0 => &mut self.low,
            word => {
                if self.high.len() < word {
                    self.high.resize(word, 0);
                }
                &mut self.high[word - 1]
            }
        };
        *word |= 1 << (index % 64);
    }
}

#[cfg(test)]
mod tests;
