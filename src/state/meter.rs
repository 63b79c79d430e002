//! What went through a route or an upstream: counters that only grow, read while they are written.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::model::Outcome;

/// Bytes, by their direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// From the client to the upstream.
    pub up: u64,
    /// From the upstream to the client.
    pub down: u64,
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, more: Bytes) {
        self.up += more.up;
        self.down += more.down;
    }
}

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
    /// Time from accept to a connected upstream.
    pub connect: Histogram<{ CONNECT.len() }>,
    /// From accept to the end.
    pub duration: Histogram<{ DURATION.len() }>,
}

/// What is counted when a connection ends.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// How it ended.
    pub outcome: Outcome,
    /// The bytes that it has moved.
    pub bytes: Bytes,
    /// Time from accept to a connected upstream. `None`: none connected.
    pub connect: Option<Duration>,
    /// From accept to the end.
    pub duration: Duration,
}

impl Default for Meter {
    fn default() -> Self {
        Meter {
            tally: Tally::default(),
            outcomes: Default::default(),
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
        self.tally.closed(end.bytes);
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
mod tests {
    use super::*;

    #[test]
    fn bytes_never_shrink_where_a_connection_ends_between_two_looks() {
        let (tally, bytes) = (Tally::default(), |up, down| Bytes { up, down });
        tally.opened();
        assert_eq!(tally.all(tally.ended().bytes, bytes(100, 7)).bytes, bytes(100, 7));
        // It is out of the table, and not counted yet.
        assert_eq!(tally.all(tally.ended().bytes, bytes(0, 0)).bytes, bytes(100, 7));
        tally.closed(bytes(120, 9));
        let all = tally.all(tally.ended().bytes, bytes(0, 0));
        assert_eq!(all, Totals { opened: 1, closed: 1, bytes: bytes(120, 9) });
    }

    #[test]
    fn a_meter_counts_each_end_once() {
        let meter = Meter::default();
        let end = |outcome, connect: Option<u64>, seconds| End {
            outcome,
            bytes: Bytes { up: 1, down: 2 },
            connect: connect.map(Duration::from_millis),
            duration: Duration::from_secs(seconds),
        };
        meter.closed(&end(Outcome::ClientClosed, Some(1), 1));
        meter.closed(&end(Outcome::ClientClosed, Some(40_000), 100_000));
        meter.closed(&end(Outcome::ConnectFailed, None, 5));
        let outcomes: Vec<_> = meter.outcomes().collect();
        assert_eq!(outcomes, [(Outcome::ClientClosed, 2), (Outcome::ConnectFailed, 1)]);
        let Distribution { below, count, sum } = meter.connect.read();
        assert_eq!((below[0], below[1], below[11]), ((0.0005, 0), (0.001, 1), (30.0, 1)));
        assert_eq!((count, sum), (2, 40.001));
        let Distribution { below, count, .. } = meter.duration.read();
        assert_eq!((below[3], below[4], below[11], count), ((1.0, 1), (5.0, 2), (86_400.0, 2), 3));
        assert_eq!(meter.tally.ended().bytes, Bytes { up: 3, down: 6 });
    }
}
