//! The limits of UDP sessions: for all routes by the descriptors, for one route by the file.
//!
//! What somebody can still do who floods, and what it costs her:
//! * Newcomers lose their place before they have their answer, if more senders are made up in the time of an answer than there
//!   are places without proven clients: with 8,000 of these and an upstream that takes 10 ms, 800,000 in a second. What a
//!   newcomer writes next has a place again.
//! * Who writes from as many addresses as there are places, from each again and again and to an upstream that answers, looks
//!   like as many clients. Newcomers then have an eighth of the places, and take them from the longest silent ones: she must
//!   write more often than the clients that she wants to push out, from all addresses.
//! * Made-up senders with the address of a client, for more than an eighth of the places, push out what this client has
//!   not proven yet.
//! * Who only ever listens proves nothing, and gives way as a made-up sender does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tracing::{info, warn};

use super::live::LiveRoute;
use super::session_places::{Evicted, Losses, Seat, SessionPlaces};
use crate::model::Peer;
use crate::state::ClientKey;
use crate::state::fair_share::PlaceId;
use crate::state::flows::FlowId;
use crate::tasks::ScopeToken;

/// How many sessions there may be before the server has set the limit: an edit that adds the first UDP route has clients
/// before that.
const FIRST: usize = 16;
/// For this many places one session may have lost its place and not have ended yet, before listeners stop to read.
const LATE: usize = 16;
/// So many more may have by what the listeners had read by then: a batch each, of those that run at once. About as many
/// descriptors are in reserve.
const READ: usize = 64;

/// The UDP sessions of the process: how many are open, and how many may be.
#[derive(Debug, Default)]
pub struct SessionLimit {
    places: Arc<SessionPlaces>,
    most: AtomicUsize,
    losses: Losses,
}

impl SessionLimit {
    /// Changes how many may be open. Open sessions stay.
    pub fn resize(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed).max(FIRST)
    }

    /// How many are open, and how many may be.
    pub fn used(&self) -> (usize, usize) {
        (self.places.len(), self.most.load(Ordering::Relaxed))
    }

    /// How many had to give way so far: of clients that had not shown that they hear us, and of those that had.
    pub fn gave_way(&self) -> [(&'static str, u64); 2] {
        let [unproven, proven] =
            [&self.losses.unproven, &self.losses.proven].map(|count| count.load(Ordering::Relaxed));
        [("unproven", unproven), ("proven", proven)]
    }

    /// Whether listeners should read no newcomers now: other listeners, of this thread or of another, have first to end
    /// the sessions whose places were taken.
    pub fn is_behind(&self) -> bool {
        self.losses.open.load(Ordering::Relaxed) > self.most() / LATE
    }
}

/// The permit of one session, returned when it has ended.
#[derive(Debug)]
pub struct SessionPermit {
    limit: Arc<SessionLimit>,
    seat: Arc<Seat>,
    /// In its route, if that has a limit, and in the process.
    places: [Option<(Arc<SessionPlaces>, PlaceId)>; 2],
    _of_route: ScopeToken,
}

impl SessionPermit {
    /// Takes a permit for one more session of a route. If the route or the process is at its limit, another session loses
    /// its own, and its listener is told ([`Evicted`]). `None`: too many of those have not ended yet.
    pub fn take(limit: &Arc<SessionLimit>, live: &LiveRoute, client: &Peer, now: Instant) -> Option<Self> {
        if limit.losses.open.load(Ordering::Relaxed) > limit.most() / LATE + READ {
            return None;
        }
        let client = client.ip().map(ClientKey::of);
        let (seat, _of_route) = (Seat::new(now), live.connections.hold());
        let mut permit = SessionPermit { limit: limit.clone(), seat, places: [None, None], _of_route };
        if let Some(max_sessions) = live.route.policy.max_sessions {
            let (places, route) = (live.state.sessions(), live.state.route());
            let most = usize::try_from(max_sessions).unwrap_or(usize::MAX);
            let (id, takes) = places.enter(most, &permit.seat, client, &limit.losses)?;
            permit.places[0] = Some((places.clone(), id));
            if takes && places.full.begins(now) {
                warn!(route, max_sessions, "the route has `max_sessions` sessions: {GIVE_WAY}");
            } else if !takes && places.full.ends(|| now) {
                info!(route, "the route has room for sessions again");
            }
        }
        let (places, most) = (&limit.places, limit.most());
        let (id, takes) = places.enter(most, &permit.seat, client, &limit.losses)?;
        permit.places[1] = Some((places.clone(), id));
        if takes && places.full.begins(now) {
            warn!(places = most, "every place for UDP sessions is taken: {GIVE_WAY}");
        } else if !takes && places.full.ends(|| now) {
            let [(_, unproven), (_, proven)] = limit.gave_way();
            info!(unproven, proven, "there are free places for UDP sessions again; so many gave way in all");
        }
        Some(permit)
    }

    /// Sets which listener serves its session, and is told when it loses its place.
    pub fn is_served_by(&self, listener: &Arc<Evicted>, id: FlowId) {
        self.seat.is_served_by(listener, id);
    }

    /// Notes that its client was heard.
    pub fn hears(&self, now: Instant) {
        self.seat.hears(now);
    }

    /// Notes that its client has shown that it hears us.
    pub fn proves(&self, now: Instant) {
        self.places.iter().flatten().for_each(|(places, id)| places.proves(*id, now));
    }
}

/// What is logged of those who give way.
const GIVE_WAY: &str = "newcomers take the places of clients that have not shown that they hear us, first of those that \
                        hold most and have been silent longest";

impl Drop for SessionPermit {
    fn drop(&mut self) {
        self.places.iter().flatten().for_each(|(places, id)| places.leave(*id));
        if self.seat.has_lost() {
            self.limit.losses.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_read_no_newcomers_once_more_than_a_sixteenth_of_the_places_is_still_to_be_left() {
        let limit = SessionLimit::default();
        limit.resize(160);
        for (open, is_behind) in [(0, false), (10, false), (11, true)] {
            limit.losses.open.store(open, Ordering::Relaxed);
            assert_eq!(limit.is_behind(), is_behind, "{open}");
        }
    }
}
