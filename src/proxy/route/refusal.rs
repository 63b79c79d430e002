//! Clients that were turned away: counted by reason, and named in the log now and then.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::state::lock;

/// The log names clients that were turned away at most this often; all are counted.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Why a client does not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `allow` and `deny` do not let it in.
    Denied,
    /// It is no proxy whose header is believed.
    Untrusted,
    /// The route has all its connections.
    Route,
    /// The client has all its connections.
    Client,
    /// The client comes too fast.
    Rate,
}

impl Refusal {
    /// Every one, in the order of the metrics.
    pub const ALL: [Refusal; 5] =
        [Refusal::Denied, Refusal::Untrusted, Refusal::Route, Refusal::Client, Refusal::Rate];

    /// The keys that say so.
    pub fn key(self) -> &'static str {
        match self {
            Refusal::Denied => "allow, deny",
            Refusal::Untrusted => "proxy_protocol.trusted",
            Refusal::Route => "max_connections",
            Refusal::Client => "max_connections_per_client",
            Refusal::Rate => "rate_per_client",
        }
    }
}

/// How many of a kind there were, and when the log last named one.
#[derive(Debug, Default)]
pub(super) struct LoggedCount {
    all: AtomicU64,
    logged: Mutex<Option<Instant>>,
}

impl LoggedCount {
    /// One more. Returns the number of all where it is time for a message.
    pub fn add(&self) -> Option<u64> {
        let all = self.all.fetch_add(1, Ordering::Relaxed) + 1;
        let mut logged = lock(&self.logged);
        let due = logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL);
        due.then(|| {
            *logged = Some(Instant::now());
            all
        })
    }

    pub fn get(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }
}
