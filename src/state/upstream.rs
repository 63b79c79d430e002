//! What is known of one upstream: its load and its health. Shared by every route that leads there, and kept by edits.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::health::{Change, Passive, Standing};
use crate::model::UpstreamAddr;

/// One upstream address.
#[derive(Debug)]
pub struct Upstream {
    addr: UpstreamAddr,
    /// Connections, and attempts.
    load: AtomicU32,
    /// Health has nothing to tell: the usual case, in which no lock is taken.
    calm: AtomicBool,
    passive: Mutex<Passive>,
}

impl Upstream {
    /// One that is not known yet: no load, and up.
    pub fn new(addr: UpstreamAddr) -> Self {
        Upstream {
            addr,
            load: AtomicU32::new(0),
            calm: AtomicBool::new(true),
            passive: Mutex::new(Passive::default()),
        }
    }

    /// Its address, as written.
    pub fn addr(&self) -> &UpstreamAddr {
        &self.addr
    }

    /// How many connections it has, those that are being made included.
    pub fn load(&self) -> u32 {
        self.load.load(Ordering::Relaxed)
    }

    /// Whether it should be tried now.
    pub fn standing(&self, now: Instant) -> Standing {
        if self.calm.load(Ordering::Relaxed) { Standing::Up(None) } else { self.passive().standing(now) }
    }

    /// Begins an attempt, unless it has `most` connections.
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
        let trial = !self.calm.load(Ordering::Relaxed) && self.passive().begin_trial(now);
        let trial = trial.then(|| Trial(self.clone()));
        Some(Attempt { load: Load(self.clone()), begun: now, trial })
    }

    fn succeeded(&self, now: Instant) -> Change {
        if self.calm.load(Ordering::Relaxed) {
            return Change::None;
        }
        let mut passive = self.passive();
        let change = passive.succeeded(now);
        self.calm.store(passive.is_calm(now), Ordering::Relaxed);
        change
    }

    fn failed(&self, begun: Instant, now: Instant, chance: u64) -> Change {
        let mut passive = self.passive();
        let change = passive.failed(begun, now, chance);
        self.calm.store(passive.is_calm(now), Ordering::Relaxed);
        change
    }

    fn passive(&self) -> MutexGuard<'_, Passive> {
        self.passive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection of an upstream's load. Given back when dropped.
#[derive(Debug)]
pub struct Load(Arc<Upstream>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to try an upstream whose time is over. Given back when dropped.
#[derive(Debug)]
struct Trial(Arc<Upstream>);

impl Drop for Trial {
    fn drop(&mut self) {
        self.0.passive().end_trial();
    }
}

/// An attempt at an upstream; part of its load. Dropped, it says nothing about the upstream's health.
#[derive(Debug)]
#[must_use]
pub struct Attempt {
    load: Load,
    begun: Instant,
    trial: Option<Trial>,
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

    /// It is a connection now.
    pub fn connected(self, now: Instant) -> (Load, Change) {
        let change = self.load.0.succeeded(now);
        (self.load, change)
    }

    /// It has failed, and by the upstream's fault. `chance` is any number.
    pub fn failed(self, now: Instant, chance: u64) -> Change {
        self.load.0.failed(self.begun, now, chance)
    }
}
