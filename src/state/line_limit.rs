//! A bound on the lines of one kind in a log that strangers can fill.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::lock;

/// So many lines pass in each [`PERIOD`].
const LINES: u32 = 50;
/// A period begins with the first line after the last one.
const PERIOD: Duration = Duration::from_secs(10);

/// Lets some lines pass, and counts the others.
#[derive(Debug, Default)]
pub struct LineLimit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    passed: u32,
    kept_back: u64,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// It passes, and so many before it did not.
    Passes(u64),
    /// It does not: the first of this period, or a later one.
    KeptBack {
        /// Whether it is the first.
        first: bool,
    },
}

impl LineLimit {
    /// What becomes of one more line.
    pub fn next(&self, now: Instant) -> Line {
        let mut state = lock(&self.0);
        if state.since.is_none_or(|since| now.saturating_duration_since(since) >= PERIOD) {
            (state.since, state.passed) = (Some(now), 0);
        }
        state.passed = state.passed.saturating_add(1);
        if state.passed <= LINES {
            return Line::Passes(std::mem::take(&mut state.kept_back));
        }
        state.kept_back += 1;
        Line::KeptBack { first: state.passed == LINES + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifty_lines_pass_in_ten_seconds_and_the_next_one_says_how_many_did_not() {
        #[allow(clippy::disallowed_methods, reason = "a test needs some first instant")]
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let limit = LineLimit::default();
        for line in 0..50 {
            assert_eq!(limit.next(at(line)), Line::Passes(0));
        }
        assert_eq!(limit.next(at(50)), Line::KeptBack { first: true });
        for _ in 0..999 {
            assert_eq!(limit.next(at(9_999)), Line::KeptBack { first: false });
        }
        assert_eq!(limit.next(at(10_000)), Line::Passes(1000));
        assert_eq!(limit.next(at(10_000)), Line::Passes(0));
        // A period begins with its first line.
        for _ in 0..48 {
            assert_eq!(limit.next(at(19_999)), Line::Passes(0));
        }
        assert_eq!(limit.next(at(19_999)), Line::KeptBack { first: true });
        assert_eq!(limit.next(at(20_000)), Line::Passes(1));
    }
}
