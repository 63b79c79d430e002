//! A bounded number of places for UDP sessions, of the process or of a route. When they are taken, a newcomer takes the
//! place of another session, whichever listener that belongs to: [`FairShare`] says of which.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::state::fair_share::{FairShare, PlaceId, Standing};
use crate::state::flows::FlowId;
use crate::state::{ClientKey, LogOnce, lock};

/// One place in this many is spared for clients that have not shown yet that they hear us.
const SPARED: usize = 8;

/// The sessions of one listener whose places were taken, until it ends them.
#[derive(Debug, Default)]
pub struct Evicted {
    /// Whether there are any: looked at for each batch of datagrams.
    any: AtomicBool,
    flows: Mutex<Vec<FlowId>>,
    /// Wakes the listener. It waits for this anyway: one more thing to wait for would cost each datagram.
    wakes: Arc<Notify>,
}

impl Evicted {
    /// None yet. `wakes`: what its listener waits for.
    pub fn none(wakes: Arc<Notify>) -> Arc<Evicted> {
        Arc::new(Evicted { wakes, ..Evicted::default() })
    }

    fn add(&self, id: FlowId) {
        lock(&self.flows).push(id);
        if !self.any.swap(true, Ordering::AcqRel) {
            self.wakes.notify_one();
        }
    }

    /// Takes the sessions that must end now.
    pub fn take(&self) -> Vec<FlowId> {
        if !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut flows = lock(&self.flows);
        self.any.store(false, Ordering::Release);
        std::mem::take(&mut *flows)
    }
}

/// What a session and those who look for a place know of each other.
#[derive(Debug)]
pub(super) struct Seat {
    began: Instant,
    /// When its client was heard last, in microseconds since then: written for each datagram, without a lock.
    heard: AtomicU64,
    /// Whether its place was taken.
    lost: AtomicBool,
    /// Who ends it. `None`: it is about to be opened.
    owner: Mutex<Option<(Arc<Evicted>, FlowId)>>,
}

impl Seat {
    pub(super) fn new(now: Instant) -> Arc<Seat> {
        Arc::new(Seat {
            began: now,
            heard: AtomicU64::new(0),
            lost: AtomicBool::new(false),
            owner: Mutex::default(),
        })
    }

    /// Sets who ends it once its place is taken, which it may be already.
    pub(super) fn is_served_by(&self, owner: &Arc<Evicted>, id: FlowId) {
        *lock(&self.owner) = Some((owner.clone(), id));
        if self.has_lost() {
            owner.add(id);
        }
    }

    pub(super) fn has_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn hears(&self, now: Instant) {
        let micros = now.saturating_duration_since(self.began).as_micros();
        self.heard.store(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn heard(&self) -> Instant {
        self.began + Duration::from_micros(self.heard.load(Ordering::Relaxed))
    }

    fn evict(&self) {
        if let Some((owner, id)) = &*lock(&self.owner) {
            owner.add(*id);
        }
    }
}

/// How many sessions have lost their places to others.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Those that have not ended yet: each still has a descriptor.
    pub open: AtomicUsize,
    /// So far, of clients that had not shown that they hear us.
    pub unproven: AtomicU64,
    /// So far, of clients that had.
    pub proven: AtomicU64,
}

/// The places, and who has them.
#[derive(Debug)]
pub(super) struct SessionPlaces {
    state: Mutex<State>,
    /// Whether newcomers take the places of others.
    pub full: LogOnce,
}

#[derive(Debug)]
struct State {
    share: FairShare,
    seats: HashMap<PlaceId, Arc<Seat>>,
}

impl Default for SessionPlaces {
    fn default() -> Self {
        let state = State { share: FairShare::new(1).sparing(SPARED), seats: HashMap::new() };
        SessionPlaces { state: Mutex::new(state), full: LogOnce::default() }
    }
}

impl SessionPlaces {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Gives a newcomer one of `most` places, a free one or that of another. Returns whether it is another's. `None`: there is
    /// none, which nobody brings about: every session gives way.
    pub(super) fn enter(
        &self,
        most: usize,
        seat: &Arc<Seat>,
        client: Option<ClientKey>,
        losses: &Losses,
    ) -> Option<(PlaceId, bool)> {
        let mut state = self.state();
        let State { share, seats } = &mut *state;
        share.resize(most);
        if let Some(id) = share.enter(client, seat.began) {
            seats.insert(id, seat.clone());
            return Some((id, false));
        }
        let gives_way = share.gives_way_late(|id| seats.get(&id).map(|seat| seat.heard()))?;
        let (standing, old) = (share.standing(gives_way), seats.remove(&gives_way));
        let id = share.enter_for(gives_way, client, seat.began);
        seats.insert(id, seat.clone());
        // Before the lock is released: its session may end at once. The route and the process may both take its place.
        let old = old.filter(|old| !old.lost.swap(true, Ordering::Relaxed));
        if old.is_some() {
            let unproven = standing == Some(Standing::Unproven);
            let count = if unproven { &losses.unproven } else { &losses.proven };
            count.fetch_add(1, Ordering::Relaxed);
            losses.open.fetch_add(1, Ordering::Relaxed);
        }
        drop(state);
        old.iter().for_each(|old| old.evict());
        Some((id, true))
    }

    /// Notes that the client has shown that it hears us.
    pub(super) fn proves(&self, id: PlaceId, now: Instant) {
        self.state().share.stand(id, Standing::InUse, now);
    }

    /// Frees a place, unless another has taken it.
    pub(super) fn leave(&self, id: PlaceId) {
        let mut state = self.state();
        state.share.leave(id);
        state.seats.remove(&id);
    }

    /// How many places are taken.
    pub(super) fn len(&self) -> usize {
        self.state().share.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn id(number: u64) -> FlowId {
        FlowId::from(number)
    }

    #[test]
    fn whoever_serves_a_session_when_it_loses_its_place_is_told() {
        let (places, losses) = (SessionPlaces::default(), Losses::default());
        let (old, new) = (Arc::<Evicted>::default(), Arc::<Evicted>::default());
        let seats: Vec<_> = (0..3).map(|_| Seat::new(now())).collect();
        let enter = |seat| places.enter(1, seat, None, &losses).map(|(_, takes)| takes);
        assert_eq!(enter(&seats[0]), Some(false));
        // An edit hands it to another listener.
        seats[0].is_served_by(&old, id(1));
        seats[0].is_served_by(&new, id(2));
        assert_eq!(enter(&seats[1]), Some(true));
        assert_eq!((old.take(), new.take()), (vec![], vec![id(2)]));
        // It loses its place before anybody serves it, or on the way to another listener.
        assert_eq!(enter(&seats[2]), Some(true));
        seats[1].is_served_by(&old, id(3));
        assert_eq!((old.take(), old.take()), (vec![id(3)], vec![]));
        assert_eq!((losses.open.load(Ordering::Relaxed), losses.unproven.load(Ordering::Relaxed)), (2, 2));
        assert_eq!(places.len(), 1);
    }

    #[test]
    fn a_session_loses_its_places_once() {
        let (route, process, losses) =
            (SessionPlaces::default(), SessionPlaces::default(), Losses::default());
        let (first, second, listener) = (Seat::new(now()), Seat::new(now()), Arc::<Evicted>::default());
        for seat in [&first, &second] {
            for places in [&route, &process] {
                assert!(places.enter(1, seat, None, &losses).is_some());
            }
            seat.is_served_by(&listener, id(7));
        }
        assert_eq!((listener.take(), losses.open.load(Ordering::Relaxed)), (vec![id(7)], 1));
    }
}
