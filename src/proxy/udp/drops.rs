//! Datagrams that were dropped: each is counted by reason, and the log reports them now and then.

use std::fmt::Write;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use tokio::time::Instant;
use tracing::warn;

use crate::model::{ListenAddr, words};
use crate::state::lock;

/// The least time between two log messages.
const TOLD: Duration = Duration::from_secs(10);

words! {
    /// Why a datagram was dropped.
    pub(super) enum Reason {
        /// The lists of the route do not admit its client.
        Denied = "denied",
        /// Its client is over a limit of its own (`max_connections_per_client`, `rate_per_client`).
        Limited = "limited",
        /// The limit of sessions is reached, and those that make way have not ended yet.
        Full = "full",
        /// It belongs to no session, and its listener is closing.
        Closing = "closing",
        /// More than is kept while a name is looked up.
        Resolving = "resolving",
        /// No upstream could be connected for its session.
        NoUpstream = "no-upstream",
        /// It is too large to be sent to its receiver.
        TooLarge = "too-large",
        /// The queue towards its receiver is full.
        Busy = "busy",
        /// Its upstream refuses datagrams (ICMP).
        Refused = "refused",
        /// Its receiver cannot be reached, or a filter forbids it.
        Unreachable = "unreachable",
        /// The kernel's queue of the listener was full: they come faster than they are read.
        Overflow = "overflow",
        /// An answer beyond those that the client has asked for (`max_replies`).
        Surplus = "surplus",
    }
}

impl Reason {
    /// The reason by the error of the call that was to send it.
    pub(super) fn of(error: &io::Error) -> Reason {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::MSGSIZE) => Reason::TooLarge,
            Some(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => Reason::Busy,
            Some(Errno::CONNREFUSED) => Reason::Refused,
            _ => Reason::Unreachable,
        }
    }
}

/// How many datagrams one listener has dropped, by reason.
#[derive(Debug, Default)]
pub(super) struct Drops {
    counts: [AtomicU64; Reason::ALL.len()],
    told: Mutex<LastWarning>,
}

#[derive(Debug, Default)]
struct LastWarning {
    at: Option<Instant>,
    counts: [u64; Reason::ALL.len()],
}

impl Drops {
    pub(super) fn add(&self, reason: Reason, datagrams: u64) {
        self.counts[reason as usize].fetch_add(datagrams, Ordering::Relaxed);
    }

    /// Notes how many were dropped for this reason since the start.
    pub(super) fn set(&self, reason: Reason, datagrams: u64) {
        self.counts[reason as usize].fetch_max(datagrams, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = Reason::ALL.iter().zip(&self.counts);
        counts.map(|(reason, count)| (reason.label(), count.load(Ordering::Relaxed)))
    }

    /// Logs what was dropped since the last message, unless that was less than [`TOLD`] ago. `at_last`: logs in any
    /// case.
    pub(super) fn tell(&self, listener: &ListenAddr, at_last: bool) {
        let mut told = lock(&self.told);
        if !at_last && told.at.is_some_and(|at| at.elapsed() < TOLD) {
            return;
        }
        let mut reasons = String::new();
        for (at, (label, count)) in self.counts().enumerate() {
            let new = count - std::mem::replace(&mut told.counts[at], count);
            if new > 0 {
                let comma = if reasons.is_empty() { "" } else { ", " };
                // Writing to a string cannot fail.
                let _ = write!(reasons, "{comma}{label} {new}");
            }
        }
        if !reasons.is_empty() {
            told.at = Some(Instant::now());
            warn!(%listener, reasons, "datagrams were dropped");
        }
    }
}
