//! What went through a route or an upstream: counters that only grow, read while they are written.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

pub use super::bytes::Bytes;
use super::counted::{Counted, RouteCounted, TimesCounted};
pub use super::end::End;
use super::end::Says;
use super::probation::Results;
use crate::model::Outcome;

/// Datagrams and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// How many datagrams.
    pub datagrams: u64,
    /// Their total length.
    pub bytes: u64,
}

impl AddAssign for Volume {
    fn add_assign(&mut self, more: Volume) {
        self.datagrams += more.datagrams;
        self.bytes += more.bytes;
    }
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections that were opened.
    pub opened: u64,
    /// Those of them that have ended. Never more than `opened`.
    pub closed: u64,
    /// The bytes that they have moved.
    pub bytes: Bytes,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, more: Totals) {
        self.opened += more.opened;
        self.closed += more.closed;
        self.bytes += more.bytes;
    }
}

/// The id of the next tally.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// The counters of a route or of an upstream.
#[derive(Debug)]
pub struct Tally {
    /// No other tally of this process has it.
    id: u64,
    opened: AtomicU64,
    closed: AtomicU64,
    /// Bytes of connections that have ended: up, down.
    bytes: [AtomicU64; 2],
    /// The most that was ever reported: up, down.
    shown: [AtomicU64; 2],
    failed: AtomicU64,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            id: NEXT_ID.fetch_add(1, Relaxed),
            opened: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            bytes: Default::default(),
            shown: Default::default(),
            failed: AtomicU64::new(0),
        }
    }
}

impl Tally {
    /// No other tally of this process has it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Counts one more connection.
    pub fn opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    /// Counts one of them as ended, with its bytes.
    pub fn closed(&self, bytes: Bytes) {
        self.bytes[0].fetch_add(bytes.up, Relaxed);
        self.bytes[1].fetch_add(bytes.down, Relaxed);
        self.closed.fetch_add(1, Relaxed);
    }

    /// Counts an attempt that did not become a connection.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// How many attempts did not become a connection.
    pub fn failures(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Goes on from what another process has counted.
    pub fn add(&self, more: &Counted) {
        let Counted { opened, closed, up, down, failed } = more;
        self.opened.fetch_add(*opened, Relaxed);
        self.bytes[0].fetch_add(*up, Relaxed);
        self.bytes[1].fetch_add(*down, Relaxed);
        self.closed.fetch_add(*closed, Relaxed);
        self.failed.fetch_add(*failed, Relaxed);
    }

    /// From now on less may be reported: connections have moved, and are counted elsewhere with their bytes.
    pub fn report_less(&self) {
        self.shown.iter().for_each(|shown| shown.store(0, Relaxed));
    }

    /// As numbers. `open`: the bytes of its open connections, read after `ended`, those of the others.
    pub fn counted(&self, ended: Bytes, open: Bytes) -> Counted {
        let Totals { opened, closed, bytes } = self.all(ended, open);
        Counted { opened, closed, up: bytes.up, down: bytes.down, failed: self.failures() }
    }

    /// All connections, and the bytes of those that have ended.
    pub fn ended(&self) -> Totals {
        let closed = self.closed.load(Relaxed);
        Totals {
            opened: self.opened.load(Relaxed).max(closed),
            closed,
            bytes: Bytes { up: self.bytes[0].load(Relaxed), down: self.bytes[1].load(Relaxed) },
        }
    }

    /// All connections, and the bytes of all. `ended` are the bytes of ended connections, and must be read before
    /// `open`, those of the open ones. A connection that ends between the two reads is in neither, so the result never
    /// falls below an earlier one.
    pub fn all(&self, ended: Bytes, open: Bytes) -> Totals {
        let most = |shown: &AtomicU64, now: u64| shown.fetch_max(now, Relaxed).max(now);
        let up = most(&self.shown[0], ended.up + open.up);
        let down = most(&self.shown[1], ended.down + open.down);
        Totals { bytes: Bytes { up, down }, ..self.ended() }
    }
}

/// The counters of a route.
#[derive(Debug)]
pub struct Meter {
    /// Connections, their bytes, and failed attempts.
    pub tally: Tally,
    outcomes: [AtomicU64; Outcome::ALL.len()],
    /// Connections that came to nothing, without those up to this id, and those that said nothing: for a probation.
    failed: AtomicU64,
    failed_after: AtomicU64,
    empty: AtomicU64,
    /// Time from the first attempt to a connected upstream.
    pub connect: Histogram<{ CONNECT.len() }>,
    /// From accept to the end.
    pub duration: Histogram<{ DURATION.len() }>,
}

impl Default for Meter {
    fn default() -> Self {
        Meter {
            tally: Tally::default(),
            outcomes: Default::default(),
            failed: AtomicU64::new(0),
            failed_after: AtomicU64::new(0),
            empty: AtomicU64::new(0),
            connect: Histogram::new(&CONNECT),
            duration: Histogram::new(&DURATION),
        }
    }
}

impl Meter {
    /// Counts a connection that has ended.
    pub fn closed(&self, end: &End) {
        self.outcomes[end.outcome as usize].fetch_add(1, Relaxed);
        if let Some(connect) = end.connect {
            self.connect.add(connect);
        }
        self.duration.add(end.duration);
        match end.says() {
            Says::Nothing => {}
            Says::Empty => drop(self.empty.fetch_add(1, Relaxed)),
            Says::Failed if end.id <= self.failed_after.load(Relaxed) => {}
            Says::Failed => drop(self.failed.fetch_add(1, Relaxed)),
        }
        self.tally.closed(end.bytes);
    }

