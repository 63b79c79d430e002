//! A connection that pauses, to move to another process: [`OpenConnection::pause`] asks for it, its task offers it, and
//! whoever moves it says what has become of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::known::Rare;
use super::open::{OpenConnection, SessionSignal};
use super::paused::Offer;
use crate::model::{ListenAddr, Peer};
use crate::proxy::route::LiveRoute;
use crate::state::Bytes;
use crate::state::moved::{MovedConnection, MovedSession};

impl OpenConnection {
    /// The entry of a connection that another process has begun.
    pub(super) fn resumed(
        moved: &MovedConnection,
        owner: Arc<LiveRoute>,
        listener: &Arc<ListenAddr>,
        client: Peer,
    ) -> Self {
        let now = Instant::now();
        let accepted = now.checked_sub(Duration::from_micros(moved.age)).unwrap_or(now);
        let mut open = OpenConnection::new(moved.id, owner, listener, client);
        open.traffic.go_on_from(moved);
        open.accepted = accepted;
        let mut known = open.known();
        known.connect = moved.connect.map(|micros| u32::try_from(micros).unwrap_or(u32::MAX));
        known.counted = true;
        known.rare = moved.detail.clone().map(|text| Box::new(Rare { text, ..Rare::default() }));
        drop(known);
        open
    }

    /// The entry of a UDP session that another process has begun.
    pub fn session_resumed(
        moved: &MovedSession,
        owner: Arc<LiveRoute>,
        listener: &Arc<ListenAddr>,
        client: Peer,
        signal: &Arc<SessionSignal>,
    ) -> Self {
        let now = Instant::now();
        let accepted = now.checked_sub(Duration::from_micros(moved.age)).unwrap_or(now);
        let mut open = OpenConnection::session(moved.id, owner, listener, client, signal);
        open.accepted = accepted;
        open.moved(Bytes { up: moved.up.bytes, down: moved.down.bytes }, now.into_std());
        open
    }

    /// Notes that an edit has concerned it, and that it ends once its time is over.
    pub fn leave(&self) {
        self.leaves.store(true, Ordering::Relaxed);
    }

    /// Whether [`OpenConnection::leave`] was called.
    pub fn is_leaving(&self) -> bool {
        self.leaves.load(Ordering::Relaxed)
    }

    /// Notes that it may pause from now on: `task` is that of its relay.
    pub fn may_pause(&self, task: Waker) {
        self.known().relay = Some(task);
    }

    /// Whether it is a relay that may pause.
    pub fn could_pause(&self) -> bool {
        self.known().relay.is_some()
    }

    /// Asks it to pause, and to be offered. Returns whether it may: it is a relay, without TLS. Once every sender is dropped,
    /// nobody else is on the way.
    pub fn pause(&self, to: &mpsc::Sender<Offer>) -> bool {
        let mut known = self.known();
        let Some(task) = &known.relay else { return false };
        // Before the wake: the task sees it.
        self.traffic.pause(true);
        task.wake_by_ref();
        known.rare.get_or_insert_default().paused_to = Some(to.clone());
        true
    }

    /// Takes the request back, unless it has paused.
    pub fn unpause(&self) {
        let mut known = self.known();
        if known.rare.as_mut().and_then(|rare| rare.paused_to.take()).is_some() {
            self.traffic.pause(false);
            known.relay.iter().for_each(Waker::wake_by_ref);
        }
    }

    /// Who waits for it, now that it has paused. `None`: nobody any more, and it goes on.
    pub fn paused(&self) -> Option<mpsc::Sender<Offer>> {
        self.traffic.pause(false);
        self.known().rare.as_mut()?.paused_to.take()
    }

    /// What another process must know of it beside its descriptors, now that it has paused.
    pub fn said_with(&self, offer: &Offer) -> MovedConnection {
        let mut moved = self.said();
        offer.halfway().iter().for_each(|halfway| halfway.say(&self.traffic, &mut moved));
        moved
    }
}
