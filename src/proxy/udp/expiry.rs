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

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::Arc;

    use super::*;
    use crate::model::{ListenAddr, Peer};
    use crate::net::datagram::DatagramSocket;
    use crate::proxy::record::{AccessLog, Shared};
    use crate::proxy::route::{SessionPermit, live_route};
    use crate::proxy::udp::UdpListener;
    use crate::state::flows::FlowId;
    use crate::tasks::WorkerPool;

    #[tokio::test]
    async fn what_is_due_ends_once_nothing_is_unread_or_after_a_second_of_a_flood() {
        let (workers, threads) = WorkerPool::start().unwrap();
        let socket = DatagramSocket::over(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let listener = UdpListener::new(ListenAddr::Any(53), socket, workers.next()).unwrap();
        let shared = Arc::new(Shared::new(workers, AccessLog::default(), 1));
        let mut sessions = UdpSessions::new(Arc::new(listener), shared.clone());
        let are_left = |sessions: &mut UdpSessions| {
            sessions.leaving = vec![(now(), FlowId::from(7))];
            sessions.expire(&mut Ready::default());
            (sessions.leaving.len(), sessions.flooded.is_some())
        };
        assert_eq!(are_left(&mut sessions), (0, false), "everything is read");

        // Two of the sixteen places were taken from others: newcomers are left unread.
        let live = live_route("[[route]]\nlisten = \"53\"\nupstream = \"10.0.0.1:53\"\nprotocol = \"udp\"\n");
        let take = |_| SessionPermit::take(&shared.sessions, &live, &Peer::Unix(None), now()).unwrap();
        let permits: Vec<_> = (0..18).map(take).collect();
        sessions.live = Some(live.clone());
        sessions.pause(true);
        sessions.pause(false);
        assert_eq!(are_left(&mut sessions), (1, true));
        assert_eq!(are_left(&mut sessions), (1, true));
        sessions.flooded = now().checked_sub(Duration::from_millis(1100));
        assert_eq!(are_left(&mut sessions), (0, false), "a flood puts it off for a second");
        drop((permits, sessions));
        threads.stop();
    }
}
