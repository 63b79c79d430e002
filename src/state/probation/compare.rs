//! Two periods of a route, beside each other.

use std::f64::consts::TAU;
use std::fmt;
use std::iter::Sum;
use std::ops::Sub;
use std::time::Duration;

/// How often a probation is looked at, at equal distances; at the last time it is over.
pub const LOOKS: u32 = 30;
/// Fewer connections prove nothing.
const FEWEST: u64 = 20;
/// How probable it may be, at most, that chance alone makes a good edit look bad: in all the looks of its probation together
/// (Bonferroni).
const CHANCE: f64 = 0.001;
/// What fails must fail so many times as often in the same time. Who sees only that the good ones stay away sees no fault: what
/// tries ports all day goes on at night.
const TIMES: f64 = 2.0;

/// What has become of the connections of a route: counters that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// Connections and sessions, without those that said nothing.
    pub tried: u64,
    /// Those of them that came to nothing.
    pub failed: u64,
    /// Clients that were turned away before: not among the others.
    pub turned_away: u64,
}

impl Sub for Results {
    type Output = Results;

    fn sub(self, then: Results) -> Results {
        Results {
            tried: self.tried.saturating_sub(then.tried),
            failed: self.failed.saturating_sub(then.failed),
            turned_away: self.turned_away.saturating_sub(then.turned_away),
        }
    }
}

impl Sum for Results {
    fn sum<I: Iterator<Item = Results>>(all: I) -> Results {
        all.fold(Results::default(), |sum, more| Results {
            tried: sum.tried.saturating_add(more.tried),
            failed: sum.failed.saturating_add(more.failed),
            turned_away: sum.turned_away.saturating_add(more.turned_away),
        })
    }
}

/// What has become of the connections of a route in some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// What was counted in it.
    pub ends: Results,
    /// How long it was.
    pub lasted: Duration,
}

/// What is wrong with a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Its connections come to nothing.
    Failed,
    /// All of its clients are turned away.
    TurnedAway,
    /// No client comes.
    Silent,
}

/// A route that fares worse than before.
#[derive(Clone, Debug, PartialEq)]
pub struct Worse {
    /// Its name.
    pub route: String,
    /// In what way.
    pub wrong: Wrong,
    /// How many it was since the edit, and how many of all.
    pub after: Count,
    /// The same before it.
    pub before: Count,
}

/// So many of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How many it was.
    pub bad: u64,
    /// Of how many. At least as many.
    pub all: u64,
}

impl Count {
    fn share(self) -> f64 {
        if self.all == 0 { 0.0 } else { self.bad as f64 / self.all as f64 }
    }
}

impl Worse {
    /// Which share is bad now.
    pub(super) fn share(&self) -> f64 {
        self.after.share()
    }
}

/// For a person: "of 212 connections of `web` 41 % failed, 0.3 % before".
impl fmt::Display for Worse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (all, verb) = match self.wrong {
            Wrong::Failed => ("connections", "failed"),
            Wrong::TurnedAway => ("clients", "were turned away"),
            Wrong::Silent => {
                let (route, before) = (&self.route, self.before.all);
                return write!(
                    f,
                    "no client of `{route}` has come since an address of it was closed, {before} before"
                );
            }
        };
        let (after, before) = (percent(self.after.share()), percent(self.before.share()));
        write!(f, "of {} {all} of `{}` {after} {verb}, {before} before", self.after.all, self.route)
    }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    // Never 100 % if it was not all of them.
    if percent == 0.0 || percent >= 10.0 {
        format!("{:.0} %", percent.floor())
    } else {
        format!("{percent:.1} %")
    }
}

