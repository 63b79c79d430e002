//! What is known about one upstream: its load and its health. Every route that uses it shares this, and edits keep it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use super::health::{Change, Evidence, FAILURES, Passive, Standing};
use super::lock::lock;
use super::said_health::{SaidDown, SaidHealth};
use crate::model::UpstreamAddr;

/// One upstream address, its load and its health.
#[derive(Debug)]
pub struct Upstream {
    addr: UpstreamAddr,
    /// Connections, and attempts in progress.
    load: AtomicU32,
    /// Whether the health is as good as new: the usual case, in which no lock is taken.
    calm: AtomicBool,
    /// How often it went down.
    downs: AtomicU64,
    /// How often it was found gone.
    losses: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    passive: Passive,
    /// Attempts since the last connect that found it gone.
    gone: u32,
    /// Why it went down, while it is down.
    reason: Option<String>,
}

impl Upstream {
    /// An upstream that is not known yet: without load, and up.
    pub fn new(addr: UpstreamAddr) -> Self {
        Upstream {
            addr,
            load: AtomicU32::new(0),
            calm: AtomicBool::new(true),
            downs: AtomicU64::new(0),
            losses: AtomicU64::new(0),
            known: Mutex::new(Known::default()),
        }
    }

    /// Its health, to be said now.
    pub fn said(&self, now: Instant) -> SaidHealth {
        let known = self.known();
        let down = known.passive.said(now).map(|down| SaidDown { why: known.reason.clone(), ..down });
        SaidHealth { downs: self.downs(), down }
    }

    /// Goes on from what another process has said. Not yet used by anybody.
    pub fn go_on_from(&self, said: &SaidHealth, now: Instant) {
        self.downs.store(said.downs, Ordering::Release);
        if let Some(down) = &said.down {
            let mut known = self.known();
            (known.passive, known.reason) = (Passive::heard(down, now), down.why.clone());
            self.calm.store(false, Ordering::Release);
        }
    }

    /// Its address, as written.
    pub fn addr(&self) -> &UpstreamAddr {
        &self.addr
    }

    /// How many connections it has, including attempts in progress.
    pub fn load(&self) -> u32 {
        self.load.load(Ordering::Relaxed)
    }

    /// Whether it should be tried now.
    pub fn standing(&self, now: Instant) -> Standing {
        if self.calm.load(Ordering::Relaxed) {
            Standing::Up(None)
        } else {
            self.known().passive.standing(now)
        }
    }

    /// Why it is down: the error of the connect that put it there.
    pub fn reason(&self) -> Option<String> {
        self.known().reason.clone()
    }

    /// When it last went up or down. `None`: it never did, or that is forgotten.
    pub fn since(&self) -> Option<Instant> {
        self.known().passive.since()
    }

    /// How often it went down.
    pub fn downs(&self) -> u64 {
        self.downs.load(Ordering::Acquire)
    }

    /// How often it was found gone: [`FAILURES`] attempts without a connect between have shown it. Attempts that ran into
    /// their timeout do not count: one client that opens many connections at once to a slow upstream has many of them,
    /// while others are served.
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    /// Whether forgetting it loses nothing.
    pub fn is_forgettable(&self, now: Instant) -> bool {
        self.calm.load(Ordering::Relaxed) || self.known().passive.is_past(now)
    }

    /// Begins an attempt. `None`: it has `most` connections already.
    pub fn begin(self: &Arc<Self>, most: Option<u32>, now: Instant) -> Option<Attempt> {
        match most {
            None => {
                self.load.fetch_add(1, Ordering::Relaxed);
            }
            Some(most) => {
                let room = |load: u32| (load < most).then_some(load + 1);
                self.load.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
            }
        }
        let trial = !self.calm.load(Ordering::Relaxed) && self.known().passive.begin_trial(now);
        let trial = trial.then(|| RetryPermit(self.clone()));
        let load = Load { upstream: self.clone(), losses: 0 };
        Some(Attempt { load, begun: now, trial })
    }

    /// Counts a connection that another process has made.
    pub fn resume(self: &Arc<Self>) -> Load {
        self.load.fetch_add(1, Ordering::Relaxed);
        Load { upstream: self.clone(), losses: self.losses() }
    }

