//! Who keeps a place of a resource that strangers can fill.
//!
//! There are so many places and no more. When they are taken, a newcomer takes the place of whoever has shown least:
//! first of the unproven, then of the proven that rest, then of the proven that only wait for their client. Among those
//! that stand alike it is the client with the most such places, and of its places the one that has been silent longest.
//! So a client that floods takes places from itself, and who has shown a right is not shut out by who has not.
//!
//! Every operation takes logarithmic time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
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

/// Whose places they are. `None`: of clients without an address, which count as one.
type Client = Option<ClientKey>;

/// A bounded number of places, and who holds them.
#[derive(Debug)]
pub struct FairShare {
    most: usize,
    next: u64,
    places: HashMap<PlaceId, Place>,
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
    places: usize,
    longest: Reverse<Silent>,
    client: Client,
}

/// The places that stand alike.
#[derive(Debug, Default)]
struct Rank {
    clients: BTreeMap<Client, BTreeSet<Silent>>,
    order: BTreeSet<Held>,
}

impl Rank {
    fn change(&mut self, client: Client, change: impl FnOnce(&mut BTreeSet<Silent>)) {
        let places = self.clients.entry(client).or_default();
        let held = |places: &BTreeSet<Silent>| {
            let longest = Reverse(*places.first()?);
            Some(Held { places: places.len(), longest, client })
        };
        if let Some(before) = held(places) {
            self.order.remove(&before);
        }
        change(places);
        match held(places) {
            Some(after) => _ = self.order.insert(after),
            None => _ = self.clients.remove(&client),
        }
    }
}

impl FairShare {
    /// So many places, all free. At least 1.
    pub fn new(most: usize) -> Self {
        let ranks = std::array::from_fn(|_| Rank::default());
        FairShare { most: most.max(1), next: 0, places: HashMap::new(), ranks, gave_way: [0; YIELDING] }
    }

    /// Takes a free place for a client that has shown nothing yet. `None`: all are taken ([`FairShare::gives_way`]).
    pub fn enter(&mut self, client: Option<ClientKey>, now: Instant) -> Option<PlaceId> {
        if self.places.len() >= self.most {
            return None;
        }
        let id = PlaceId(self.next);
        self.next += 1;
        let place = Place { client, standing: Standing::Unproven, heard: now };
        self.places.insert(id, place);
        self.list(id, place);
        Some(id)
    }

    /// The place that a newcomer gets once its holder has left. `None`: nobody gives way.
    pub fn gives_way(&self) -> Option<PlaceId> {
        self.ranks.iter().find_map(|rank| rank.order.last()).map(|held| held.longest.0.id)
    }

    /// Notes that the holder was heard, or has taken in what was sent.
    pub fn heard(&mut self, id: PlaceId, now: Instant) {
        self.update(id, |place| place.heard = now);
    }

    /// Notes how firmly a place is held from now on.
    pub fn stand(&mut self, id: PlaceId, standing: Standing, now: Instant) {
        self.update(id, |place| (place.standing, place.heard) = (standing, now));
    }

    /// Frees a place. Its id is never given again.
    pub fn leave(&mut self, id: PlaceId) {
        if let Some(place) = self.places.remove(&id) {
            self.unlist(id, place);
        }
    }

    /// Counts one that has to give way.
    pub fn note_gave_way(&mut self, id: PlaceId) {
        let standing = self.places.get(&id).map(|place| place.standing);
        if let Some(rank) = standing.and_then(Standing::rank) {
            self.gave_way[rank] += 1;
        }
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
            self.ranks[rank]
                .change(place.client, |places| _ = places.insert(Silent { since: place.heard, id }));
        }
    }

    fn unlist(&mut self, id: PlaceId, place: Place) {
        if let Some(rank) = place.standing.rank() {
            self.ranks[rank]
                .change(place.client, |places| _ = places.remove(&Silent { since: place.heard, id }));
        }
    }
}

#[cfg(test)]
mod tests;