/// Whether a route fares worse, and how.
pub(super) fn worse(route: &str, before: Period, after: Period) -> Option<Worse> {
    let failed = |ends: Results| Count { bad: ends.failed.min(ends.tried), all: ends.tried };
    // An edit may mean to turn many away, as in a flood. It does not mean all.
    let turned_away = |ends: Results| Count { bad: ends.turned_away, all: ends.turned_away + ends.tried };
    let kinds = [
        (Wrong::Failed, failed(before.ends), failed(after.ends), 0.5),
        (Wrong::TurnedAway, turned_away(before.ends), turned_away(after.ends), 1.0),
    ];
    kinds.into_iter().find_map(|(wrong, old, new, least)| {
        let rate = |count: Count, period: Period| count.bad as f64 / period.lasted.as_secs_f64().max(1e-3);
        let is_worse = new.all >= FEWEST
            && new.share() >= least
            && rate(new, after) >= TIMES * rate(old, before)
            && by_chance(old, new) < CHANCE / f64::from(LOOKS);
        is_worse.then(|| Worse { route: route.to_owned(), wrong, after: new, before: old })
    })
}

/// Whether nobody comes any more, where many were to be expected.
pub(super) fn silent(route: &str, before: Period, after: Period) -> Option<Worse> {
    let count = |ends: Results| Count { bad: 0, all: ends.tried + ends.turned_away };
    let (old, new) = (count(before.ends), count(after.ends));
    let in_this_time = after.lasted.as_secs_f64() / before.lasted.as_secs_f64().max(1e-3);
    let is_silent = new.all == 0 && old.all as f64 * in_this_time >= FEWEST as f64;
    is_silent.then(|| Worse { route: route.to_owned(), wrong: Wrong::Silent, after: new, before: old })
}

/// How probable it is that at least so many of the new ones are bad, if the bad ones were spread over old and new by chance alone
/// (Fisher's exact test, one-sided).
fn by_chance(old: Count, new: Count) -> f64 {
    let (all, bad, good) = (old.all + new.all, old.bad + new.bad, old.all + new.all - old.bad - new.bad);
    let ways = |n: u64, k: u64| ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k);
    // Of the new ones so many are bad: then one more, and so on. Where there cannot be one more, the term is zero.
    let mut term = (ways(bad, new.bad) + ways(good, new.all - new.bad) - ways(all, new.all)).exp();
    let (mut sum, mut now) = (term, new.bad);
    while term > sum * 1e-12 {
        let (left, good_of_new) = ((bad - now) as f64, (new.all - now) as f64);
        let good_of_old = (good + now + 1 - new.all) as f64;
        term *= left * good_of_new / ((now + 1) as f64 * good_of_old);
        sum += term;
        now += 1;
    }
    sum.min(1.0)
}

