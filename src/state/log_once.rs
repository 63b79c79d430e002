//! A repeated trouble that is logged twice: when it begins and when it is over.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::lock;

/// A trouble is over after this long without an occurrence. If it returns, it is logged again.
const CALM: Duration = Duration::from_secs(5);

/// One kind of trouble at one place.
#[derive(Debug, Default)]
pub struct LogOnce {
    last: Mutex<Option<Instant>>,
}

impl LogOnce {
    /// Notes an occurrence of the trouble. Returns whether it is the first, which should be logged.
    pub fn begins(&self, now: Instant) -> bool {
        lock(&self.last).replace(now).is_none()
    }

    /// Notes that all is well. Returns whether that ends a trouble, which should be logged.
    ///
    /// `now` is asked for only in a trouble: this is called for each connection.
    pub fn ends(&self, now: impl FnOnce() -> Instant) -> bool {
        let mut last = lock(&self.last);
        let is_calm = last.is_some_and(|last| now().saturating_duration_since(last) >= CALM);
        is_calm && last.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_named_when_it_begins_and_when_it_is_over() {
        #[allow(clippy::disallowed_methods, reason = "a test needs some first instant")]
        let mut now = Instant::now();
        let trouble = LogOnce::default();
        assert!(!trouble.ends(|| now));
        assert!(trouble.begins(now));
        for _ in 0..10 {
            now += CALM / 2;
            assert!(!trouble.begins(now));
            now += CALM / 2;
            assert!(!trouble.ends(|| now));
        }
        now += CALM / 2;
        assert!(trouble.ends(|| now));
        assert!(!trouble.ends(|| now));
        assert!(trouble.begins(now));
    }
}
