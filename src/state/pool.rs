//! The upstreams of one listener, and in which order a client should try them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::balance::{self, RoundRobin, Weighted};
use super::checked::Checked;
use super::hash::{self, Rng};
use super::health::{self, Standing};
use super::steering::{Serves, Steering};
use super::upstream::{Attempt, Upstream};
use crate::model::Balance;

/// One upstream of a pool.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its address, load and health by failed connects.
    pub upstream: Arc<Upstream>,
    /// Its share beside the others. 0: it gets no new connections.
    pub weight: u32,
    /// The file lets it keep what it has, and gives it no new connections.
    pub drains: bool,
    /// What was decided about it since. `None`: nothing can be.
    pub steering: Option<Arc<Steering>>,
    /// Used only if no other is up.
    pub backup: bool,
    /// The most connections that it takes. `None`: any number.
    pub most: Option<u32>,
    /// The result of its active checks. `None`: it has none.
    pub check: Option<Arc<Checked>>,
    /// The name it is an address of. `None`: the file has the address itself.
    pub of: Option<NameOf>,
    /// Whether it leads back to the listener. Such a member is never tried.
    pub leads_back: bool,
}

/// How an address belongs to its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameOf {
    /// Which name of its pool: addresses of one name have the same number.
    pub group: usize,
    /// Whether it is of the family that the resolver does not prefer. Such an address is used only if none of the other
    /// family is up, and soon beside one that does not answer.
    pub second: bool,
    /// The text that [`Balance::SourceHash`] knows it by. `None`: its address.
    pub known_as: Option<String>,
}

impl Member {
    /// A member with weight 1, and nothing else set.
    pub fn plain(upstream: Arc<Upstream>) -> Self {
        Member {
            upstream,
            weight: 1,
            drains: false,
            steering: None,
            backup: false,
            most: None,
            check: None,
            of: None,
            leads_back: false,
        }
    }

    /// Whether it gets new connections, by the file and by hand.
    pub fn takes_new(&self) -> bool {
        !self.drains && self.serves() == Serves::Ready && self.weight() > 0
    }

    /// What was decided about it since the file was read.
    pub fn serves(&self) -> Serves {
        self.steering.as_ref().map_or(Serves::Ready, |steering| steering.serves())
    }

    /// Its share beside the others, as it is now.
    fn weight(&self) -> u32 {
        self.steering.as_ref().and_then(|steering| steering.weight()).unwrap_or(self.weight)
    }

    /// Whether it may be tried at all.
    fn may_be_tried(&self) -> bool {
        !self.leads_back && self.takes_new()
    }

    /// Whether it is up, as far as is known.
    pub fn is_up(&self, now: Instant) -> bool {
        !self.leads_back && matches!(self.standing(now), Standing::Up(_))
    }

    /// Whether it should be tried now.
    fn standing(&self, now: Instant) -> Standing {
        let passive = self.upstream.standing(now);
        match (&self.check, passive) {
            (None, standing) => standing,
            (Some(check), _) if !check.is_up() => Standing::Down,
            (Some(check), Standing::Up(since)) => Standing::Up(since.max(check.back_since())),
            (Some(_), standing) => standing,
        }
    }

    fn is_second(&self) -> bool {
        self.of.as_ref().is_some_and(|of| of.second)
    }
}

/// The upstreams of one listener, and how to choose among them.
#[derive(Debug)]
pub struct Pool {
    members: Vec<Member>,
    /// The hash of each member, for [`Balance::SourceHash`]. Empty for the others.
    names: Vec<u64>,
    balance: Balance,
    slow_start: Duration,
    turns: RoundRobin,
}

/// One connection's walk through a pool: which upstreams it has tried.
#[derive(Debug)]
pub struct Walk {
    client: Option<IpAddr>,
    rng: Rng,
    tried: Marks,
    /// Whether the last one was of the second family.
    second: bool,
    /// The index of the last upstream that was full.
    full: Option<usize>,
}

/// An upstream to try now.
#[derive(Debug)]
pub struct Step {
    /// Its index in the pool.
    pub index: usize,
    /// The attempt, which counts in the upstream's load.
    pub attempt: Attempt,
}

impl Walk {
    /// The walk of a client. `chance` is any number.
    pub fn new(client: Option<IpAddr>, chance: u64) -> Self {
        Walk { client, rng: Rng::new(chance), tried: Marks::default(), second: false, full: None }
    }

    /// The index of an upstream that was passed over because it was full. `None`: none was.
    pub fn full(&self) -> Option<usize> {
        self.full
    }
}

impl Pool {
    /// A pool of upstreams in the order of the file.
    pub fn new(members: Vec<Member>, balance: Balance, slow_start: Duration) -> Self {
        let name = |member: &Member| match member.of.as_ref().and_then(|of| of.known_as.as_ref()) {
            Some(known_as) => hash::bytes(known_as.as_bytes()),
            None => hash::bytes(member.upstream.addr().to_string().as_bytes()),
        };
        let names = match balance {
            Balance::SourceHash => members.iter().map(name).collect(),
            _ => Vec::new(),
        };
        Pool { turns: RoundRobin::new(members.len()), members, names, balance, slow_start }
    }

