//! What was done by hand, as a process says it to the one that takes over from it.

use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::by_hand::{Act, ByHand, Deed, Target};

/// One deed. Times are relative: the clock of [`Instant`] is none that another process can name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaidDeed {
    route: String,
    #[serde(default)]
    upstream: Option<String>,
    act: SaidAct,
    by: String,
    /// Seconds after 1970.
    at: u64,
    /// When it ends by itself, in milliseconds from now.
    #[serde(default)]
    ends_in: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SaidAct {
    Drain,
    Disable,
    Weight(u32),
}

impl ByHand {
    /// All of it, to be said now.
    pub fn said(&self, now: Instant) -> Vec<SaidDeed> {
        let said = self.all().map(|(target, deed)| SaidDeed {
            route: target.route.clone(),
            upstream: target.upstream.clone(),
            act: match deed.act {
                Act::Drain => SaidAct::Drain,
                Act::Disable => SaidAct::Disable,
                Act::Weight(weight) => SaidAct::Weight(weight),
            },
            by: deed.by.clone(),
            at: deed.at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |at| at.as_secs()),
            ends_in: deed.until.map(|until| {
                u64::try_from(until.saturating_duration_since(now).as_millis()).unwrap_or(u64::MAX)
            }),
        });
        said.collect()
    }

    /// What was said now.
    pub fn heard(said: Vec<SaidDeed>, now: Instant) -> ByHand {
        let mut by_hand = ByHand::default();
        for SaidDeed { route, upstream, act, by, at, ends_in } in said {
            let act = match act {
                SaidAct::Drain => Act::Drain,
                SaidAct::Disable => Act::Disable,
                SaidAct::Weight(weight) => Act::Weight(weight),
            };
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
            let until = ends_in.and_then(|millis| now.checked_add(Duration::from_millis(millis)));
            by_hand.put(Target { route, upstream }, Deed { act, by, at, until });
        }
        by_hand
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any time will do as the first")]
    fn what_was_said_is_what_is_heard() {
        let now = Instant::now();
        let target = |upstream: Option<&str>| Target {
            route: "web".to_owned(),
            upstream: upstream.map(ToOwned::to_owned),
        };
        let deed = |act, seconds: Option<u64>| Deed {
            act,
            by: "root".to_owned(),
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(7),
            until: seconds.map(|seconds| now + Duration::from_secs(seconds)),
        };
        let mut hand = ByHand::default();
        hand.put(target(None), deed(Act::Drain, Some(9)));
        hand.put(target(Some("a:1")), deed(Act::Disable, None));
        hand.put(target(Some("a:1")), deed(Act::Weight(3), Some(5)));
        let text = serde_json::to_string(&hand.said(now)).unwrap();
        assert_eq!(ByHand::heard(serde_json::from_str(&text).unwrap(), now), hand);
    }
}
