//! The life of one datagram: it finds its session or opens one, and is sent on or counted as dropped.

use std::cell::RefCell;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use super::drops::Reason;
use super::header::Upstream;
use super::listener::{LISTENER, UdpListener};
use super::session::Session;
use crate::model::Outcome;
use crate::net::datagram::{Batch, Ready, Segments};
use crate::proxy::record::Shared;
use crate::proxy::route::LiveRoute;
use crate::state::flows::{Ends, FlowId, Flows, Stage};

/// How many rounds of full reads run before other tasks have their turn.
const ROUNDS: usize = 8;
/// For how long a client asks without an answer until its session looks whether the upstream is down. An answer that comes later
/// than that is rare, and then the upstream is up.
const IN_VAIN: Duration = Duration::from_secs(1);
/// How many calls read from a session while it is quiet: one for a datagram, one to see that there is no other.
const QUIET: usize = 2;

thread_local! {
    /// Per thread rather than per listener, so that its memory stays touched.
    static BATCH: RefCell<Batch> = RefCell::default();
}

/// How far a listener is that has no route and no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// It has something to do.
    No,
    /// It still hears, and hands on what arrives. Looks again at this time.
    Hears(Instant),
    /// It is deaf, and over at this time.
    Deaf(Instant),
}

impl Closing {
    /// When it goes on.
    pub(super) fn next(self) -> Option<Instant> {
        match self {
            Closing::No => None,
            Closing::Hears(at) | Closing::Deaf(at) => Some(at),
        }
    }
}

/// The sessions of one listener.
pub(super) struct UdpSessions {
    pub listener: Arc<UdpListener>,
    pub shared: Arc<Shared>,
    pub live: Option<Arc<LiveRoute>>,
    /// The listeners in its place, while it has no route.
    pub successors: Vec<Arc<UdpListener>>,
    /// Live routes whose end the task does not wait for yet.
    pub new_lives: Vec<Arc<LiveRoute>>,
    pub flows: Flows<Session>,
    /// Sessions whose address has left its name, each with the end of its time.
    pub leaving: Vec<(Instant, FlowId)>,
    pub closing: Closing,
    /// Addresses that clients have written to, each with whether it is one of broadcast.
    pub broadcasts: Vec<(Ipv4Addr, bool)>,
    /// Sockets that may have more than was read from them.
    more: Vec<u64>,
    /// Those that are read now. Kept, so that a turn allocates nothing.
    round: Vec<u64>,
    pub now: Instant,
    /// Since when the end of sessions waits for a flood to be read. `None`: it does not wait.
    pub flooded: Option<Instant>,
    /// Scratch space for datagrams with headers.
    pub headed: Vec<u8>,
    /// Another process that has the listener's socket too reads it.
    paused: bool,
}

impl UdpSessions {
    /// The state of a listener without sessions.
    pub(super) fn new(listener: Arc<UdpListener>, shared: Arc<Shared>) -> UdpSessions {
        // They are of an earlier task, and new sessions may have the same ids.
        drop(listener.evicted.take());
        UdpSessions {
            listener,
            shared,
            live: None,
            successors: Vec::new(),
            new_lives: Vec::new(),
            flows: Flows::default(),
            leaving: Vec::new(),
            closing: Closing::No,
            broadcasts: Vec::new(),
            // No event reports what arrived before the listener was served, so read it first.
            more: vec![LISTENER],
            round: Vec::new(),
            now: now(),
            flooded: None,
            headed: Vec::new(),
            paused: false,
        }
    }

    /// Whether a round of reading has left something to read.
    pub(super) fn has_more(&self) -> bool {
        !self.more.is_empty()
    }

    /// Leaves the listener's socket to another process that has it too, or reads it again.
    pub(super) fn pause(&mut self, paused: bool) {
        if std::mem::replace(&mut self.paused, paused) == paused {
            return;
        }
        self.more.retain(|number| *number != LISTENER);
        if paused {
            self.listener.poller.remove(&self.listener.socket);
        } else {
            // Fails only without memory, and then what is there already is still read.
            drop(self.listener.poller.add(&self.listener.socket, LISTENER));
            self.more.push(LISTENER);
        }
    }

