//! Percentiles, medians, and nothing else.

use std::time::Duration;

use serde_json::{Value, json};

/// Every latency of a run; percentiles are exact.
pub struct Latencies {
    nanos: Vec<u64>,
}

impl Latencies {
    /// Room for so many, so that no allocation is measured.
    pub fn with_capacity(capacity: usize) -> Self {
        Latencies { nanos: Vec::with_capacity(capacity) }
    }

    /// Notes one.
    pub fn add(&mut self, latency: Duration) {
        self.nanos.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.nanos.clear();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.nanos.len()
    }

    /// The smallest latency, in microseconds, that `permille` of a thousand do not exceed (nearest rank; 990 is the
    /// p99). 0 where there is none.
    pub fn percentile_us(&mut self, permille: usize) -> f64 {
        self.nanos.sort_unstable();
        let rank = (permille * self.nanos.len()).div_ceil(1000);
        self.nanos.get(rank.max(1) - 1).map_or(0.0, |nanos| *nanos as f64 / 1000.0)
    }

    /// Adds the percentiles to a result.
    pub fn json(mut self, mut result: Value) -> Value {
        for (name, permille) in [("p50_us", 500), ("p99_us", 990), ("p999_us", 999), ("max_us", 1000)] {
            result[name] = json!(self.percentile_us(permille));
        }
        result
    }
}

/// Median, smallest and largest of the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The middle value; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Summary {
    /// `None` without values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let half = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 };
        Some(Summary { median, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(micros: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::with_capacity(0);
        micros.into_iter().for_each(|us| latencies.add(Duration::from_micros(us)));
        latencies
    }

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let mut hundred = latencies((1..=100).rev());
        assert_eq!(hundred.percentile_us(500), 50.0);
        assert_eq!(hundred.percentile_us(990), 99.0);
        assert_eq!(hundred.percentile_us(999), 100.0);
        assert_eq!(hundred.percentile_us(1000), 100.0);
        let mut thousand = latencies(1..=1000);
        assert_eq!(thousand.percentile_us(999), 999.0);
    }

    #[test]
    fn few_values_and_none() {
        assert_eq!(latencies([7]).percentile_us(999), 7.0);
        assert_eq!(latencies([7]).percentile_us(0), 7.0);
        assert_eq!(latencies([]).percentile_us(500), 0.0);
        assert_eq!(latencies([1, 2, 3]).json(json!({}))["p50_us"], 2.0);
    }

    #[test]
    fn a_median_is_the_middle_of_the_sorted_values() {
        let of = |values: &[f64]| Summary::of(values).unwrap();
        assert_eq!(of(&[3.0, 1.0, 2.0]), Summary { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(of(&[5.0]), Summary { median: 5.0, min: 5.0, max: 5.0 });
        assert_eq!(Summary::of(&[]), None);
    }
}
