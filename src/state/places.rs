//! Places of a resource with their holders: a newcomer has one at once, in the place of whoever gives way to it.

use std::collections::BTreeMap;
use std::time::Instant;

use super::fair_share::{FairShare, PlaceId, Standing};
use super::limits::ClientKey;

/// A [`FairShare`], and what holds each of its places. Who gives way is handed to the caller, to be ended: its place is free
/// already.
#[derive(Debug)]
pub struct Places<H> {
    share: FairShare,
    holders: BTreeMap<PlaceId, H>,
}

impl<H> Places<H> {
    /// So many places, all free. At least 1.
    pub fn new(most: usize) -> Self {
        Places { share: FairShare::new(most), holders: BTreeMap::new() }
    }

    /// Who holds them, and how.
    pub fn share(&self) -> &FairShare {
        &self.share
    }

    /// Changes how many there are. Nobody gives way before the next newcomer.
    pub fn resize(&mut self, most: usize) {
        self.share.resize(most);
    }

    /// Gives a newcomer a place, and its holder's value. `ended` gets those who give way to it.
    pub fn enter(
        &mut self,
        client: Option<ClientKey>,
        holder: H,
        now: Instant,
        ended: &mut Vec<H>,
    ) -> Option<PlaceId> {
        loop {
            if let Some(id) = self.share.enter(client, now) {
                self.holders.insert(id, holder);
                return Some(id);
            }
            ended.push(self.give_way()?);
        }
    }

    /// Frees the place of whoever gives way, and counts it. `None`: nobody does.
    pub fn give_way(&mut self) -> Option<H> {
        let id = self.share.gives_way()?;
        self.share.note_gave_way(id);
        self.leave(id)
    }

    /// Notes how firmly a place is held from now on.
    pub fn stand(&mut self, id: PlaceId, standing: Standing, now: Instant) {
        self.share.stand(id, standing, now);
    }

    /// Notes whose place it is, where that was not known when it was taken.
    pub fn identify(&mut self, id: PlaceId, client: Option<ClientKey>) {
        self.share.identify(id, client);
    }

    /// The holder of a place. `None`: it has given way.
    pub fn holder(&mut self, id: PlaceId) -> Option<&mut H> {
        self.holders.get_mut(&id)
    }

    /// Frees a place. `None`: it was free already, since its holder has given way.
    pub fn leave(&mut self, id: PlaceId) -> Option<H> {
        self.share.leave(id);
        self.holders.remove(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_has_a_place_at_once_and_who_gave_way_has_none() {
        #[allow(clippy::disallowed_methods, reason = "a test needs some first instant")]
        let now = Instant::now();
        let client = |n| Some(ClientKey::V4(n));
        let mut places = Places::new(3);
        let mut ended = Vec::new();
        let first = places.enter(client(1), "first", now, &mut ended).unwrap();
        let second = places.enter(client(1), "second", now, &mut ended).unwrap();
        let other = places.enter(client(2), "other", now, &mut ended).unwrap();
        assert!(ended.is_empty());
        places.enter(client(3), "third", now, &mut ended).unwrap();
        assert_eq!((ended.as_slice(), places.share().gave_way()), (&["first"][..], [1, 0, 0]));
        assert_eq!((places.leave(first), places.holder(other)), (None, Some(&mut "other")));
        // Fewer places: as many give way as are too many.
        places.resize(1);
        places.stand(second, Standing::Resting, now);
        places.identify(second, client(4));
        ended.clear();
        places.enter(client(5), "fourth", now, &mut ended).unwrap();
        ended.sort_unstable();
        assert_eq!((ended.as_slice(), places.share().len()), (&["other", "second", "third"][..], 1));
        // Nobody gives way to a newcomer while work is under way.
        let (last, _) = (places.share().gives_way().unwrap(), ended.clear());
        places.stand(last, Standing::Pinned, now);
        assert_eq!(places.enter(client(6), "fifth", now, &mut ended), None);
        assert_eq!((ended.len(), places.leave(last)), (0, Some("fourth")));
    }

    #[test]
    fn a_place_is_of_whoever_it_was_found_to_be() {
        #[allow(clippy::disallowed_methods, reason = "a test needs some first instant")]
        let now = Instant::now();
        let (flood, honest) = (Some(ClientKey::V4(1)), Some(ClientKey::V4(2)));
        let (mut places, mut ended) = (Places::new(4), Vec::new());
        let first = places.enter(honest, "first", now, &mut ended).unwrap();
        for name in ["a", "b"] {
            let id = places.enter(None, name, now, &mut ended).unwrap();
            places.identify(id, flood);
        }
        // Behind two of the flood it would give way as the longest silent one, if they were nobody's.
        places.identify(first, honest);
        let second = places.enter(None, "second", now, &mut ended).unwrap();
        places.identify(second, Some(ClientKey::V4(3)));
        assert_eq!(places.give_way(), Some("a"));
        assert_eq!((places.share().len(), places.share().gave_way()), (3, [1, 0, 0]));
    }
}
