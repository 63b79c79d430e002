//! A session on its way to another process.

use std::time::{Duration, Instant};

use super::parts::Evidence;
use super::{Counts, Ends, Flow, NONE, Stage, Terms};
use crate::state::Volume;
use crate::state::moved::{MovedSession, MovedVolume};

impl<S> Flow<S> {
    /// Its ends.
    pub fn ends(&self) -> Ends {
        self.ends
    }

    /// Says what went through it, and how far it is.
    pub fn say(&self, now: Instant, moved: &mut MovedSession) {
        let millis = |since: Instant| {
            u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX)
        };
        let volume = |of: Volume| MovedVolume { datagrams: of.datagrams, bytes: of.bytes };
        // The caller says its state. Terms are of the file, silence begins anew, and the lists are the table's.
        #[rustfmt::skip]
        let Flow {
            stage, evidence, asked, counts,
            ends: _, terms: _, last: _, list: _, older: _, newer: _, state: _,
        } = self;
        let Evidence { began, turns, proven } = *evidence;
        let Counts { questions, answers, up, down, dropped } = *counts;
        moved.answered = *stage == Stage::Answered;
        moved.asked = asked.map(millis);
        (moved.turns, moved.proven, moved.began) = (turns, proven, millis(began));
        (moved.questions, moved.answers, moved.dropped) = (questions, answers, dropped);
        (moved.up, moved.down) = (volume(up), volume(down));
    }

    /// What another process has said, with the caller's state.
    pub fn heard(moved: &MovedSession, ends: Ends, terms: Terms, now: Instant, state: S) -> Flow<S> {
        let before = |millis| now.checked_sub(Duration::from_millis(millis)).unwrap_or(now);
        let volume = |of: MovedVolume| Volume { datagrams: of.datagrams, bytes: of.bytes };
        Flow {
            ends,
            terms,
            stage: if moved.answered { Stage::Answered } else { Stage::Asking },
            evidence: Evidence { began: before(moved.began), turns: moved.turns, proven: moved.proven },
            last: now,
            asked: moved.asked.map(before),
            counts: Counts {
                questions: moved.questions,
                answers: moved.answers,
                up: volume(moved.up),
                down: volume(moved.down),
                dropped: moved.dropped,
            },
            list: 0,
            older: NONE,
            newer: NONE,
            state,
        }
    }
}
