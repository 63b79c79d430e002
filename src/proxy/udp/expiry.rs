//! The end of sessions whose time is over.

use std::time::Duration;

use super::sessions::{UdpSessions, now};
use crate::model::Outcome;
use crate::net::datagram::Ready;
use crate::state::flows::Stage;

/// How long the end of sessions waits for a flood to leave nothing unread.
const FLOODED: Duration = Duration::from_secs(1);

impl UdpSessions {
    /// Ends the sessions that have timed out, once everything is read that has arrived: after a pause of the process the
    /// datagrams that keep them alive wait in their sockets (see `net::deadline`).
    pub(super) fn expire(&mut self, ready: &mut Ready) {
        self.now = now();
        let is_due = self.next_deadline().is_some_and(|next| next <= self.now);
        if is_due && self.has_read_all(ready) {
            while let Some(ended) = self.flows.expire(self.now) {
                let unanswered = ended.stage == Stage::Asking;
                self.record(ended, if unanswered { Outcome::Unanswered } else { Outcome::Idle });
            }
            let (due, rest): (Vec<_>, Vec<_>) = self.leaving.iter().partition(|(at, _)| *at <= self.now);
            self.leaving = rest;
            due.into_iter().for_each(|(_, id)| self.end(id, Outcome::UpstreamGone));
        }
        self.listener.drops.tell(&self.listener.addr, false);
    }

    /// Reads from every socket that has something. Returns whether nothing is left to read, or too much for too long.
    fn has_read_all(&mut self, ready: &mut Ready) -> bool {
        // Ends even if more arrives meanwhile.
        for _ in 0..=self.flows.len() / Ready::MOST {
            let Ok(all) = self.listener.poller.look(ready) else { break };
            self.turn(ready);
            if all {
                break;
            }
        }
        let flooded = self.has_more() && self.now < *self.flooded.get_or_insert(self.now) + FLOODED;
        if !flooded {
            self.flooded = None;
        }
        !flooded
    }
}
