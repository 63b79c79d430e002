//! Counters as plain numbers: what a process that takes over goes on counting from.
//!
//! The old process counts on while its last connections end. What it says is always the whole; [`RouteCounted::since`] is
//! what came in between, so nothing is counted twice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counters by name.
pub type Counts = BTreeMap<String, u64>;

/// What a [`Tally`](super::Tally) has counted, with the bytes of connections that are open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counted {
    /// Connections that were opened.
    pub opened: u64,
    /// Those that have ended.
    pub closed: u64,
    /// Bytes to upstreams.
    pub up: u64,
    /// Bytes to clients.
    pub down: u64,
    /// Attempts that did not become a connection.
    pub failed: u64,
}

/// What a histogram has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimesCounted {
    /// Between each bound and the one before, and last above all.
    pub counts: Vec<u64>,
    /// The sum in microseconds.
    pub micros: u64,
}

/// What was counted of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteCounted {
    /// Its connections.
    pub all: Counted,
    /// How they have ended.
    pub outcomes: Counts,
    /// From the first attempt to a connected upstream.
    pub connect: TimesCounted,
    /// From accept to the end.
    pub duration: TimesCounted,
    /// Clients that were refused, by the key that causes it.
    pub turned_away: Counts,
    /// By upstream, as the file writes it.
    pub upstreams: BTreeMap<String, Counted>,
}

impl Counted {
    /// What was counted after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Counted) -> Counted {
        Counted {
            opened: self.opened.saturating_sub(earlier.opened),
            closed: self.closed.saturating_sub(earlier.closed),
            up: self.up.saturating_sub(earlier.up),
            down: self.down.saturating_sub(earlier.down),
            failed: self.failed.saturating_sub(earlier.failed),
        }
    }
}

impl TimesCounted {
    fn since(&self, earlier: &TimesCounted) -> TimesCounted {
        let before = |at: usize| earlier.counts.get(at).copied().unwrap_or_default();
        let counts = self.counts.iter().enumerate().map(|(at, now)| now.saturating_sub(before(at)));
        TimesCounted { counts: counts.collect(), micros: self.micros.saturating_sub(earlier.micros) }
    }
}

impl RouteCounted {
    /// What was counted after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &RouteCounted) -> RouteCounted {
        let upstreams = self.upstreams.iter().map(|(name, now)| {
            let before = earlier.upstreams.get(name);
            (name.clone(), before.map_or_else(|| now.clone(), |before| now.since(before)))
        });
        RouteCounted {
            all: self.all.since(&earlier.all),
            outcomes: counts_since(&self.outcomes, &earlier.outcomes),
            connect: self.connect.since(&earlier.connect),
            duration: self.duration.since(&earlier.duration),
            turned_away: counts_since(&self.turned_away, &earlier.turned_away),
            upstreams: upstreams.collect(),
        }
    }
}

/// What was counted after `earlier`.
pub fn counts_since(now: &Counts, earlier: &Counts) -> Counts {
    let before = |name: &String| earlier.get(name).copied().unwrap_or_default();
    now.iter().map(|(name, count)| (name.clone(), count.saturating_sub(before(name)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(all: &[(&str, u64)]) -> Counts {
        all.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn what_came_in_between_is_counted_by_its_name() {
        let one = |opened, failed| Counted { opened, closed: 1, up: 10, down: 20, failed };
        let of = |upstreams: &[(&str, Counted)], turned_away: &[(&str, u64)]| RouteCounted {
            upstreams: upstreams
                .iter()
                .map(|(name, counted)| ((*name).to_owned(), counted.clone()))
                .collect(),
            turned_away: counts(turned_away),
            ..RouteCounted::default()
        };
        let earlier = of(&[("a:80", one(5, 2)), ("gone:80", one(9, 9))], &[("denied", 3)]);
        let now = of(&[("a:80", one(7, 2)), ("new:80", one(4, 0))], &[("denied", 8), ("limited", 1)]);
        let since = now.since(&earlier);
        let a = Counted { opened: 2, ..Counted::default() };
        assert_eq!(since, of(&[("a:80", a), ("new:80", one(4, 0))], &[("denied", 5), ("limited", 1)]));
        // One that began anew has counted nothing.
        let none = of(&[("a:80", Counted::default()), ("gone:80", Counted::default())], &[("denied", 0)]);
        let restarted = of(&[("a:80", one(0, 0)), ("gone:80", one(0, 0))], &[("denied", 1)]);
        assert_eq!(restarted.since(&earlier), none);
    }

    #[test]
    fn times_are_counted_by_their_bounds() {
        let of = |counts: &[u64], micros| TimesCounted { counts: counts.to_vec(), micros };
        assert_eq!(of(&[5, 1, 7], 90).since(&of(&[2, 1], 30)), of(&[3, 0, 7], 60));
        assert_eq!(of(&[1], 10).since(&of(&[2, 9], 30)), of(&[0], 0));
    }
}
