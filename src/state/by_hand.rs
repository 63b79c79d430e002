//! What a person has done to what runs, without the file: by route, and by upstream of a route. It stays over edits until
//! it is undone, until its time is over, or until the file has the thing no longer.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Instant, SystemTime};

use super::steering::Serves;

/// What is steered: a route, or one upstream of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The name of the route.
    pub route: String,
    /// The upstream, as the file writes it. `None`: the route itself.
    pub upstream: Option<String>,
}

/// What a person may do. All of it is undone by one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// No new connections.
    Drain,
    /// No connections at all.
    Disable,
    /// Another weight. Of upstreams only.
    Weight(u32),
}

/// What was done, by whom and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// What.
    pub act: Act,
    /// The user of the Unix socket, or the address that asked.
    pub by: String,
    /// When, by the wall clock.
    pub at: SystemTime,
    /// When it ends by itself. `None`: never.
    pub until: Option<Instant>,
}

impl Deed {
    /// Whether its time is over.
    pub fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Drain => f.write_str("drain"),
            Act::Disable => f.write_str("disable"),
            Act::Weight(weight) => write!(f, "weight {weight}"),
        }
    }
}

/// All that was done by hand and holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByHand {
    states: BTreeMap<Target, Deed>,
    weights: BTreeMap<Target, Deed>,
}

impl ByHand {
    /// Notes a deed. It replaces an earlier one of its kind.
    pub fn put(&mut self, target: Target, deed: Deed) {
        let deeds = if matches!(deed.act, Act::Weight(_)) { &mut self.weights } else { &mut self.states };
        deeds.insert(target, deed);
    }

    /// Forgets all that was done to the target. Returns whether there was anything.
    pub fn undo(&mut self, target: &Target) -> bool {
        let undone = [self.states.remove(target), self.weights.remove(target)];
        undone.iter().any(Option::is_some)
    }

    /// Forgets what was done to the target for a time that is over.
    pub fn end(&mut self, target: &Target, now: Instant) {
        self.forget(|of, deed| of == target && deed.is_over(now));
    }

    /// Whether nothing is done by hand.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty() && self.weights.is_empty()
    }

    /// Forgets the deeds whose targets are gone, and returns these.
    pub fn keep(&mut self, exists: impl Fn(&Target) -> bool) -> Vec<Target> {
        self.forget(|target, _| !exists(target))
    }

    fn forget(&mut self, over: impl Fn(&Target, &Deed) -> bool) -> Vec<Target> {
        let mut forgotten = Vec::new();
        for deeds in [&mut self.states, &mut self.weights] {
            deeds.retain(|target, deed| {
                let over = over(target, deed);
                if over {
                    forgotten.push(target.clone());
                }
                !over
            });
        }
        forgotten
    }

    /// When the next deed ends by itself.
    pub fn next_end(&self) -> Option<Instant> {
        self.states.values().chain(self.weights.values()).filter_map(|deed| deed.until).min()
    }

    /// What was done to the target.
    pub fn of(&self, target: &Target) -> impl Iterator<Item = &Deed> {
        self.states.get(target).into_iter().chain(self.weights.get(target))
    }

    /// All of it, with its targets.
    pub fn all(&self) -> impl Iterator<Item = (&Target, &Deed)> {
        self.states.iter().chain(&self.weights)
    }

    /// Whether the route is taken out of what runs.
    pub fn holds(&self, route: &str) -> bool {
        self.states.contains_key(&Target { route: route.to_owned(), upstream: None })
    }

    /// What holds for one upstream: whether it gets new connections, and its weight where it is not that of the file.
    pub fn steers(&self, target: &Target) -> (Serves, Option<u32>) {
        let weight = self.of(target).find_map(|deed| match deed.act {
            Act::Weight(weight) => Some(weight),
            Act::Drain | Act::Disable => None,
        });
        let serves = match self.states.get(target).map(|deed| deed.act) {
            Some(Act::Disable) => Serves::Disabled,
            Some(_) => Serves::Drains,
            None => Serves::Ready,
        };
        (serves, weight)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn target(route: &str, upstream: Option<&str>) -> Target {
        Target { route: route.to_owned(), upstream: upstream.map(str::to_owned) }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any time will do as the first")]
    fn a_deed_holds_until_it_is_undone_over_or_without_its_target() {
        let now = Instant::now();
        let deed = |act, seconds: Option<u64>| Deed {
            act,
            by: "root".to_owned(),
            at: SystemTime::UNIX_EPOCH,
            until: seconds.map(|seconds| now + Duration::from_secs(seconds)),
        };
        let (web, one, two) = (target("web", None), target("web", Some("a:1")), target("web", Some("b:1")));
        for act in [Act::Weight(3), Act::Drain] {
            let mut hand = ByHand::default();
            assert!(hand.is_empty());
            hand.put(one.clone(), deed(act, None));
            assert!(!hand.is_empty() && hand.undo(&one) && hand.is_empty());
        }
        let mut hand = ByHand::default();
        hand.put(web.clone(), deed(Act::Drain, Some(9)));
        hand.put(one.clone(), deed(Act::Disable, None));
        hand.put(one.clone(), deed(Act::Weight(0), Some(5)));
        hand.put(two.clone(), deed(Act::Drain, None));
        assert!(hand.holds("web") && !hand.holds("a:1"));
        assert_eq!(hand.steers(&one), (Serves::Disabled, Some(0)));
        assert_eq!(hand.next_end(), Some(now + Duration::from_secs(5)));
        hand.end(&one, now + Duration::from_secs(4));
        assert_eq!(hand.steers(&one), (Serves::Disabled, Some(0)));
        hand.end(&one, now + Duration::from_secs(5));
        assert_eq!(hand.steers(&one), (Serves::Disabled, None));
        // An earlier deed of the kind is replaced.
        hand.put(one.clone(), deed(Act::Drain, None));
        assert_eq!((hand.steers(&one), hand.of(&one).count()), ((Serves::Drains, None), 1));
        assert_eq!(hand.keep(|target| *target != two), [two]);
        assert!(hand.undo(&one) && !hand.undo(&one));
        assert_eq!(hand.all().map(|(target, _)| target).collect::<Vec<_>>(), [&web]);
    }
}