    /// Notes that a check has connected.
    pub fn passed(&self, now: Instant) -> Change {
        self.succeeded(now).0
    }

    /// Notes a connect. Also returns how often it was found gone before: the new connection must notice the next time,
    /// and no earlier one.
    fn succeeded(&self, now: Instant) -> (Change, u64) {
        // Read before `calm`, which turns false before the count grows.
        let losses = self.losses();
        if self.calm.load(Ordering::Acquire) {
            return (Change::None, losses);
        }
        let mut known = self.known();
        let change = known.passive.succeeded(now);
        (known.gone, known.reason) = (0, None);
        self.calm.store(known.passive.is_calm(now), Ordering::Release);
        (change, self.losses())
    }

    fn failed(&self, begun: Instant, now: Instant, failure: Failure<'_>) -> Change {
        let Failure { evidence, why, chance } = failure;
        let mut known = self.known();
        let outdated = known.passive.is_outdated(begun);
        let change = known.passive.failed(begun, now, chance);
        self.calm.store(known.passive.is_calm(now), Ordering::Release);
        if evidence == Evidence::Gone && !outdated {
            known.gone = known.gone.saturating_add(1);
            if known.gone == FAILURES {
                self.losses.fetch_add(1, Ordering::Release);
            }
        }
        if let Change::Down(_) = change {
            self.downs.fetch_add(1, Ordering::Release);
        }
        if let Change::Down(_) | Change::StillDown(_) = change {
            known.reason = Some(why.to_string());
        }
        change
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

/// Why an attempt has failed.
#[derive(Clone, Copy)]
pub struct Failure<'a> {
    /// What it says about the upstream.
    pub evidence: Evidence,
    /// The reason, for a person.
    pub why: &'a dyn fmt::Display,
    /// Any number.
    pub chance: u64,
}

/// Counts one connection in an upstream's load until dropped.
#[derive(Debug)]
pub struct Load {
    upstream: Arc<Upstream>,
    losses: u64,
}

impl Load {
    /// How often the upstream was found gone before it was connected.
    pub fn losses(&self) -> u64 {
        self.losses
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.upstream.load.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to try an upstream whose time is over. Returned on drop.
#[derive(Debug)]
struct RetryPermit(Arc<Upstream>);

impl Drop for RetryPermit {
    fn drop(&mut self) {
        self.0.known().passive.end_trial();
    }
}

/// An attempt at an upstream, counted in its load. Dropping it says nothing about the upstream's health.
#[derive(Debug)]
#[must_use]
pub struct Attempt {
    load: Load,
    begun: Instant,
    trial: Option<RetryPermit>,
}

impl Attempt {
    /// When it began.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Whether it decides if the upstream is up again.
    pub fn is_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// The attempt has connected. Returns the connection's part of the load.
    pub fn connected(self, now: Instant) -> (Load, Change) {
        let (change, losses) = self.load.upstream.succeeded(now);
        let mut load = self.load;
        load.losses = losses;
        (load, change)
    }

    /// The attempt has failed by the upstream's fault.
    pub fn failed(self, now: Instant, failure: Failure<'_>) -> Change {
        self.load.upstream.failed(self.begun, now, failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UpstreamSpec;

    /// Notes failed attempts, one after the other, and returns how often the upstream was found gone and went down.
    fn after(upstream: &Arc<Upstream>, failures: &[Evidence], now: Instant) -> (u64, u64) {
        for evidence in failures {
            let failure = Failure { evidence: *evidence, why: &"why", chance: 256 };
            let _ = upstream.begin(None, now).unwrap().failed(now, failure);
        }
        (upstream.losses(), upstream.downs())
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any time will do as the first")]
    fn r14_only_attempts_that_find_it_gone_count_as_a_loss() {
        use Evidence::{Gone, Unclear};
        let now = Instant::now();
        let new = || Arc::new(Upstream::new("127.0.0.1:80".parse::<UpstreamSpec>().unwrap().at(0)));
        assert_eq!(after(&new(), &[Unclear; 45], now), (0, 1));
        assert_eq!(after(&new(), &[Gone; 3], now), (1, 1));
        assert_eq!(after(&new(), &[Gone; 45], now), (1, 1), "once");
        // Down by timeouts, and then gone.
        let upstream = new();
        assert_eq!(after(&upstream, &[Unclear, Unclear, Unclear, Gone, Unclear, Gone], now), (0, 1));
        assert_eq!(after(&upstream, &[Gone], now), (1, 1));
        // A connection of the recovery is not cut by what was before it.
        let (load, _) = upstream.begin(None, now).unwrap().connected(now);
        assert_eq!((load.losses(), after(&upstream, &[Gone, Gone], now)), (1, (1, 1)));
        assert_eq!(after(&upstream, &[Gone], now), (2, 2));
        // With a connect between, there are never three in a row.
        let upstream = new();
        for _ in 0..3 {
            assert_eq!(after(&upstream, &[Gone, Gone], now), (0, 0));
            let _ = upstream.passed(now);
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any time will do as the first")]
    fn t9_a_down_upstream_is_forgotten_a_minute_after_it_was_to_be_tried() {
        let (start, ms) = (Instant::now(), std::time::Duration::from_millis);
        let new = || Arc::new(Upstream::new("127.0.0.1:80".parse::<UpstreamSpec>().unwrap().at(0)));
        assert!(new().is_forgettable(start), "one of which nothing is known");
        let upstream = new();
        after(&upstream, &[Evidence::Gone], start);
        assert!(!upstream.is_forgettable(start), "one failure counts");
        after(&upstream, &[Evidence::Gone; 2], start);
        // Down for a second, and then for a minute.
        assert!(!upstream.is_forgettable(start));
        assert!(!upstream.is_forgettable(start + ms(60_999)));
        assert!(upstream.is_forgettable(start + ms(61_000)));
        // While it is tried somebody waits for the answer.
        let trial = upstream.begin(None, start + ms(1000)).unwrap();
        assert!(!upstream.is_forgettable(start + ms(61_000)));
        drop(trial);
        assert!(upstream.is_forgettable(start + ms(61_000)));
    }

    /// The second time round: each recovery has connections of its own, which only the next loss concerns.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "any time will do as the first")]
    fn t10_a_connection_of_a_recovery_knows_every_loss_before_it() {
        let (mut now, second) = (Instant::now(), std::time::Duration::from_secs(1));
        let upstream = Arc::new(Upstream::new("127.0.0.1:80".parse::<UpstreamSpec>().unwrap().at(0)));
        let attempt = upstream.begin(None, now).unwrap();
        assert!(!attempt.is_trial());
        assert_eq!(attempt.connected(now).0.losses(), 0);
        for losses in 1..=3 {
            assert_eq!(after(&upstream, &[Evidence::Gone; 3], now), (losses, losses));
            now += 60 * second;
            let attempt = upstream.begin(None, now).unwrap();
            assert!(attempt.is_trial());
            let (load, change) = attempt.connected(now);
            assert!(matches!(change, Change::Up(_)), "{change:?}");
            assert_eq!((load.losses(), upstream.losses()), (losses, losses));
            assert_eq!(upstream.resume().losses(), losses, "one of another process");
            now += second;
        }
    }

    /// What began before a recovery, and what runs beside a trial.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "any time will do as the first")]
    fn an_attempt_counts_for_the_time_in_which_it_began() {
        let (now, second) = (Instant::now(), std::time::Duration::from_secs(1));
        let upstream = Arc::new(Upstream::new("127.0.0.1:80".parse::<UpstreamSpec>().unwrap().at(0)));
        assert_eq!(after(&upstream, &[Evidence::Gone; 3], now), (1, 1));
        let early = [(); 3].map(|()| upstream.begin(None, now).unwrap());
        assert!(early.iter().all(|attempt| !attempt.is_trial()), "its time is not over");
        let later = now + second;
        let trial = upstream.begin(None, later).unwrap();
        assert!(trial.is_trial() && !upstream.begin(None, later).unwrap().is_trial(), "one at a time");
        assert!(matches!(trial.connected(later).1, Change::Up(_)));
        for attempt in early {
            let failure = Failure { evidence: Evidence::Gone, why: &"why", chance: 256 };
            assert_eq!(attempt.failed(later + second, failure), Change::None);
        }
        assert_eq!((upstream.losses(), upstream.downs()), (1, 1));
        assert!(!upstream.begin(None, later).unwrap().is_trial(), "it is up");
    }
}
