use std::time::Duration;

use super::*;

/// A table of four places, and a clock.
struct Story {
    places: FairShare,
    now: Instant,
}

impl Story {
    fn begin() -> Story {
        #[allow(clippy::disallowed_methods, reason = "a test needs some first instant")]
        let now = Instant::now();
        Story { places: FairShare::new(4), now }
    }

    fn later(&mut self) -> Instant {
        self.now += Duration::from_millis(1);
        self.now
    }

    fn enter(&mut self, client: &str) -> PlaceId {
        let now = self.later();
        self.places.enter(key(client), now).unwrap()
    }

    fn stand(&mut self, id: PlaceId, standing: Standing) {
        let now = self.later();
        self.places.stand(id, standing, now);
    }

    /// Lets each give way until nobody does.
    fn all_give_way(&mut self) -> Vec<PlaceId> {
        let next = || {
            let id = self.places.gives_way()?;
            self.places.leave(id);
            Some(id)
        };
        std::iter::from_fn(next).collect()
    }
}

fn key(client: &str) -> Option<ClientKey> {
    client.parse().ok().map(ClientKey::of)
}

#[test]
fn of_the_unproven_the_client_with_most_places_gives_its_longest_silent_one() {
    let mut story = Story::begin();
    let honest = story.enter("192.0.2.1");
    let flood = ["192.0.2.9"; 3].map(|client| story.enter(client));
    let now = story.later();
    assert_eq!(story.places.enter(key("192.0.2.2"), now), None);
    // The honest one is the longest silent of all, and stays until the flood has no more places than it.
    story.places.heard(flood[0], now);
    assert_eq!(story.all_give_way(), [flood[1], flood[2], honest, flood[0]]);
    assert!(story.places.is_empty());
}

#[test]
fn an_ipv6_client_is_its_64() {
    let mut story = Story::begin();
    let honest = story.enter("2001:db8:1::1");
    let flood = [1, 2, 3].map(|host| story.enter(&format!("2001:db8:2::{host}")));
    assert_eq!(story.all_give_way()[..2], flood[..2]);
    assert_ne!(honest, flood[2]);
}

#[test]
fn who_has_shown_a_right_gives_way_after_all_who_have_not_and_work_under_way_never() {
    let mut story = Story::begin();
    let [pinned, in_use, resting, unproven] = ["192.0.2.1"; 4].map(|client| story.enter(client));
    story.stand(resting, Standing::Resting);
    story.stand(in_use, Standing::InUse);
    story.stand(pinned, Standing::Pinned);
    // Silence counts only among those that stand alike.
    let now = story.later();
    story.places.heard(unproven, now);
    assert_eq!(story.all_give_way(), [unproven, resting, in_use]);
    assert_eq!((story.places.len(), story.places.gives_way()), (1, None));
    story.stand(pinned, Standing::Resting);
    assert_eq!(story.places.gives_way(), Some(pinned), "who falls idle gives way");
}

#[test]
fn clients_without_an_address_count_as_one() {
    let mut story = Story::begin();
    let nobody = [story.enter(""), story.enter("")];
    let somebody = [story.enter("192.0.2.1"), story.enter("192.0.2.2")];
    assert_eq!(story.all_give_way(), [nobody[0], nobody[1], somebody[0], somebody[1]]);
}

/// Against a plain list: any story of arrivals, words and departures has one answer.
#[test]
fn the_table_agrees_with_a_plain_list() {
    for seed in 0..200 {
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut story = Story::begin();
        let mut plain: Vec<(PlaceId, u8, Standing, Instant)> = Vec::new();
        for _ in 0..200 {
            let now = story.later();
            let at = (!plain.is_empty()).then(|| chance.usize(..plain.len()));
            let standing = [Standing::Unproven, Standing::Resting, Standing::InUse, Standing::Pinned];
            match (chance.u8(..4), at) {
                (0 | 1, _) => {
                    let client = chance.u8(..3);
                    let entered = story.places.enter(key(&format!("192.0.2.{client}")), now);
                    assert_eq!(entered.is_some(), plain.len() < 4, "seed {seed}");
                    plain.extend(entered.map(|id| (id, client, Standing::Unproven, now)));
                }
                (2, Some(at)) => {
                    let standing = standing[chance.usize(..4)];
                    story.places.stand(plain[at].0, standing, now);
                    (plain[at].2, plain[at].3) = (standing, now);
                }
                (3, Some(at)) => story.places.leave(plain.remove(at).0),
                _ => {}
            }
            let most = |standing, client| {
                plain.iter().filter(|place| (place.2, place.1) == (standing, client)).count()
            };
            let yielding = plain.iter().filter(|place| place.2 != Standing::Pinned);
            let first = yielding.min_by_key(|(_, client, standing, heard)| {
                (*standing, Reverse(most(*standing, *client)), *heard)
            });
            assert_eq!(story.places.gives_way(), first.map(|place| place.0), "seed {seed}");
            assert_eq!(story.places.len(), plain.len());
        }
    }
}
