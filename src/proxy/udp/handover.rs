//! An edit of `listen` gives addresses of one listener to another, which gets the sessions there, and the datagrams that
//! still arrive at the old socket. So no session of an address that stays ends, and no newcomer is lost.

use std::sync::Arc;
use std::time::Duration;

use super::drops::Reason;
use super::listener::UdpListener;
use super::mailbox::Mail;
use super::session::Session;
use super::sessions::{Closing, UdpSessions, now};
use crate::net::datagram::Batch;
use crate::proxy::route::LiveRoute;
use crate::state::flows::{Flow, FlowId};

/// How long a socket hears until others are looked for, and then is read although it is deaf: the kernel may be about to
/// deliver what it found the socket for before.
const LAST: Duration = Duration::from_millis(20);
/// How many rounds of reading empty a deaf socket, at most.
const ROUNDS: usize = 64;

/// Hands what has arrived at a listener that never had a route to those that serve its addresses.
pub fn give_back(listener: &UdpListener, to: &[Arc<UdpListener>]) {
    listener.socket.deafen();
    let mut batch = Batch::default();
    for _ in 0..ROUNDS {
        if listener.socket.receive(&mut batch, Batch::MOST).is_err() {
            return;
        }
        batch.runs(|run| {
            let local = listener.socket.local(&run);
            let there = to.iter().find(|other| other.addr.receives(local));
            // Without one there was nobody to hear it before either.
            let taken = there.is_none_or(|other| other.hand(&run, local));
            if let Some(other) = there.filter(|_| !taken) {
                other.drops.add(Reason::Busy, run.datagrams);
            }
        });
    }
}

impl UdpSessions {
    /// Sets the route of new sessions, and without one the listeners in its place, which get the sessions of their
    /// addresses.
    pub(super) fn follow(&mut self, live: Option<Arc<LiveRoute>>) {
        if live.is_some() {
            self.closing = Closing::No;
        }
        let paused = self.listener.follows().paused;
        self.pause(paused);
        self.live = live.clone();
        self.new_lives.extend(live);
        let (successors, told) = self.listener.successors();
        self.successors = successors;
        // What was handed to this listener goes on to the next as well.
        self.take_over();
        self.hand_out();
        for successor in self.successors.clone() {
            self.hand_over(&successor);
        }
        if let Some(told) = told {
            // Nobody waits any more if the server stops meanwhile.
            let _ = told.send(());
        }
    }

    fn hand_over(&mut self, successor: &Arc<UdpListener>) {
        let ids = self.flows.at(|local| successor.addr.receives(local));
        let sessions: Vec<_> = ids.into_iter().filter_map(|id| self.flows.take(id)).collect();
        if sessions.is_empty() {
            return;
        }
        let sockets = sessions.iter().filter_map(|flow| flow.state().upstream.as_ref());
        sockets.for_each(|upstream| self.listener.poller.remove(&upstream.socket));
        successor.mailbox.put_sessions(sessions);
        successor.signal.changed.notify_one();
    }

    /// Takes over what other listeners have handed to this one.
    pub(super) fn take_over(&mut self) {
        if !self.listener.mailbox.has_any() {
            return;
        }
        self.now = now();
        let Mail { sessions, parcels, .. } = self.listener.mailbox.take();
        sessions.into_iter().for_each(|flow| self.adopt(flow));
        parcels.iter().for_each(|parcel| self.ask(&parcel.segments()));
    }

    fn adopt(&mut self, flow: Flow<Session>) {
        let id = match self.flows.put(flow, self.now) {
            Ok(id) => id,
            Err(ended) => {
                let outcome = self.cut_short();
                return self.record(ended, outcome);
            }
        };
        if self.watch(id).is_err() {
            self.end(id, self.cut_short());
        }
    }

    /// Makes this listener's task the one that serves a session.
    fn watch(&mut self, id: FlowId) -> std::io::Result<()> {
        let Some((session, ..)) = self.flows.get_mut(id) else { return Ok(()) };
        session.open.is_served_by(&self.listener.signal);
        session.permit().is_served_by(&self.listener.evicted, id);
        if !self.new_lives.iter().any(|live| Arc::ptr_eq(live, &session.live)) {
            self.new_lives.push(session.live.clone());
        }
        session
            .upstream
            .as_ref()
            .map_or(Ok(()), |upstream| self.listener.poller.add(&upstream.socket, id.into()))
    }

    /// Ends the listener once it has no route and no session: it hands on what arrives until the others hear it, goes deaf, and
    /// is over a moment later. Returns whether it is.
    pub(super) fn winds_up(&mut self) -> bool {
        if self.live.is_some() || !self.flows.is_empty() {
            return false;
        }
        if self.listener.socket.is_inherited() || self.is_paused() {
            // What arrives waits for whoever serves the socket next.
            return true;
        }
        let (now, later) = (now(), now().checked_add(LAST));
        match self.closing {
            Closing::Deaf(at) if now < at => {}
            Closing::Deaf(_) => {
                self.take_over();
                self.read_out(ROUNDS);
                return true;
            }
            Closing::No | Closing::Hears(_) => {
                self.listener.begin_to_wind_up();
                let served = self.successors.iter().all(|other| other.hears());
                self.closing = later.map_or(Closing::No, Closing::Hears);
                if served && self.listener.deafen() {
                    self.read_out(ROUNDS);
                    self.closing = later.map_or(Closing::No, Closing::Deaf);
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::model::ListenAddr;
    use crate::net::datagram::DatagramSocket;
    use crate::tasks::WorkerPool;

    /// From outside it takes a datagram in the moment between two sockets, of which the second cannot be opened.
    #[test]
    fn what_has_arrived_at_a_listener_that_is_not_served_goes_to_the_one_of_its_address() {
        let (workers, threads) = WorkerPool::start().unwrap();
        let listener = |addr: ListenAddr| {
            let socket =
                DatagramSocket::bind(&ListenAddr::Ip("127.0.0.1:0".parse().unwrap()), false).unwrap();
            Arc::new(UdpListener::new(addr, socket, workers.next()).unwrap())
        };
        let new = listener(ListenAddr::Ip("127.0.0.1:53".parse().unwrap()));
        let other = listener(ListenAddr::Ip("127.0.0.2:53".parse().unwrap()));
        let wide = listener(ListenAddr::Any(53));
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for datagram in ["one", "another"] {
            client.send_to(datagram.as_bytes(), new.socket.addr()).unwrap();
        }
        give_back(&new, &[other.clone(), wide.clone()]);
        assert!(!other.mailbox.has_any());
        let Mail { parcels, .. } = wide.mailbox.take();
        let heard: Vec<(_, Vec<u8>)> = parcels
            .iter()
            .map(|parcel| (parcel.segments().from, parcel.segments().each().flatten().copied().collect()))
            .collect();
        let from = client.local_addr().unwrap();
        assert_eq!(heard, [(from, b"one".to_vec()), (from, b"another".to_vec())]);
        drop((new, other, wide));
        threads.stop();
    }
}