    /// As numbers. `open`: the bytes of its open connections.
    pub fn counted(&self, open: Bytes) -> RouteCounted {
        RouteCounted {
            all: self.tally.counted(self.tally.ended().bytes, open),
            outcomes: self.outcomes().map(|(outcome, count)| (outcome.label().to_owned(), count)).collect(),
            connect: self.connect.counted(),
            duration: self.duration.counted(),
            ..RouteCounted::default()
        }
    }

    /// Goes on from what another process has counted.
    pub fn add(&self, more: &RouteCounted) {
        for outcome in Outcome::ALL {
            let count = more.outcomes.get(outcome.label()).copied().unwrap_or_default();
            self.outcomes[outcome as usize].fetch_add(count, Relaxed);
        }
        self.connect.add_all(&more.connect);
        self.duration.add_all(&more.duration);
        self.tally.add(&more.all);
    }

    /// From now on a connection with this id or a smaller one does not count as failed: it began before an edit.
    pub fn forgive(&self, id: u64) {
        self.failed_after.fetch_max(id, Relaxed);
    }

    /// What has become of its connections.
    pub fn results(&self) -> Results {
        let empty = self.empty.load(Relaxed);
        let tried = self.tally.ended().opened.saturating_sub(empty);
        Results { tried, failed: self.failed.load(Relaxed), turned_away: 0 }
    }

    /// How many connections ended with each outcome. Outcomes with none are left out.
    pub fn outcomes(&self) -> impl Iterator<Item = (Outcome, u64)> {
        let counts = Outcome::ALL.iter().map(|outcome| (*outcome, &self.outcomes[*outcome as usize]));
        counts.map(|(outcome, count)| (outcome, count.load(Relaxed))).filter(|(_, count)| *count > 0)
    }
}

/// Upper bounds of connect times, in seconds: from a connect within a host to the longest that people wait.
pub const CONNECT: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];
/// Upper bounds of durations, in seconds: from a question and its answer to a day.
pub const DURATION: [f64; 12] =
    [0.01, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21_600.0, 86_400.0];

/// How many times lay at or below each bound.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: &'static [f64; N],
    /// How many lay between the bound before and this one.
    counts: [AtomicU64; N],
    above: AtomicU64,
    /// The sum of all times, in microseconds.
    sum: AtomicU64,
}

/// What a histogram holds at a moment.
pub struct Distribution {
    /// Each bound in seconds, with how many were at or below it.
    pub below: Vec<(f64, u64)>,
    /// How many there were in all.
    pub count: u64,
    /// Their sum in seconds.
    pub sum: f64,
}

impl<const N: usize> Histogram<N> {
    fn new(bounds: &'static [f64; N]) -> Self {
        let counts = std::array::from_fn(|_| AtomicU64::new(0));
        Histogram { bounds, counts, above: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    fn add(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let place = self.bounds.iter().position(|bound| seconds <= *bound);
        place.map_or(&self.above, |place| &self.counts[place]).fetch_add(1, Relaxed);
        self.sum.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    fn counted(&self) -> TimesCounted {
        let counts = self.counts.iter().chain([&self.above]).map(|count| count.load(Relaxed));
        TimesCounted { counts: counts.collect(), micros: self.sum.load(Relaxed) }
    }

    /// Adds what another process has counted. One with other bounds is left out: a later build may have others.
    fn add_all(&self, more: &TimesCounted) {
        if more.counts.len() != N + 1 {
            return;
        }
        for (count, more) in self.counts.iter().chain([&self.above]).zip(&more.counts) {
            count.fetch_add(*more, Relaxed);
        }
        self.sum.fetch_add(more.micros, Relaxed);
    }

    /// What it holds now.
    pub fn read(&self) -> Distribution {
        let mut all = 0;
        let below = self.bounds.iter().zip(&self.counts).map(|(bound, count)| {
            all += count.load(Relaxed);
            (*bound, all)
        });
        let below: Vec<(f64, u64)> = below.collect();
        // Exact up to 285 years.
        Distribution {
            below,
            count: all + self.above.load(Relaxed),
            sum: self.sum.load(Relaxed) as f64 / 1e6,
        }
    }
}

#[cfg(test)]
mod tests;
