//! Refused clients: each is counted by reason, and the log names one now and then.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::state::lock;

/// How often the log names a refused client at most. All are counted.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Why a client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `allow` and `deny` do not admit it.
    Denied,
    /// It is not a trusted proxy, and the route serves no others.
    Untrusted,
    /// The route has reached `max_connections`.
    Route,
    /// The client has reached `max_connections_per_client`.
    Client,
    /// The client exceeds `rate_per_client`.
    Rate,
    /// Few connections are left for the process, and the client has more of them than that.
    Share,
}

impl Refusal {
    /// Every reason, in the order of the metrics.
    pub const ALL: [Refusal; 6] =
        [Refusal::Denied, Refusal::Untrusted, Refusal::Route, Refusal::Client, Refusal::Rate, Refusal::Share];

    /// The keys of the file that cause this refusal, or what does without one.
    pub fn key(self) -> &'static str {
        match self {
            Refusal::Denied => "allow, deny",
            Refusal::Untrusted => "proxy_protocol.trusted",
            Refusal::Route => "max_connections",
            Refusal::Client => "max_connections_per_client",
            Refusal::Rate => "rate_per_client",
            Refusal::Share => "fair share",
        }
    }
}

/// How many refusals of one kind there were, and when the log last named one.
#[derive(Debug, Default)]
pub(super) struct LoggedCount {
    all: AtomicU64,
    logged: Mutex<Option<Instant>>,
}

impl LoggedCount {
    /// Counts one more. Returns the count of all if a log message is due.
    pub fn add(&self) -> Option<u64> {
        let all = self.all.fetch_add(1, Ordering::Relaxed) + 1;
        let mut logged = lock(&self.logged);
        let due = logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL);
        due.then(|| {
            *logged = Some(Instant::now());
            all
        })
    }

    /// Counts those of another process.
    pub fn add_all(&self, more: u64) {
        self.all.fetch_add(more, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }
}
