//! What is known about upstreams, as a process says it to the one that takes over from it. Times are relative: the clock of
//! [`Instant`] is none that another process can name.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// All of it. What tells two upstreams or two checks apart is written out: where another version writes it otherwise, it begins
/// anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SaidUpstreams {
    /// The last good answer for each name.
    pub names: BTreeMap<String, Vec<IpAddr>>,
    /// What connects have shown.
    pub connects: BTreeMap<String, SaidHealth>,
    /// What checks have shown.
    pub checks: BTreeMap<String, SaidHealth>,
}

/// The health of an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SaidHealth {
    /// How often it went down.
    pub downs: u64,
    /// `None`: it is up.
    pub down: Option<SaidDown>,
}

/// An upstream that is down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SaidDown {
    /// For how long, in milliseconds.
    pub since: u64,
    /// When it is tried again, in milliseconds from now.
    pub again_in: u64,
    /// How often it went down in a row.
    pub times: u32,
    /// Why.
    pub why: Option<String>,
}

impl SaidHealth {
    /// Whether it is as good as new.
    pub fn is_new(&self) -> bool {
        *self == SaidHealth::default()
    }
}

impl SaidDown {
    /// One that went down then, and is tried again at this time.
    pub fn new(since: Instant, until: Instant, now: Instant) -> SaidDown {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        SaidDown {
            since: millis(now.saturating_duration_since(since)),
            again_in: millis(until.saturating_duration_since(now)),
            ..SaidDown::default()
        }
    }

    /// When it went down.
    pub fn since(&self, now: Instant) -> Instant {
        now.checked_sub(Duration::from_millis(self.since)).unwrap_or(now)
    }

    /// When it is tried again.
    pub fn until(&self, now: Instant) -> Instant {
        now.checked_add(Duration::from_millis(self.again_in)).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UpstreamSpec;
    use crate::state::health::{Evidence, Standing};
    use crate::state::{Checked, Failure, Upstream};

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any time will do as the first")]
    fn what_is_down_stays_down_for_the_rest_of_its_time_and_says_why() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let addr = "127.0.0.1:80".parse::<UpstreamSpec>().unwrap().at(0);
        let (old, new) = (Upstream::new(addr.clone()), Upstream::new(addr));
        let old = std::sync::Arc::new(old);
        assert!(old.said(start).is_new());
        for _ in 0..3 {
            let failure = Failure { evidence: Evidence::Gone, why: &"refused", chance: 256 };
            let _ = old.begin(None, start).unwrap().failed(start, failure);
        }
        let said = old.said(after(300));
        let down = SaidDown { since: 300, again_in: 700, times: 1, why: Some("refused".to_owned()) };
        assert_eq!(said, SaidHealth { downs: 1, down: Some(down) });
        assert!(!said.is_new() && !SaidHealth { downs: 1, down: None }.is_new());
        // The clock of the other process is another one.
        new.go_on_from(&said, after(90_000));
        assert_eq!(new.standing(after(90_699)), Standing::Down);
        assert_eq!(new.standing(after(90_700)), Standing::Trial);
        assert_eq!((new.reason().as_deref(), new.downs()), (Some("refused"), 1));
        assert_eq!(new.since(), Some(after(89_700)));
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any time will do as the first")]
    fn what_checks_have_found_down_stays_so_until_they_pass() {
        let start = Instant::now();
        let (old, new) = (Checked::new(2, 1), Checked::new(2, 1));
        old.learn(Err("no answer".to_owned()), start, start);
        let said = old.said(start + Duration::from_secs(5));
        new.go_on_from(&said, start);
        assert_eq!((new.is_up(), new.downs(), new.reason().as_deref()), (false, 1, Some("no answer")));
        new.learn(Ok(()), start, start);
        assert!(!new.is_up(), "one is not enough");
        new.learn(Ok(()), start, start);
        assert!(new.is_up());
        assert!(Checked::new(1, 1).said(start).is_new());
    }
}