/// The logarithm of n!, to nine digits (Stirling's series).
fn ln_factorial(n: u64) -> f64 {
    if n < 16 {
        return (2..=n).map(|k| (k as f64).ln()).sum();
    }
    let n = n as f64;
    n * n.ln() - n + 0.5 * (TAU * n).ln() + 1.0 / (12.0 * n) - 1.0 / (360.0 * n.powi(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_that_of_the_tables() {
        let chance =
            |bad, all, new_bad, new_all| by_chance(Count { bad, all }, Count { bad: new_bad, all: new_all });
        // Exact: 1 / C(25, 5), 1 / C(23, 3), and all of them.
        assert!((chance(0, 5, 20, 20) - 1.0 / 53_130.0).abs() < 1e-12);
        assert!((chance(0, 3, 20, 20) - 1.0 / 1771.0).abs() < 1e-12);
        assert!((chance(0, 0, 20, 20) - 1.0).abs() < 1e-9);
        assert!((chance(7, 7, 0, 20) - 1.0).abs() < 1e-9);
        // The sum over 12 to 20 of C(22, k) C(98, 20 - k) / C(120, 20).
        assert!((chance(10, 100, 12, 20) / 3.699_324_868e-6 - 1.0).abs() < 1e-7);
        // A term that overflows nothing.
        assert!(chance(10_000, 1_000_000, 600_000, 1_000_000) < 1e-300);
    }

    #[test]
    fn factorials() {
        let exact = |n: u64| (2..=n).map(|k| (k as f64).ln()).sum::<f64>();
        for n in [0, 1, 2, 15, 16, 17, 100, 1000] {
            assert!((ln_factorial(n) - exact(n)).abs() < 1e-8, "{n}");
        }
    }

    #[test]
    fn a_person_reads_shares() {
        let worse = |bad, all, old_bad, old_all| Worse {
            route: "web".to_owned(),
            wrong: Wrong::Failed,
            after: Count { bad, all },
            before: Count { bad: old_bad, all: old_all },
        };
        assert_eq!(
            worse(87, 212, 3, 1000).to_string(),
            "of 212 connections of `web` 41 % failed, 0.3 % before"
        );
        assert_eq!(
            worse(999, 1000, 0, 9).to_string(),
            "of 1000 connections of `web` 99 % failed, 0 % before"
        );
    }

    fn period(tried: u64, failed: u64, turned_away: u64, seconds: u64) -> Period {
        Period { ends: Results { tried, failed, turned_away }, lasted: Duration::from_secs(seconds) }
    }

    #[test]
    fn as_often_is_said_of_the_same_time() {
        let is_worse = |before, after| worse("web", before, after).map(|worse| worse.wrong);
        // Ten in ten seconds before, and 19 or 20 in ten seconds now.
        for (failed, seconds, found) in
            [(20, 10, true), (19, 10, false), (20, 9, true), (20, 11, false), (40, 20, true)]
        {
            let found = found.then_some(Wrong::Failed);
            let after = period(failed, failed, 0, seconds);
            assert_eq!(is_worse(period(1000, 10, 0, 10), after), found, "{failed} {seconds}");
        }
        // At least half of them.
        assert_eq!(is_worse(period(1000, 1, 0, 10), period(100, 50, 0, 10)), Some(Wrong::Failed));
        assert_eq!(is_worse(period(1000, 1, 0, 10), period(100, 49, 0, 10)), None);
        // All of them.
        assert_eq!(is_worse(period(1000, 0, 1, 10), period(0, 0, 100, 10)), Some(Wrong::TurnedAway));
        assert_eq!(is_worse(period(1000, 0, 1, 10), period(1, 0, 99, 10)), None);
    }

    /// A thousandth for all thirty looks together: 1 / C(25, 5) is less than a thirtieth of it, 1 / C(24, 4) is more.
    #[test]
    fn what_chance_may_have_done_is_not_worse() {
        for (before, found) in [(5, Some(Wrong::Failed)), (4, None), (3, None)] {
            let worse = worse("web", period(before, 0, 0, 10), period(20, 20, 0, 10));
            assert_eq!(worse.map(|worse| worse.wrong), found, "{before} before");
        }
    }

    #[test]
    fn nobody_is_missed_where_fewer_than_twenty_were_to_be_expected() {
        // A client a second before; then seconds without one.
        for (seconds, found) in [(19, false), (20, true), (60, true)] {
            let silent = silent("web", period(60, 0, 0, 60), period(0, 0, 0, seconds));
            assert_eq!(silent.is_some(), found, "{seconds}");
        }
        // Half of them were turned away; two a second.
        assert!(silent("web", period(60, 0, 60, 60), period(0, 0, 0, 10)).is_some());
        assert!(silent("web", period(60, 0, 60, 60), period(0, 0, 0, 9)).is_none());
        let before = period(60, 0, 0, 60);
        assert_eq!(silent("web", before, period(1, 0, 0, 60)), None);
        assert_eq!(silent("web", before, period(0, 0, 1, 60)), None);
    }

    #[test]
    fn a_share_is_that_of_now() {
        let of = |bad, all| Worse {
            route: "web".to_owned(),
            wrong: Wrong::Failed,
            after: Count { bad, all },
            before: Count { bad: 1, all: 1 },
        };
        assert_eq!((of(1, 4).share(), of(0, 0).share(), of(3, 3).share()), (0.25, 0.0, 1.0));
    }
}
