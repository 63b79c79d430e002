//! What the active checks of one upstream have found.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::health::{Checks, FORGET};
use super::lock::lock;
use super::said_health::{SaidDown, SaidHealth};

/// An upstream as one kind of check sees it. Shared by every route that checks it the same way.
#[derive(Debug)]
pub struct Checked {
    up: AtomicBool,
    findings: Mutex<Findings>,
}

#[derive(Debug)]
struct Findings {
    checks: Checks,
    /// How often it went down.
    downs: u64,
    /// When it last went up or down.
    since: Option<Instant>,
    /// Why the last check failed; `None`: it passed, or there was none yet.
    reason: Option<String>,
    /// When the last check ended, and how long it took.
    last: Option<(Instant, Duration)>,
}

/// Whether it is up, and what the last check found, which need not agree ([`Checks`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckState {
    /// Whether it is up.
    pub up: bool,
    /// How often it went down.
    pub downs: u64,
    /// When the last check ended, and how long it took. `None`: none has ended yet.
    pub last: Option<(Instant, Duration)>,
    /// Why the last check failed; `None`: it passed, or there was none yet.
    pub reason: Option<String>,
    /// How many checks in a row contradict `up`.
    pub against: u32,
    /// How many of them change it.
    pub needed: u32,
}

/// What a check has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It went down, and has done so this many times.
    Down(u64),
    /// It is up again, and had been down for this long.
    Up(Duration),
}

impl Checked {
    /// An upstream counts as up until it is checked. Both numbers are at least 1.
    pub fn new(rise: u32, fall: u32) -> Self {
        let checks = Checks::new(rise, fall);
        let findings = Findings { checks, downs: 0, since: None, reason: None, last: None };
        Checked { up: AtomicBool::new(true), findings: Mutex::new(findings) }
    }

    /// What was found, to be said now.
    pub fn said(&self, now: Instant) -> SaidHealth {
        let findings = self.findings();
        let down = findings
            .since
            .filter(|_| !findings.checks.is_up())
            .map(|since| SaidDown { why: findings.reason.clone(), ..SaidDown::new(since, now, now) });
        SaidHealth { downs: findings.downs, down }
    }

    /// Goes on from what another process has found. Not yet used by anybody.
    pub fn go_on_from(&self, said: &SaidHealth, now: Instant) {
        let mut findings = self.findings();
        findings.downs = said.downs;
        if let Some(down) = &said.down {
            findings.checks = findings.checks.down();
            (findings.since, findings.reason) = (Some(down.since(now)), down.why.clone());
            self.up.store(false, Ordering::Relaxed);
        }
    }

    /// Whether forgetting it loses nothing, where nobody checks any more: the last check, of those in this interval, was too long
    /// ago.
    pub fn is_forgettable(&self, interval: Duration, now: Instant) -> bool {
        let last = self.findings().last;
        last.is_none_or(|(last, _)| now.saturating_duration_since(last) >= FORGET + interval)
    }

    /// Whether it is up.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// When it came back, if it was ever down and is up now.
    pub fn back_since(&self) -> Option<Instant> {
        self.findings().since.filter(|_| self.is_up())
    }

    /// When it last went up or down. `None`: it never did.
    pub fn since(&self) -> Option<Instant> {
        self.findings().since
    }

    /// How often it went down.
    pub fn downs(&self) -> u64 {
        self.findings().downs
    }

    /// Why the last check failed; `None`: it passed, or there was none yet.
    pub fn reason(&self) -> Option<String> {
        self.findings().reason.clone()
    }

    /// All of that at one moment.
    pub fn state(&self) -> CheckState {
        let Findings { checks, downs, reason, last, .. } = &*self.findings();
        CheckState {
            up: checks.is_up(),
            downs: *downs,
            last: *last,
            reason: reason.clone(),
            against: checks.against(),
            needed: checks.needed(),
        }
    }

    /// Notes that a check that began at `begun` has passed, or failed for this reason. Returns what it has changed.
    pub fn learn(&self, result: Result<(), String>, begun: Instant, now: Instant) -> Option<Turn> {
        let mut findings = self.findings();
        findings.last = Some((now, now.saturating_duration_since(begun)));
        let turned = findings.checks.result(result.is_ok());
        findings.reason = result.err();
        if !turned {
            return None;
        }
        let up = findings.checks.is_up();
        self.up.store(up, Ordering::Relaxed);
        let before = findings.since.replace(now);
        if up {
            return Some(Turn::Up(
                before.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
            ));
        }
        findings.downs += 1;
        Some(Turn::Down(findings.downs))
    }

    fn findings(&self) -> MutexGuard<'_, Findings> {
        lock(&self.findings)
    }
}

#[cfg(test)]
mod tests;
