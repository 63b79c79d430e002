//! Whether an upstream is up, by failed connects ([`Passive`]) and by checks ([`Checks`]).

use std::time::{Duration, Instant};

use super::said_health::SaidDown;

use crate::model::upstream::LONGEST_SLOW_START as LONGEST_RAMP;

/// Failed connects in a row that put an upstream down.
pub const FAILURES: u32 = 3;
/// How long an upstream is down the first time. Each further time in a row lasts twice as long.
pub const FIRST: Duration = Duration::from_secs(1);
/// The longest that an upstream is down before it is tried again, give or take a quarter.
pub const LONGEST: Duration = Duration::from_secs(30);
/// An upstream that was up for this long starts again at [`FIRST`] when it goes down.
pub const FORGET: Duration = Duration::from_secs(60);
/// What a failed attempt says about the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// It is gone: it refuses, or its host or network is unreachable. Nobody who uses it is served any more.
    Gone,
    /// Nothing came in time, or it failed later. It may be slow to accept, and yet serve those whom it has.
    Unclear,
}

/// What the end of an attempt has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing to report.
    None,
    /// The upstream went down, for this long.
    Down(Duration),
    /// It was down, was tried, and stays down for this long.
    StillDown(Duration),
    /// It is up again, and had been down for this long.
    Up(Duration),
}

/// Whether an upstream should be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Yes; it came back at this time, if it was ever down.
    Up(Option<Instant>),
    /// Its time is over: one connection may try it, and no other meanwhile.
    Trial,
    /// Only if there is no other.
    Down,
}

/// Health by failed connects: [`FAILURES`] in a row put an upstream down, for a time that grows. Then one attempt
/// decides.
#[derive(Clone, Debug)]
pub struct Passive {
    /// Failed connects in a row, while it is up.
    failures: u32,
    /// How often it went down in a row, without [`FORGET`] between.
    ejections: u32,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Up { since: Option<Instant> },
    Down { first: Instant, since: Instant, until: Instant, trial: bool },
}

impl Default for Passive {
    fn default() -> Self {
        Passive { failures: 0, ejections: 0, state: State::Up { since: None } }
    }
}

impl Passive {
    /// One that is down, as another process has said.
    pub fn heard(down: &SaidDown, now: Instant) -> Passive {
        let since = down.since(now);
        let state = State::Down { first: since, since: now, until: down.until(now), trial: false };
        Passive { failures: 0, ejections: down.times, state }
    }

    /// How it is down. `None`: it is not.
    pub fn said(&self, now: Instant) -> Option<SaidDown> {
        let State::Down { first, until, .. } = self.state else { return None };
        Some(SaidDown { times: self.ejections, ..SaidDown::new(first, until, now) })
    }

    /// Whether it should be tried now.
    pub fn standing(&self, now: Instant) -> Standing {
        match self.state {
            State::Up { since } => Standing::Up(since),
            State::Down { until, trial: false, .. } if now >= until => Standing::Trial,
            State::Down { .. } => Standing::Down,
        }
    }

    /// Takes the trial, if one is due. Its holder returns it with [`Passive::end_trial`].
    pub fn begin_trial(&mut self, now: Instant) -> bool {
        match &mut self.state {
            State::Down { until, trial, .. } if now >= *until => !std::mem::replace(trial, true),
            _ => false,
        }
    }

    /// Returns the trial, whether it had a result or not.
    pub fn end_trial(&mut self) {
        if let State::Down { trial, .. } = &mut self.state {
            *trial = false;
        }
    }

    /// Whether an attempt that began at `begun` says nothing any more: it is from before the recovery.
    pub fn is_outdated(&self, begun: Instant) -> bool {
        matches!(self.state, State::Up { since: Some(since) } if begun < since)
    }

    /// Notes a failed attempt that began at `begun`. `chance` is any number: it spreads the next trials.
    pub fn failed(&mut self, begun: Instant, now: Instant, chance: u64) -> Change {
        match self.state {
            State::Up { since } => {
                if self.is_outdated(begun) {
                    return Change::None;
                }
                self.failures += 1;
                if self.failures < FAILURES {
                    return Change::None;
                }
                if since.is_none_or(|since| now.duration_since(since) >= FORGET) {
                    self.ejections = 0;
                }
                Change::Down(self.eject(now, now, chance))
            }
            // It began before the upstream went down, or ran because there was no other. Only the trial decides.
            State::Down { since, until, .. } if begun < since || now < until => Change::None,
            State::Down { first, .. } => Change::StillDown(self.eject(first, now, chance)),
        }
    }

