//! Who keeps a place of a resource that strangers can fill.
//!
//! There are so many places and no more. When they are taken, a newcomer takes the place of whoever has shown least:
//! first of the unproven, then of the proven that rest, then of the proven that only wait for their client. Among those
//! that stand alike it is the client with the most such places, and of its places the one that has been silent longest.
//! So a client that floods takes places from itself, and who has shown a right is not shut out by who has not.
//!
//! Where addresses may be made up and anybody may become proven in time, the unproven keep a part of the places
//! ([`FairShare::sparing`]): else those who came first would be the only ones for good, and newcomers would take their one
//! place from each other.
//!
//! Every operation takes logarithmic time.
//!
//! # The resources that strangers can fill
//! The same list is in `.github/SECURITY.md`, with each one's bound, share, count and test. `tests/strangers` fails if a
//! table, a queue or a number of permits is on neither.
//!
//! | resource | held in |
//! |---|---|
//! | connections | `ConnectionLimit::permits`, `OpenTable::shards`, `DialTable::open` |
//! | connections of one client | `ClientConnections::open`, `Count::of` |
//! | connections before they have an upstream, and their memory | `Places::holders` |
//! | new connections of one client | a table of fixed size in each route |
//! | UDP sessions | `Flows::index`, `State::seats` |
//! | datagrams that wait | lists of fixed length in each session and listener |
//! | clients that wait for an upstream | `Places::holders`, `HoldQueue::scout` |
//! | connects to an upstream at a time | `Endpoint::wide`, `Endpoint::narrow` |
//! | kernel pipes | a counted pool of the relay |
//! | look-ups of names | `Resolver::prompt`, `Resolver::wedged` |
//! | connections to the admin endpoint | `FairShare::places`, `Rank::places`, `Rank::clients`, `Rank::order`, `State::tasks` |
//! | calls of the admin endpoint | `CALLS`, `UNPROVEN`, `TURN`, `Handle::requests`, `Handle::alive` |
//! | log lines | `Sink::queue` |
//! | the kernel's queues of a connection | the kernel |
//! | the kernel's queue of a UDP listener | the kernel |

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Instant;

use super::limits::ClientKey;

/// One place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaceId(u64);

/// How firmly a place is held: the lower one gives way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Its holder has shown nothing yet: no right, or not that it hears us.
    Unproven,
    /// Its holder has shown a right, and does not use the place now.
    Resting,
    /// In use by a holder with a right, and waiting for its client.
    InUse,
    /// Work of ours is under way for a holder with a right: it gives way to nobody.
    Pinned,
}

/// How many kinds of [`Standing`] give way.
pub const YIELDING: usize = 3;

impl Standing {
    /// Its index among those that give way. `None`: it gives way to nobody.
    fn rank(self) -> Option<usize> {
        match self {
            Standing::Unproven => Some(0),
            Standing::Resting => Some(1),
            Standing::InUse => Some(2),
            Standing::Pinned => None,
        }
    }
}

/// How many places are looked at to find one, where words are noted late ([`FairShare::gives_way_late`]).
const LOOKS: usize = 256;

/// Whose places they are. `None`: of clients without an address, which count as one.
type Client = Option<ClientKey>;

/// A bounded number of places, and who holds them.
#[derive(Debug)]
pub struct FairShare {
    most: usize,
    /// One place in so many is spared for the unproven. `None`: they give way before all others.
    spared: Option<usize>,
    next: u64,
    places: BTreeMap<PlaceId, Place>,
    ranks: [Rank; YIELDING],
    gave_way: [u64; YIELDING],
}

#[derive(Clone, Copy, Debug)]
struct Place {
    client: Client,
    standing: Standing,
    heard: Instant,
}

/// Since when a place is silent. The first of several is the longest silent one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Silent {
    since: Instant,
    id: PlaceId,
}

/// A client as it is compared with others: the last of several gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    /// How many places beyond those that do not count.
    excess: usize,
    longest: Reverse<Silent>,
    client: Client,
    places: usize,
}

/// The places that stand alike.
#[derive(Debug, Default)]
struct Rank {
    places: BTreeSet<(Client, Silent)>,
    clients: BTreeMap<Client, Held>,
    order: BTreeSet<Held>,
}

impl Rank {
    /// `free`: how many places of a client do not count.
    fn add(&mut self, client: Client, silent: Silent, free: usize) {
        self.places.insert((client, silent));
        let (places, longest) = match self.clients.get(&client) {
            Some(held) => (held.places + 1, held.longest.max(Reverse(silent))),
            None => (1, Reverse(silent)),
        };
        self.hold(Held { excess: places.saturating_sub(free), longest, client, places });
    }

    fn remove(&mut self, client: Client, silent: Silent, free: usize) {
        self.places.remove(&(client, silent));
        let Some(held) = self.clients.get(&client).copied() else { return };
        let after = (Bound::Excluded((client, silent)), Bound::Unbounded);
        let longest = match held.longest.0 == silent {
            true => {
                self.places.range(after).next().filter(|(next, _)| *next == client).map(|(_, next)| *next)
            }
            false => Some(held.longest.0),
        };
        match longest {
            Some(longest) => {
                let (places, longest) = (held.places - 1, Reverse(longest));
                self.hold(Held { excess: places.saturating_sub(free), longest, client, places });
            }
            None => {
                self.clients.remove(&client);
                self.order.remove(&held);
            }
        }
    }

    fn hold(&mut self, held: Held) {
        if let Some(before) = self.clients.insert(held.client, held) {
            self.order.remove(&before);
        }
        self.order.insert(held);
    }
}

