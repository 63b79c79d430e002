//! How sessions end: by time, by an edit, by hand, or because their upstream is gone. Each end writes one record.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::session::{self, Session};
use super::sessions::{UdpSessions, now};
use crate::model::Outcome;
use crate::net::datagram;
use crate::proxy::route::LiveRoute;
use crate::state::flows::{Ended, FlowId};
use crate::state::meter::End;

impl UdpSessions {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let leaving = self.leaving.iter().map(|(at, _)| *at);
        leaving.chain(self.closing.next()).chain(self.flows.next_deadline()).min()
    }

    /// Ends the sessions whose address has left its name, at once or after their time, by `on_vanish`.
    pub(super) fn end_vanished(&mut self) {
        for id in self.flows.of(|session| session.vanishes().is_some()) {
            let Some((session, ..)) = self.flows.get_mut(id) else { continue };
            let after = session.vanishes().unwrap_or_default();
            session.leaves = true;
            match self.now.checked_add(after) {
                _ if after.is_zero() => self.end(id, Outcome::UpstreamGone),
                Some(at) => self.leaving.push((at, id)),
                None => {}
            }
        }
    }

    /// Ends a session whose upstream has not answered for the idle time, although its client goes on asking. Returns
    /// whether it has ended: it goes on if an answer waits in its socket, which a process that was stopped has not read.
    pub(super) fn is_forsaken(&mut self, id: FlowId) -> bool {
        let Some((session, ..)) = self.flows.get_mut(id) else { return true };
        if session.upstream.as_ref().is_some_and(|upstream| datagram::has_any(&upstream.socket)) {
            return false;
        }
        session.ask_name();
        self.end(id, Outcome::UpstreamLost);
        true
    }

    /// Ends the sessions of a live route.
    pub(super) fn cut(&mut self, live: &Arc<LiveRoute>) {
        self.now = now();
        for id in self.flows.of(|session| Arc::ptr_eq(&session.live, live)) {
            self.end(id, self.cut_short());
        }
    }

    /// Ends the sessions that were ended one by one: by hand, or by an edit.
    pub(super) fn cut_ended(&mut self) {
        self.now = now();
        for id in self.flows.of(|session| session.open.is_ended()) {
            let killed = self.flows.get_mut(id).is_some_and(|(session, ..)| session.open.is_killed());
            self.end(id, if killed { Outcome::Killed } else { self.cut_short() });
        }
    }

    /// Ends the sessions whose places others have taken.
    pub(super) fn end_evicted(&mut self) {
        for id in self.listener.evicted.take() {
            self.end(id, Outcome::Evicted);
        }
    }

    /// Ends each session after this much silence.
    pub(super) fn hurry(&mut self, silence: Duration) {
        self.flows.hurry(silence);
    }

    /// Ends all sessions.
    fn cut_all(&mut self) {
        self.now = now();
        for id in self.flows.of(|_| true) {
            self.end(id, self.cut_short());
        }
    }

    pub(super) fn cut_short(&self) -> Outcome {
        match std::thread::panicking() {
            true => Outcome::Internal,
            false if self.shared.is_killed() => Outcome::Killed,
            false => Outcome::Drained,
        }
    }

    pub(super) fn end(&mut self, id: FlowId, outcome: Outcome) {
        if let Some(ended) = self.flows.end(id) {
            self.record(ended, outcome);
        }
    }

    /// Writes the record. The session belongs to its scope until then: whoever waits for the scope may end the process
    /// next.
    pub(super) fn record(&self, mut ended: Ended<Session>, outcome: Outcome) {
        let open = &ended.state.open;
        let duration = self.now.saturating_duration_since(open.accepted.into_std());
        let end = End { id: open.id, outcome, bytes: ended.counts.bytes(), connect: None, duration };
        self.shared.open.remove(end.id);
        let (state, tally) = (ended.state.live.clone(), ended.state.tally());
        self.shared.file(&end, &state.state, tally.as_deref(), || session::record(&mut ended, &end));
    }
}

impl Drop for UdpSessions {
    /// However its task ends, each session gets its record.
    fn drop(&mut self) {
        self.cut_all();
        self.listener.note_overflow();
        self.listener.drops.tell(&self.listener.addr, true);
    }
}
