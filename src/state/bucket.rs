//! A token bucket: bytes that may pass now, and when more may.

use std::time::{Duration, Instant};

use crate::model::ByteRate;

/// A full bucket holds what its rate gives in this time: short enough that a person sees a steady stream.
const DEPTH: Duration = Duration::from_millis(100);
/// The least depth in bytes, for rates at which a bucket would hold single bytes.
const LEAST_DEPTH: u64 = 64;

/// A token bucket: bytes that may pass, at a rate.
#[derive(Debug)]
pub struct Bucket {
    rate: u64,
    depth: u64,
    /// Bytes, times 10^9, so that nothing is lost between two calls.
    filled: u128,
    at: Instant,
}

const SCALE: u128 = 1_000_000_000;

impl Bucket {
    /// A full bucket.
    pub fn new(rate: ByteRate, now: Instant) -> Self {
        let rate = rate.bytes();
        let depth = (rate / u64::try_from(1000 / DEPTH.as_millis()).unwrap_or(1)).max(LEAST_DEPTH);
        Bucket { rate, depth, filled: u128::from(depth) * SCALE, at: now }
    }

    /// The same with as many bytes as were left elsewhere.
    pub fn with(self, bytes: u64) -> Self {
        Bucket { filled: u128::from(bytes.min(self.depth)) * SCALE, ..self }
    }

    /// How many bytes are left.
    pub fn left(&self) -> u64 {
        u64::try_from(self.filled / SCALE).unwrap_or(u64::MAX)
    }

    /// How many bytes may pass now. If that is next to none, fails with the time at which half a bucket may pass, so
    /// that a slow stream does not move byte by byte.
    pub fn ready(&mut self, now: Instant) -> Result<u64, Instant> {
        let passed = now.saturating_duration_since(self.at).as_nanos();
        self.at = self.at.max(now);
        self.filled = (self.filled + passed * u128::from(self.rate)).min(u128::from(self.depth) * SCALE);
        let bytes = u64::try_from(self.filled / SCALE).unwrap_or(u64::MAX);
        if bytes >= (self.depth / 16).max(1) {
            return Ok(bytes);
        }
        let missing = u128::from(self.depth / 2) * SCALE - self.filled;
        let nanos = u64::try_from(missing.div_ceil(u128::from(self.rate))).unwrap_or(u64::MAX);
        Err(self.at + Duration::from_nanos(nanos.max(1)))
    }

    /// Takes out bytes that have passed.
    pub fn take(&mut self, bytes: u64) {
        self.filled = self.filled.saturating_sub(u128::from(bytes) * SCALE);
    }
}

#[cfg(test)]
mod tests;