    /// The members, in the order of the file.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether any member is up and gets new connections. A full one counts as up: that passes by itself.
    pub fn is_any_up(&self, now: Instant) -> bool {
        self.members.iter().any(|member| member.takes_new() && member.is_up(now))
    }

    /// Whether a member is down while another one is up.
    pub fn is_worse(&self, index: usize, now: Instant) -> bool {
        self.members.get(index).is_some_and(|member| !member.is_up(now)) && self.is_any_up(now)
    }

    /// Whether any member gets new connections.
    pub fn takes_new(&self) -> bool {
        self.members.iter().any(Member::takes_new)
    }

    /// The next upstream to try. The caller walks on until one connects, so that choosing and retrying stay
    /// independent. Upstreams that are up come first, then backups that are up, then those that are down: if health
    /// errs, a client is still served. Full upstreams are passed over.
    pub fn next(&self, walk: &mut Walk, now: Instant) -> Option<Step> {
        match &*self.members {
            [only] if walk.tried.has(0) || !only.may_be_tried() => None,
            [_] => self.begin(walk, 0, now),
            _ => self.first_that_begins(walk, now, None),
        }
    }

    /// The next address of the same name as this index: first one of the other family than the last (RFC 8305, section
    /// 4), so that a family that does not work costs one delay, and not one for each of its addresses.
    pub fn next_beside(&self, walk: &mut Walk, index: usize, now: Instant) -> Option<Step> {
        let group = self.group(index)?;
        self.first_that_begins(walk, now, Some(group))
    }

    /// Whether the name of this address has other addresses.
    pub fn has_others(&self, index: usize) -> bool {
        let Some(own) = self.group(index) else { return false };
        let usable = self.members.iter().filter(|member| !member.leads_back);
        usable.filter(|member| member.of.as_ref().is_some_and(|of| of.group == own)).count() > 1
    }

    /// Whether there is an upstream that the walk has not tried.
    pub fn has_left(&self, walk: &Walk) -> bool {
        self.members.iter().enumerate().any(|(index, member)| member.may_be_tried() && !walk.tried.has(index))
    }

    /// Whether any member leads back to the listener.
    pub fn has_loop(&self) -> bool {
        self.members.iter().any(|member| member.leads_back)
    }

    fn group(&self, index: usize) -> Option<usize> {
        self.members.get(index)?.of.as_ref().map(|of| of.group)
    }

    fn first_that_begins(&self, walk: &mut Walk, now: Instant, group: Option<usize>) -> Option<Step> {
        loop {
            let index = self.choose(walk, now, group)?;
            if let Some(step) = self.begin(walk, index, now) {
                return Some(step);
            }
        }
    }

    fn begin(&self, walk: &mut Walk, index: usize, now: Instant) -> Option<Step> {
        walk.tried.add(index);
        let member = self.members.get(index)?;
        match member.upstream.begin(member.most, now) {
            Some(attempt) => {
                walk.second = member.is_second();
                Some(Step { index, attempt })
            }
            None => {
                walk.full = Some(index);
                None
            }
        }
    }

    fn choose(&self, walk: &mut Walk, now: Instant, group: Option<usize>) -> Option<usize> {
        let mut seats: Vec<Weighted> = Vec::with_capacity(self.members.len());
        let mut best = u8::MAX;
        for (index, member) in self.members.iter().enumerate() {
            let elsewhere = group.is_some() && member.of.as_ref().map(|of| of.group) != group;
            if elsewhere || !member.may_be_tried() || walk.tried.has(index) {
                continue;
            }
            let load = member.upstream.load();
            if member.most.is_some_and(|most| load >= most) {
                walk.full = Some(index);
                continue;
            }
            let later = match group {
                Some(_) => member.is_second() == walk.second,
                None => member.is_second(),
            };
            let order = 2 * u8::from(member.backup) + u8::from(later);
            let (rank, since) = match member.standing(now) {
                Standing::Up(since) => (order, since),
                // A trial is no reason to use a backup.
                Standing::Trial if !member.backup => (u8::from(later), Some(now)),
                Standing::Trial | Standing::Down => (4 + order, None),
            };
            if rank < best {
                (best, _) = (rank, seats.clear());
            }
            if rank == best {
                let weight = u64::from(member.weight()) * u64::from(self.part(since, now));
                seats.push(Weighted { index, weight, load: load.into() });
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

    /// The part of its weight that an upstream gets that came back at `since`, in 1/256. [`Balance::SourceHash`] has no
    /// slow start: a source keeps its upstream, whatever replica it connects to.
    fn part(&self, since: Option<Instant>, now: Instant) -> u32 {
        match self.balance {
            Balance::SourceHash => 1,
            _ => health::ramp(since, self.slow_start, now),
        }
    }
}

/// A set of indices. The first 64 need no allocation.
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
mod names_tests;
#[cfg(test)]
mod tests;
