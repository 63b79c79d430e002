//! Chooses the next of several upstreams. Each rule picks one; called again without it, it picks the next best.

use std::sync::Mutex;

use super::hash::{self, Rng};
use super::lock::lock;

/// An upstream that can be chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weighted {
    /// Its index in the pool.
    pub index: usize,
    /// At least 1.
    pub weight: u64,
    pub load: u64,
}

/// Smooth weighted round-robin, as in nginx: weights 5, 1, 1 give `aabacaa`, not `aaaaabc`.
#[derive(Debug)]
pub(super) struct RoundRobin {
    /// How many turns each upstream of the pool is owed, in units of weight.
    owed: Mutex<Vec<i64>>,
}

impl RoundRobin {
    pub(super) fn new(upstreams: usize) -> Self {
        RoundRobin { owed: Mutex::new(vec![0; upstreams]) }
    }

    /// The next in turn: each is owed its weight, and the one that is owed most pays for all.
    fn next(&self, seats: &[Weighted]) -> Option<usize> {
        let mut owed = lock(&self.owed);
        let mut total = 0;
        let mut next: Option<(i64, usize)> = None;
        for seat in seats {
            let weight = i64::try_from(seat.weight).unwrap_or(i64::MAX);
            total += weight;
            let own = owed.get_mut(seat.index)?;
            *own += weight;
            if next.is_none_or(|(most, _)| *own > most) {
                next = Some((*own, seat.index));
            }
        }
        let (_, index) = next?;
        *owed.get_mut(index)? -= total;
        Some(index)
    }
}

/// Weighted round-robin.
pub(super) fn round_robin(seats: &[Weighted], turns: &RoundRobin) -> Option<usize> {
    turns.next(seats)
}

/// The least load relative to its weight; round-robin among equals.
pub(super) fn least_connections(seats: &mut Vec<Weighted>, turns: &RoundRobin) -> Option<usize> {
    let least = seats.iter().copied().reduce(|a, b| if lighter(&b, &a) { b } else { a })?;
    seats.retain(|seat| !lighter(&least, seat));
    turns.next(seats)
}

/// Draws two at random by weight, and takes the one with less load. Nearly as even as the least load of all, without a
/// rush on an upstream that has just come up.
pub(super) fn random_two(seats: &mut Vec<Weighted>, rng: &mut Rng) -> Option<usize> {
    let first = draw(seats, rng)?;
    let Some(second) = draw(seats, rng) else { return Some(first.index) };
    Some(if lighter(&second, &first) { second.index } else { first.index })
}

/// The upstream that this client always gets (see [`hash`]). `name` gives the hash of an upstream of the pool.
pub(super) fn source_hash(seats: &[Weighted], client: u64, name: impl Fn(usize) -> u64) -> Option<usize> {
    let dear = |seat: &Weighted| (hash::cost(client, name(seat.index)), seat.weight, seat.index);
    let cheaper = |a: (u64, u64, usize), b: (u64, u64, usize)| {
        if u128::from(b.0) * u128::from(a.1) < u128::from(a.0) * u128::from(b.1) { b } else { a }
    };
    seats.iter().map(dear).reduce(cheaper).map(|(.., index)| index)
}

/// Whether `a` has less load relative to its weight than `b`.
fn lighter(a: &Weighted, b: &Weighted) -> bool {
    u128::from(a.load) * u128::from(b.weight) < u128::from(b.load) * u128::from(a.weight)
}

/// Removes one, drawn at random by weight.
fn draw(seats: &mut Vec<Weighted>, rng: &mut Rng) -> Option<Weighted> {
    let total = seats.iter().map(|seat| seat.weight).sum::<u64>();
    if total == 0 {
        return None;
    }
    let mut left = rng.below(total);
    let at = seats.iter().position(|seat| match left.checked_sub(seat.weight) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    })?;
    Some(seats.swap_remove(at))
}
