//! Datagrams that could not be passed on: each is counted with its reason, and a person is told now and then.

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

/// How long one message stands for all that follows it.
const TOLD: Duration = Duration::from_secs(10);

words! {
    /// Why a datagram was dropped.
    pub(super) enum Reason {
        /// The lists of the route do not let its client in.
        Denied = "denied",
        /// There are as many sessions as there may be, and none of them gives way.
        Full = "full",
        /// Of a client without a session, at a listener that is going away.
        Closing = "closing",
        /// More than is kept while a name is being looked up.
        Resolving = "resolving",
        /// No upstream could be had for its session.
        NoUpstream = "no-upstream",
        /// The way to its receiver takes none so large.
        TooLarge = "too-large",
        /// The system's queue towards its receiver is full.
        Busy = "busy",
        /// Its upstream refuses datagrams (ICMP).
        Refused = "refused",
        /// No way leads to its receiver, or a filter forbids it.
        Unreachable = "unreachable",
    }
}

impl Reason {
    /// By the error of the call that was to send it.
    pub(super) fn of(error: &io::Error) -> Reason {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::MSGSIZE) => Reason::TooLarge,
            Some(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => Reason::Busy,
            Some(Errno::CONNREFUSED) => Reason::Refused,
            _ => Reason::Unreachable,
        }
    }
}

/// The drops of one listener.
#[derive(Debug, Default)]
pub(super) struct Drops {
    counts: [AtomicU64; Reason::ALL.len()],
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    counts: [u64; Reason::ALL.len()],
}

impl Drops {
    pub(super) fn add(&self, reason: Reason, datagrams: u64) {
        self.counts[reason as usize].fetch_add(datagrams, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = Reason::ALL.iter().zip(&self.counts);
        counts.map(|(reason, count)| (reason.label(), count.load(Ordering::Relaxed)))
    }

    /// Says what was dropped since the last message, unless that was only just.
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