    /// Whether what clients send is read by another process.
    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Reads from the sockets that are ready.
    pub(super) fn turn(&mut self, ready: &Ready) {
        let old = self.more.len();
        let known = |more: &[u64], number| more[..old].contains(&number);
        for number in ready.numbers().filter(|number| *number != LISTENER || !self.paused) {
            if !known(&self.more, number) {
                self.more.push(number);
            }
        }
        self.go_on();
    }

    /// Reads on, for [`ROUNDS`] rounds at most.
    pub(super) fn go_on(&mut self) {
        self.now = now();
        BATCH.with_borrow_mut(|batch| {
            for _ in 0..ROUNDS {
                if self.live.is_some() && self.shared.sessions.is_behind() {
                    break;
                }
                std::mem::swap(&mut self.more, &mut self.round);
                for at in 0..self.round.len() {
                    let number = self.round[at];
                    let more = match number {
                        LISTENER => self.take_in(batch),
                        number => self.take_back(FlowId::from(number), batch),
                    };
                    if more {
                        self.more.push(number);
                    }
                }
                self.round.clear();
                if self.more.is_empty() {
                    break;
                }
            }
        });
        if self.has_more() {
            // Only a flood leaves something, and only a flood fills the kernel's queue.
            self.listener.note_overflow();
        }
        self.listener.drops.tell(&self.listener.addr, false);
    }

    /// Reads what has arrived at the listener, at most this many rounds.
    pub(super) fn read_out(&mut self, rounds: usize) {
        self.more = vec![LISTENER];
        for _ in 0..rounds {
            self.go_on();
            if self.more.is_empty() {
                return;
            }
        }
    }

