//! Whether an edit has made things worse: the connections of the routes that it changed, before it and after it.
//!
//! Off, nothing of this exists. On, the counters of every route are noted twice in the time of a probation, so that there is
//! always something to compare with that is as fresh. Sockets, texts and tables are the server's.

mod compare;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

pub use compare::{LOOKS, Period, Results, Worse, Wrong};

/// The counters of each route, by its name.
pub type Counters = HashMap<String, Results>;

/// A route that an edit has changed.
#[derive(Clone, Copy, Debug)]
pub struct Changed<'r> {
    /// Its name.
    pub name: &'r str,
    /// Its name before the edit.
    pub was: &'r str,
    /// Who takes those that it does not: their counters count as its own.
    pub beside: Option<&'r str>,
    /// Whether an address of it was closed.
    pub closed: bool,
}

/// The probation of edits.
#[derive(Debug)]
pub struct Probation {
    lasts: Duration,
    /// The counters at two moments: the older one between one and two times `lasts` ago, or when this began.
    noted: [(Instant, Counters); 2],
    /// The routes that edits have changed and that are not proven.
    watched: BTreeMap<String, Watched>,
    /// When the last of these edits was. Only while something is watched.
    since: Instant,
    looks: u32,
    /// What routes were like before an edit that was undone, and how long that is worth something.
    spared: Option<(BTreeMap<String, Period>, Instant)>,
}

/// A route on probation.
#[derive(Clone, Debug)]
struct Watched {
    before: Period,
    beside: Option<String>,
    closed: bool,
    /// The last edit that changed it, and its counters then.
    from: (Instant, Results),
}

/// What a look has found.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing yet, or nothing to look for.
    Open,
    /// The time is over, and nothing has become worse.
    Passed,
    /// This route fares worse than before, of several the worst.
    Worse(Worse),
}

impl Probation {
    /// Edits are on probation for this time from now on.
    pub fn new(lasts: Duration, now: Instant, counters: Counters) -> Self {
        let noted = [(now, counters.clone()), (now, counters)];
        Probation { lasts, noted, watched: BTreeMap::new(), since: now, looks: 0, spared: None }
    }

    /// How long an edit is on probation.
    pub fn lasts(&self) -> Duration {
        self.lasts
    }

    /// Whether an edit is on probation.
    pub fn is_watching(&self) -> bool {
        !self.watched.is_empty()
    }

    /// When the probation is over, unless another edit comes. `None`: no edit is on probation.
    pub fn ends(&self) -> Option<Instant> {
        self.is_watching().then(|| self.since + self.lasts)
    }

    /// When [`Probation::note`] or [`Probation::look`] is due next.
    pub fn next(&self) -> Instant {
        let note = self.noted[1].0 + self.lasts;
        if self.is_watching() { note.min(self.next_look()) } else { note }
    }

    /// Whether the counters of every route are to be noted.
    pub fn notes(&self, now: Instant) -> bool {
        now >= self.noted[1].0 + self.lasts
    }

    /// Notes the counters of every route, for comparison later.
    pub fn note(&mut self, now: Instant, counters: Counters) {
        self.noted.swap(0, 1);
        self.noted[1] = (now, counters);
        self.spared.take_if(|(_, until)| now >= *until);
    }

    /// Puts the routes on probation that an edit has changed. What was on probation stays so, and is compared with what was
    /// before the first edit.
    pub fn edited<'r>(
        &mut self,
        changed: impl Iterator<Item = Changed<'r>>,
        now: Instant,
        ends: impl Fn(&str) -> Results,
    ) {
        for Changed { name, was, beside, closed } in changed {
            let all = |name: &str| [Some(name), beside].into_iter().flatten().map(&ends).sum();
            let (before, closed) = match self.watched.get(was) {
                Some(watched) => (watched.before, watched.closed || closed),
                None => {
                    let before = || self.before([Some(was), beside], now, all(was));
                    (self.spared(was).unwrap_or_else(before), closed)
                }
            };
            let beside = beside.map(str::to_owned);
            self.watched.insert(name.to_owned(), Watched { before, beside, closed, from: (now, all(name)) });
            (self.since, self.looks) = (now, 0);
        }
    }

    /// Forgets the routes for which this is so: there is nothing to compare.
    pub fn forget(&mut self, is_so: impl Fn(&str) -> bool) {
        self.watched.retain(|name, _| !is_so(name));
    }

    /// Looks at the routes on probation.
    pub fn look(&mut self, now: Instant, ends: impl Fn(&str) -> Results) -> Verdict {
        if !self.is_watching() || now < self.next_look() {
            return Verdict::Open;
        }
        let over = now >= self.since + self.lasts;
        self.looks += 1;
        let worse = self.watched.iter().filter_map(|(name, watched)| {
            let all: Results =
                [Some(&**name), watched.beside.as_deref()].into_iter().flatten().map(&ends).sum();
            let (since, from) = watched.from;
            let after = Period { ends: all - from, lasted: now.saturating_duration_since(since) };
            let silent = || compare::silent(name, watched.before, after).filter(|_| over && watched.closed);
            compare::worse(name, watched.before, after).or_else(silent)
        });
        if let Some(worst) = worse.max_by(|a, b| a.share().total_cmp(&b.share())) {
            return Verdict::Worse(worst);
        }
        if over {
            self.pass();
            return Verdict::Passed;
        }
        Verdict::Open
    }

    /// Ends the probation: what runs stays.
    pub fn pass(&mut self) {
        self.watched.clear();
    }

    /// Ends the probation: what ran before runs again. What was known of it is still compared with, for some time.
    pub fn undone(&mut self, now: Instant) {
        let routes = std::mem::take(&mut self.watched);
        let routes = routes.into_iter().map(|(name, watched)| (name, watched.before)).collect();
        self.spared = Some((routes, now + 2 * self.lasts));
    }

    fn next_look(&self) -> Instant {
        self.since + self.lasts * (self.looks + 1).min(LOOKS) / LOOKS
    }

    fn spared(&self, name: &str) -> Option<Period> {
        self.spared.as_ref().and_then(|(routes, _)| routes.get(name)).copied()
    }

    /// What a route, with what stands beside it, was like until now.
    fn before(&self, names: [Option<&str>; 2], now: Instant, ends: Results) -> Period {
        let (at, counters) = &self.noted[0];
        let then: Results = names.into_iter().flatten().filter_map(|name| counters.get(name)).copied().sum();
        Period { ends: ends - then, lasted: now.saturating_duration_since(*at) }
    }
}

#[cfg(test)]
mod tests;