impl FairShare {
    /// So many places, all free. At least 1.
    pub fn new(most: usize) -> Self {
        let ranks = std::array::from_fn(|_| Rank::default());
        let (most, places, gave_way) = (most.max(1), BTreeMap::new(), [0; YIELDING]);
        FairShare { most, spared: None, next: 0, places, ranks, gave_way }
    }

    /// Spares one place in `part` for the unproven: while they hold no more, a newcomer takes the place of a proven one. So
    /// many are also free for each of them: only beyond that it counts who of the unproven holds most. An address that may be
    /// made up says little, and behind a real one may be many clients.
    pub fn sparing(self, part: usize) -> Self {
        FairShare { spared: Some(part.max(1)), ..self }
    }

    /// Changes how many places there are. Those beyond it stay until they leave, or give way.
    pub fn resize(&mut self, most: usize) {
        self.most = most.max(1);
    }

    /// How many places there are.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Takes a free place for a client that has shown nothing yet. `None`: all are taken ([`FairShare::gives_way`]).
    pub fn enter(&mut self, client: Option<ClientKey>, now: Instant) -> Option<PlaceId> {
        (self.places.len() < self.most).then(|| self.add(client, now))
    }

    /// As [`FairShare::enter`], in the place of one that gives way. Counts that one, and frees its place.
    pub fn enter_for(&mut self, gives_way: PlaceId, client: Option<ClientKey>, now: Instant) -> PlaceId {
        self.note_gave_way(gives_way);
        self.leave(gives_way);
        self.add(client, now)
    }

    fn add(&mut self, client: Option<ClientKey>, now: Instant) -> PlaceId {
        let id = PlaceId(self.next);
        self.next += 1;
        let place = Place { client, standing: Standing::Unproven, heard: now };
        self.places.insert(id, place);
        self.list(id, place);
        id
    }

    /// The place that a newcomer gets once its holder has left. `None`: nobody gives way.
    pub fn gives_way(&self) -> Option<PlaceId> {
        let [unproven, proven @ ..] = &self.ranks;
        let last = |rank: &Rank| rank.order.last().map(|held| held.longest.0.id);
        let proven = || proven.iter().find_map(last);
        let spares = unproven.places.len() <= self.spared();
        let first = if spares { proven() } else { None };
        first.or_else(|| last(unproven))
    }

    /// As [`FairShare::gives_way`], where [`FairShare::heard`] is not called for every word: `last` says when a place was
    /// really heard last, which is looked up only for those that would give way. Of very many whose words were not noted yet
    /// it looks at some.
    pub fn gives_way_late(&mut self, last: impl Fn(PlaceId) -> Option<Instant>) -> Option<PlaceId> {
        let mut longest = None;
        for _ in 0..LOOKS {
            let id = self.gives_way()?;
            let noted = self.places.get(&id)?.heard;
            let Some(since) = last(id).filter(|since| *since > noted) else { return Some(id) };
            self.heard(id, since);
            let silent = Silent { since, id };
            longest = Some(longest.map_or(silent, |longest: Silent| longest.min(silent)));
        }
        longest.map(|silent| silent.id)
    }

    /// Notes that the holder was heard, or has taken in what was sent.
    pub fn heard(&mut self, id: PlaceId, now: Instant) {
        self.update(id, |place| place.heard = now);
    }

    /// Notes how firmly a place is held from now on.
    pub fn stand(&mut self, id: PlaceId, standing: Standing, now: Instant) {
        self.update(id, |place| (place.standing, place.heard) = (standing, now));
    }

    /// Notes whose place it is, where that was not known when it was taken.
    pub fn identify(&mut self, id: PlaceId, client: Option<ClientKey>) {
        self.update(id, |place| place.client = client);
    }

    /// Frees a place. Its id is never given again.
    pub fn leave(&mut self, id: PlaceId) {
        if let Some(place) = self.places.remove(&id) {
            self.unlist(id, place);
        }
    }

    /// Counts one that has to give way.
    pub fn note_gave_way(&mut self, id: PlaceId) {
        if let Some(rank) = self.standing(id).and_then(Standing::rank) {
            self.gave_way[rank] += 1;
        }
    }

    /// How firmly a place is held. `None`: it was freed.
    pub fn standing(&self, id: PlaceId) -> Option<Standing> {
        self.places.get(&id).map(|place| place.standing)
    }

    /// How many places are held as firmly as that. Of those that give way to nobody: 0.
    pub fn held_as(&self, standing: Standing) -> usize {
        standing.rank().map_or(0, |rank| self.ranks[rank].places.len())
    }

    /// How many had to give way so far: of the unproven, of those at rest, of those in use.
    pub fn gave_way(&self) -> [u64; YIELDING] {
        self.gave_way
    }

    /// How many places are taken.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether no place is taken.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn spared(&self) -> usize {
        self.spared.map_or(0, |part| self.most / part)
    }

    /// How many places of a client do not count among those of a rank.
    fn free(&self, rank: usize) -> usize {
        if rank == 0 { self.spared() } else { 0 }
    }

    fn update(&mut self, id: PlaceId, change: impl FnOnce(&mut Place)) {
        let Some(old) = self.places.get(&id).copied() else { return };
        let mut new = old;
        change(&mut new);
        self.unlist(id, old);
        self.places.insert(id, new);
        self.list(id, new);
    }

    fn list(&mut self, id: PlaceId, place: Place) {
        if let Some(rank) = place.standing.rank() {
            let free = self.free(rank);
            self.ranks[rank].add(place.client, Silent { since: place.heard, id }, free);
        }
    }

    fn unlist(&mut self, id: PlaceId, place: Place) {
        if let Some(rank) = place.standing.rank() {
            let free = self.free(rank);
            self.ranks[rank].remove(place.client, Silent { since: place.heard, id }, free);
        }
    }
}

#[cfg(test)]
mod tests;