    /// Reads what clients have sent. Returns whether there may be more.
    fn take_in(&mut self, batch: &mut Batch) -> bool {
        self.end_evicted();
        match self.listener.socket.receive(batch, Batch::MOST) {
            Ok(calls) => {
                batch.runs(|segments| self.ask(&segments));
                calls == Batch::MOST
            }
            // The error belongs to an answer that was sent before, and this call has cleared it.
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Handles datagrams of a client: finds their session or opens one, and sends them on.
    pub(super) fn ask(&mut self, segments: &Segments<'_>) {
        let ends = Ends { client: segments.from, local: self.listener.socket.local(segments) };
        let session = match self.known(&ends, segments.datagrams) {
            Some(id) => Ok(id),
            None if !self.is_served() => return self.pass_on(&ends, segments),
            None => self.open(ends, segments),
        };
        match session {
            Ok(id) => self.send_on(id, segments),
            Err(reason) => self.listener.drops.add(reason, segments.datagrams),
        }
    }

    /// The session of a client's datagrams. One whose upstream has fallen silent ends here: the next one may find another.
    fn known(&mut self, ends: &Ends, datagrams: u64) -> Option<FlowId> {
        let mut known = self.flows.ask(ends, datagrams, self.now);
        if known.is_none() && self.listener.mailbox.has_any() {
            self.take_over();
            known = self.flows.ask(ends, datagrams, self.now);
        }
        let question = known?;
        if question.proves
            && let Some((session, ..)) = self.flows.get_mut(question.id)
        {
            session.permit().proves(self.now);
        }
        let forsaken = (question.forsaken || self.waits_for_one_that_is_down(question.id))
            && self.is_forsaken(question.id);
        (!forsaken).then_some(question.id)
    }

    /// Whether a client asks in vain of an upstream that is down, as a check has found, while another one is up.
    fn waits_for_one_that_is_down(&mut self, id: FlowId) -> bool {
        let now = self.now;
        let waits = self.flows.waits(id, now).is_some_and(|waits| waits >= IN_VAIN);
        waits && self.flows.get_mut(id).is_some_and(|(session, ..)| session.is_down(now))
    }

    /// Whether new sessions are opened. Of a listener that is not served it looks whether an edit has just changed that: those
    /// that were in its place may be gone already.
    fn is_served(&mut self) -> bool {
        if self.live.is_none() {
            self.live = self.listener.live();
            self.new_lives.extend(self.live.clone());
        }
        self.live.is_some()
    }

    /// Hands datagrams of no session to the listener that has taken over their address.
    fn pass_on(&self, ends: &Ends, segments: &Segments<'_>) {
        let successor = self.listener.successor(ends.local);
        let reason = match successor {
            None => Reason::Closing,
            Some(successor) if successor.hand(segments, ends.local) => return,
            Some(_) => Reason::Busy,
        };
        self.listener.drops.add(reason, segments.datagrams);
    }

    /// Sends datagrams of a client on, or keeps them until there is an upstream.
    fn send_on(&mut self, id: FlowId, segments: &Segments<'_>) {
        let asking = self.flows.stage(id) == Some(Stage::Asking);
        let Some((session, _, counts)) = self.flows.get_mut(id) else { return };
        session.permit().hears(self.now);
        let Some(upstream) = &mut session.upstream else {
            let dropped = session.keep(segments);
            counts.dropped += dropped;
            return self.listener.drops.add(Reason::Resolving, dropped);
        };
        let sent = upstream.send(&self.listener.socket, segments, &mut self.headed);
        counts.up += sent.sent;
        session.open.moved(counts.bytes(), self.now);
        if asking && session.has_others() {
            session.keep(segments);
        }
        let Some((failed, error)) = sent.failed else { return };
        if error.kind() == io::ErrorKind::ConnectionRefused && asking {
            // The error answers an earlier datagram. These are among the kept ones if there are other candidates.
            return self.refused(id, &error);
        }
        counts.dropped += failed;
        self.listener.drops.add(Reason::of(&error), failed);
        if error.kind() == io::ErrorKind::ConnectionRefused {
            self.refused(id, &error);
        }
    }

    /// Reads what a session's upstream has answered. Returns whether there may be more.
    fn take_back(&mut self, id: FlowId, batch: &mut Batch) -> bool {
        let Some((session, ends, _)) = self.flows.get_mut(id) else { return false };
        let Some(Upstream { socket, .. }) = &session.upstream else { return false };
        let most = if session.busy { Batch::MOST } else { QUIET };
        match self.listener.socket.receive_from(socket, batch, most) {
            Ok(calls) => {
                session.busy = calls == most;
                batch.runs(|segments| self.answer(id, ends, &segments));
                calls == most
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => {
                self.refused(id, &error);
                true
            }
        }
    }

    /// Handles answers of an upstream: sends them to the client, and ends the session with the last one.
    fn answer(&mut self, id: FlowId, ends: Ends, segments: &Segments<'_>) {
        let Some(answer) = self.flows.answer(id, segments.datagrams, self.now) else {
            // The last answer came with these.
            return self.listener.drops.add(Reason::Surplus, segments.datagrams);
        };
        let Some((session, _, counts)) = self.flows.get_mut(id) else { return };
        let surplus = segments.datagrams - answer.passes;
        if answer.passes > 0 {
            let segments = segments.first(answer.passes);
            let socket = &self.listener.socket;
            let source = if session.by_route { None } else { socket.source(ends.local) };
            let sent = socket.send(&segments, ends.client, source);
            counts.down += sent.sent;
            session.open.moved(counts.bytes(), self.now);
            if let Some((failed, error)) = sent.failed {
                counts.dropped += failed;
                self.listener.drops.add(Reason::of(&error), failed);
            }
            session.answered();
        }
        if surplus > 0 {
            counts.dropped += surplus;
            self.listener.drops.add(Reason::Surplus, surplus);
        }
        if answer.last {
            self.end(id, Outcome::Replied);
        }
    }
}

/// The time, read once for many datagrams.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::model::ListenAddr;
    use crate::net::datagram::DatagramSocket;
    use crate::proxy::record::AccessLog;
    use crate::tasks::WorkerPool;

    /// An upgrade shows it of the listener. Of another socket only a burst that ends in the very turn of the pause would.
    #[test]
    fn a_pause_leaves_the_listener_unread_and_no_other_socket() {
        let (workers, threads) = WorkerPool::start().unwrap();
        let socket = DatagramSocket::over(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let listener = UdpListener::new(ListenAddr::Any(80), socket, workers.next()).unwrap();
        let shared = Shared::new(workers, AccessLog::default(), 1);
        let mut sessions = UdpSessions::new(Arc::new(listener), Arc::new(shared));
        sessions.more.push(7);
        for (paused, more) in
            [(true, &[7][..]), (true, &[7]), (false, &[7, LISTENER]), (false, &[7, LISTENER])]
        {
            sessions.pause(paused);
            assert_eq!((sessions.is_paused(), &*sessions.more), (paused, more));
        }
        drop(sessions);
        threads.stop();
    }
}
