//! Figures as the API writes them.

use std::time::{Duration, SystemTime};

/// A moment, as it is written: RFC 3339, UTC, to the millisecond.
pub(super) fn moment(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// How long ago that was, in seconds; 0 if the clock was set back.
pub(super) fn ago(time: SystemTime) -> f64 {
    SystemTime::now().duration_since(time).map_or(0.0, seconds)
}

/// Seconds, to the microsecond.
pub(super) fn seconds(time: Duration) -> f64 {
    // Exact up to 285 years.
    time.as_micros() as f64 / 1e6
}

pub(super) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
