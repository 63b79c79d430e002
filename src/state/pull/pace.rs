//! When to ask a store again: neither all nodes at the same moment, nor one of them too often.

use std::time::Duration;

use crate::state::hash::Rng;

/// The longest wait after failures.
const LONGEST: Duration = Duration::from_secs(60);

/// The shortest wait: a store that answers at once is not asked in a loop.
const SHORTEST: Duration = Duration::from_millis(100);

/// For how long a store may wait for a change. With 10,000 nodes that is 167 requests per second.
pub(super) const LONG_POLL: Duration = Duration::from_secs(60);

/// Draws times.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    every: Duration,
    rng: Rng,
}

impl Pace {
    pub fn new(every: Duration, seed: u64) -> Pace {
        Pace { every, rng: Rng::new(seed) }
    }

    /// Between two looks: the interval, 20 % more or less.
    pub fn between(&mut self) -> Duration {
        self.every.mul_f64(0.8) + self.upto(self.every.mul_f64(0.4))
    }

    /// For what many nodes learn at the same moment: at any time within the interval.
    pub fn spread(&mut self) -> Duration {
        self.upto(self.every)
    }

    /// After so many failures in a row, at least one. Full jitter: at any time up to a bound that doubles (Brooker 2015,
    /// "Exponential Backoff and Jitter"), so that the end of an outage is no herd.
    pub fn backoff(&mut self, failures: u32) -> Duration {
        let doubled = self.every.saturating_mul(1 << failures.saturating_sub(1).min(16));
        self.upto(doubled.min(LONGEST.max(self.every))).max(SHORTEST)
    }

    fn upto(&mut self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.rng.below(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stay_within_their_bounds_and_fill_them() {
        let every = Duration::from_secs(5);
        let mut pace = Pace::new(every, 1);
        let mut of = |draw: fn(&mut Pace) -> Duration| {
            let drawn: Vec<f64> = (0..2_000).map(|_| draw(&mut pace).as_secs_f64()).collect();
            let mean = drawn.iter().sum::<f64>() / 2_000.0;
            (drawn.iter().copied().fold(f64::MAX, f64::min), mean, drawn.iter().copied().fold(0.0, f64::max))
        };
        let near = |(least, mean, most): (f64, f64, f64), wanted: (f64, f64, f64)| {
            assert!(least >= wanted.0 && most <= wanted.2, "{least} {most}");
            assert!((mean - wanted.1).abs() < wanted.2 * 0.03, "{mean}");
        };
        near(of(Pace::between), (4.0, 5.0, 6.0));
        near(of(Pace::spread), (0.0, 2.5, 5.0));
        near(of(|pace| pace.backoff(1)), (0.1, 2.5, 5.0));
        near(of(|pace| pace.backoff(3)), (0.1, 10.0, 20.0));
        near(of(|pace| pace.backoff(1_000_000)), (0.1, 30.0, 60.0));
        // A longer interval is its own bound.
        pace = Pace::new(Duration::from_secs(300), 1);
        let drawn: Vec<Duration> = (1..2_000).map(|failures| pace.backoff(failures)).collect();
        assert!(drawn.iter().all(|pause| pause.as_secs() < 300));
        assert!(drawn.iter().any(|pause| pause.as_secs() > 290));
    }
}