    /// Notes a connect: by the trial, by an attempt because no other upstream was left, or by a check.
    pub fn succeeded(&mut self, now: Instant) -> Change {
        self.failures = 0;
        match self.state {
            State::Up { .. } => Change::None,
            State::Down { first, .. } => {
                self.state = State::Up { since: Some(now) };
                Change::Up(now.duration_since(first))
            }
        }
    }

    /// When it last went up or down.
    pub fn since(&self) -> Option<Instant> {
        match self.state {
            State::Up { since } => since,
            State::Down { first, .. } => Some(first),
        }
    }

    /// Whether it is as good as new: nothing is left to remember.
    pub fn is_calm(&self, now: Instant) -> bool {
        let long_up =
            |since: Option<Instant>| since.is_none_or(|since| now.duration_since(since) > LONGEST_RAMP);
        self.failures == 0 && matches!(self.state, State::Up { since } if long_up(since))
    }

    /// Whether its past may be forgotten: nothing is left to remember, or it went down so long ago that it must be
    /// tried anew.
    pub fn is_past(&self, now: Instant) -> bool {
        match self.state {
            State::Up { .. } => self.is_calm(now),
            State::Down { until, trial, .. } => !trial && now.saturating_duration_since(until) >= FORGET,
        }
    }

    fn eject(&mut self, first: Instant, now: Instant, chance: u64) -> Duration {
        let time = back_off(self.ejections, chance);
        self.failures = 0;
        self.ejections += 1;
        self.state = State::Down { first, since: now, until: now + time, trial: false };
        time
    }
}

/// How long an upstream is down that went down `before` times before.
fn back_off(before: u32, chance: u64) -> Duration {
    let time = FIRST.saturating_mul(1_u32.checked_shl(before).unwrap_or(u32::MAX)).min(LONGEST);
    // Three to five quarters.
    let spread = u32::try_from(chance % 513).unwrap_or_default();
    time * (768 + spread) / 1024
}

/// The part of its weight that an upstream gets, in 1/256: from a tenth to all of it. `since`: when it came back.
pub fn ramp(since: Option<Instant>, slow_start: Duration, now: Instant) -> u32 {
    const FULL: u32 = 256;
    let Some(since) = since else { return FULL };
    let up = now.saturating_duration_since(since);
    if up >= slow_start {
        return FULL;
    }
    let part = up.as_micros() * u128::from(FULL) / slow_start.as_micros().max(1);
    u32::try_from(part).unwrap_or(FULL).clamp(FULL / 10, FULL)
}

/// Health by checks: `fall` failures in a row put an upstream down, `rise` passes in a row bring it back. The first
/// check decides alone, so that nobody has to wait after a start.
#[derive(Clone, Copy, Debug)]
pub struct Checks {
    rise: u32,
    fall: u32,
    up: Option<bool>,
    /// How many results in a row contradict `up`.
    against: u32,
}

impl Checks {
    /// An upstream counts as up until it is checked. Both numbers are at least 1.
    pub fn new(rise: u32, fall: u32) -> Self {
        Checks { rise, fall, up: None, against: 0 }
    }

    /// The same for an upstream that was found down.
    pub fn down(self) -> Self {
        Checks { up: Some(false), ..self }
    }

    /// Whether the upstream is up.
    pub fn is_up(&self) -> bool {
        self.up != Some(false)
    }

    /// How many results in a row contradict that.
    pub fn against(&self) -> u32 {
        self.against
    }

    /// How many of them change it.
    pub fn needed(&self) -> u32 {
        if self.is_up() { self.fall } else { self.rise }
    }

    /// Notes a check that has passed or failed. Returns whether the upstream went up or down by it.
    pub fn result(&mut self, passed: bool) -> bool {
        let before = self.is_up();
        match self.up {
            None => self.up = Some(passed),
            Some(up) if up == passed => self.against = 0,
            Some(_) => {
                self.against += 1;
                if self.against >= self.needed() {
                    (self.up, self.against) = (Some(passed), 0);
                }
            }
        }
        self.is_up() != before
    }
}

#[cfg(test)]
mod tests;
