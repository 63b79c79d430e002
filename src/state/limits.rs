//! Limits per client, by its address: how many connections it has, and how fast new ones may come.
//!
//! An IPv6 client is its /64: whoever has one address of it has all. Connections are counted exactly: their table has
//! an entry only for a client with an open connection. The table of rates is bounded. When it is full, it forgets the
//! one of a few clients that would be forgiven first. A flood of new addresses therefore evicts itself, and not the
//! client that has used up its rate. A forgotten client is admitted, never refused.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::hash;
use crate::model::Rate;

/// What a limit treats as one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientKey {
    /// One IPv4 address.
    V4(u32),
    /// The upper half of an IPv6 address: a /64.
    V6(u64),
}

impl ClientKey {
    /// The key of an address. IPv4-mapped addresses count as IPv4.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => ClientKey::V4(ip.to_bits()),
            IpAddr::V6(ip) => ClientKey::V6(u64::try_from(ip.to_bits() >> 64).unwrap_or_default()),
        }
    }

    /// The address, or the first one of its /64.
    pub fn ip(self) -> IpAddr {
        match self {
            ClientKey::V4(bits) => IpAddr::V4(Ipv4Addr::from_bits(bits)),
            ClientKey::V6(bits) => IpAddr::V6(Ipv6Addr::from_bits(u128::from(bits) << 64)),
        }
    }

    /// Which of `parts` shards of a table it belongs to. `parts` is at least 1.
    pub fn shard(self, parts: usize) -> usize {
        let parts = u64::try_from(parts).unwrap_or(1).max(1);
        usize::try_from(self.hash(0) % parts).unwrap_or_default()
    }

    fn hash(self, seed: u64) -> u64 {
        let (family, bits) = match self {
            ClientKey::V4(bits) => (4, u64::from(bits)),
            ClientKey::V6(bits) => (6, bits),
        };
        hash::mix(hash::mix(seed ^ family) ^ bits)
    }
}

/// How many open connections each client of one route has.
#[derive(Debug, Default)]
pub struct ClientConnections {
    open: HashMap<ClientKey, u32>,
}

impl ClientConnections {
    /// Counts one more connection of a client, unless it has `most` already. Returns whether it was counted.
    pub fn enter(&mut self, client: ClientKey, most: u32) -> bool {
        let open = self.open.entry(client).or_default();
        let may = *open < most;
        if may {
            *open += 1;
        } else if *open == 0 {
            self.open.remove(&client);
        }
        may
    }

    /// How many connections a client has.
    pub fn of(&self, client: ClientKey) -> u32 {
        self.open.get(&client).copied().unwrap_or_default()
    }

    /// Counts one connection of a client less.
    pub fn leave(&mut self, client: ClientKey) {
        if let Entry::Occupied(mut entry) = self.open.entry(client) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
                // Free the memory that a crowd has left behind.
                if self.open.capacity() > 64 && self.open.len() < self.open.capacity() / 8 {
                    self.open.shrink_to(self.open.len() * 2);
                }
            }
        }
    }

    /// How many clients have a connection.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether no client has a connection.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// How many places of the table one client can take.
const WAYS: usize = 8;

/// The connection rates of clients: a bounded table for all routes. Uses GCRA, the "virtual scheduling" of ITU-T I.371:
/// one time per client, at which all its connections so far are paid for.
#[derive(Debug)]
pub struct Rates {
    places: Box<[Place]>,
    seed: u64,
    epoch: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    client: ClientKey,
    route: u32,
    /// Nanoseconds after the epoch. If that is in the past, the place is free.
    paid: u64,
}

/// What a client of a route has not paid off yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed {
    /// The number of the route.
    pub route: u32,
    /// The client.
    pub client: ClientKey,
    /// When all its connections so far are paid for, from now.
    pub ahead: Duration,
}

/// The same, as a process says it to the one that takes over from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaidRate {
    /// The name of the route.
    pub route: String,
    /// The client, or the first address of its /64.
    pub client: IpAddr,
    /// Nanoseconds.
    pub ahead: u64,
}

impl Rates {
    /// A table for about `clients` clients. `seed` is random, so that nobody can choose addresses that collide.
    pub fn new(clients: usize, seed: u64, now: Instant) -> Self {
        let free = Place { client: ClientKey::V4(0), route: 0, paid: 0 };
        let places = clients.max(WAYS).next_multiple_of(WAYS);
        Rates { places: vec![free; places].into(), seed, epoch: now }
    }

    /// Counts one more connection of a client to a route, unless it comes too soon. Returns whether it was counted.
    pub fn enter(&mut self, route: u32, client: ClientKey, rate: Rate, now: Instant) -> bool {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let now = self.nanos(now);
        let interval = nanos(rate.interval()).max(1);
        let ahead = interval.saturating_mul(u64::from(rate.burst()));
        let Some(place) = self.place(route, client) else { return true };
        let known = (place.client, place.route) == (client, route);
        let paid = if known { place.paid.max(now) } else { now };
        let after = paid.saturating_add(interval);
        let may = after <= now.saturating_add(ahead);
        if may {
            *place = Place { client, route, paid: after };
        }
        may
    }

    /// Who has not paid off yet.
    pub fn owed(&self, now: Instant) -> impl Iterator<Item = Owed> {
        let now = self.nanos(now);
        let owing = self.places.iter().filter_map(move |place| Some((place, place.paid.checked_sub(now)?)));
        owing.map(|(place, ahead)| Owed {
            route: place.route,
            client: place.client,
            ahead: Duration::from_nanos(ahead),
        })
    }

    /// Notes what a client owes from before.
    pub fn owe(&mut self, owed: Owed, now: Instant) {
        let ahead = u64::try_from(owed.ahead.as_nanos()).unwrap_or(u64::MAX);
        let paid = self.nanos(now).saturating_add(ahead);
        if let Some(place) = self.place(owed.route, owed.client) {
            *place = Place { client: owed.client, route: owed.route, paid };
        }
    }

    /// Nanoseconds after the epoch. Never 0, which is the time of a free place.
    fn nanos(&self, now: Instant) -> u64 {
        let nanos = now.saturating_duration_since(self.epoch).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// The place of the client, or one that it can take: a free one, or that of the client that would be forgiven
    /// first.
    fn place(&mut self, route: u32, client: ClientKey) -> Option<&mut Place> {
        let sets = u64::try_from(self.places.len() / WAYS).unwrap_or(1).max(1);
        let set = client.hash(self.seed ^ u64::from(route)) % sets;
        let first = usize::try_from(set).unwrap_or_default() * WAYS;
        let ways = self.places.get_mut(first..first + WAYS)?;
        let known = ways.iter().position(|place| (place.client, place.route) == (client, route));
        let first = || ways.iter().enumerate().min_by_key(|(_, place)| place.paid).map(|(index, _)| index);
        let index = known.or_else(first)?;
        ways.get_mut(index)
    }
}

#[cfg(test)]
mod tests;
