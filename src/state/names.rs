//! What is known about a name: the last good answer of the resolver, which stays in use until there is a better one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time between two look-ups of a name, give or take a quarter. The system's resolver does not say how long its
/// answers hold.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// The least time between two look-ups, for one that a failed connect asks for.
pub const SOONEST: Duration = Duration::from_secs(1);

/// The last good answer about one name.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    addrs: Arc<[IpAddr]>,
    /// When the look-ups began to fail. `None`: the last one gave an answer.
    failing: Option<Instant>,
}

/// What a look-up has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Addresses that were not there before.
    pub added: Vec<IpAddr>,
    /// Addresses that have left the answer.
    pub gone: Vec<IpAddr>,
    /// It failed, and the one before did not.
    pub fails: bool,
    /// It is the first answer after failures, which began this long ago.
    pub back: Option<Duration>,
}

impl News {
    /// Whether the addresses have changed.
    pub fn changed(&self) -> bool {
        !(self.added.is_empty() && self.gone.is_empty())
    }
}

impl Answers {
    /// After an answer with these addresses, or after none.
    pub fn of(addrs: Arc<[IpAddr]>) -> Answers {
        Answers { addrs, failing: None }
    }

    /// The addresses of the last good answer, in its order; none if there was none.
    pub fn addrs(&self) -> &Arc<[IpAddr]> {
        &self.addrs
    }

    /// Notes the result of a look-up. `None`: it failed. An answer without addresses is a failure too: a resolver that
    /// restarts gives such answers about names that exist, and users of the name had something to connect to.
    pub fn learn(&mut self, found: Option<Vec<IpAddr>>, now: Instant) -> News {
        let Some(found) = found.filter(|found| !found.is_empty()) else {
            return News {
                fails: self.failing.replace(self.failing.unwrap_or(now)).is_none(),
                ..News::default()
            };
        };
        let without = |these: &[IpAddr], those: &[IpAddr]| -> Vec<IpAddr> {
            these.iter().filter(|addr| !those.contains(addr)).copied().collect()
        };
        let news = News {
            added: without(&found, &self.addrs),
            gone: without(&self.addrs, &found),
            fails: false,
            back: self.failing.take().map(|since| now.saturating_duration_since(since)),
        };
        // Servers rotate the order with every answer. The first one stays first while the set is the same.
        if news.changed() {
            self.addrs = found.into();
        }
        news
    }
}

/// How long after the start of a look-up the next one begins. `chance` is any number.
pub fn pause(chance: u64) -> Duration {
    let spread = u32::try_from(chance % 513).unwrap_or_default();
    INTERVAL * (768 + spread) / 1024
}

#[cfg(test)]
mod tests;
