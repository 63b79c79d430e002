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

#[test]
fn a_part_is_spared_for_the_unproven_among_whom_newcomers_would_else_take_from_each_other() {
    let mut story = Story::begin();
    story.places = FairShare::new(4).sparing(4);
    let proven = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|client| story.enter(client));
    proven.into_iter().for_each(|id| story.stand(id, Standing::InUse));
    let newcomer = story.enter("192.0.2.9");
    assert_eq!(story.places.gives_way(), Some(proven[0]), "not the newcomer, who has the spared place");
    story.places.leave(proven[0]);
    let second = story.enter("192.0.2.10");
    assert_eq!(story.places.gives_way(), Some(newcomer), "there are more of them than are spared");
    story.places.leave(proven[1]);
    story.places.leave(proven[2]);
    assert_eq!(story.all_give_way(), [newcomer, second], "without anybody else they give way");
}

#[test]
fn of_addresses_that_may_be_made_up_only_one_with_more_than_a_part_gives_way_before_the_longest_silent() {
    let mut story = Story::begin();
    story.places = FairShare::new(8).sparing(4);
    let flood = ["192.0.2.9", "192.0.2.8", "192.0.2.7"].map(|client| story.enter(client));
    let gateway = ["192.0.2.1"; 2].map(|client| story.enter(client));
    assert_eq!(story.places.gives_way(), Some(flood[0]), "two clients behind one address are no flood");
    let third = story.enter("192.0.2.1");
    assert_eq!(story.places.gives_way(), Some(gateway[0]));
    story.places.leave(gateway[0]);
    assert_eq!(story.all_give_way(), [&flood[..], &[gateway[1], third]].concat());
}

#[test]
fn whose_words_are_noted_late_does_not_give_way_for_it() {
    let mut story = Story::begin();
    let ids = [1, 2, 3, 4].map(|host| story.enter(&format!("192.0.2.{host}")));
    let began = story.now;
    let words = |id: PlaceId| match ids.iter().position(|known| *known == id) {
        Some(0) => Some(began + Duration::from_secs(2)),
        Some(1) => Some(began + Duration::from_secs(1)),
        _ => Some(began - Duration::from_secs(1)),
    };
    let mut left = Vec::new();
    while let Some(id) = story.places.gives_way_late(words) {
        story.places.leave(id);
        left.push(id);
    }
    assert_eq!(left, [ids[2], ids[3], ids[1], ids[0]]);
    // One that is heard whenever it is looked at gives way all the same if there is no other.
    let id = story.enter("192.0.2.1");
    let looks = std::cell::Cell::new(0);
    let talks = |_| {
        looks.set(looks.get() + 1);
        Some(began + Duration::from_secs(looks.get()))
    };
    assert_eq!((story.places.gives_way_late(talks), looks.get()), (Some(id), LOOKS as u64));
}

#[test]
fn fewer_places_take_from_nobody_until_a_newcomer_comes() {
    let mut story = Story::begin();
    let ids = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|client| story.enter(client));
    story.places.resize(2);
    assert_eq!((story.places.len(), story.places.most()), (3, 2));
    let now = story.later();
    story.places.leave(ids[0]);
    assert_eq!(story.places.enter(key("192.0.2.4"), now), None);
    story.places.resize(0);
    story.places.leave(ids[1]);
    story.places.leave(ids[2]);
    assert!(story.places.enter(key("192.0.2.4"), now).is_some(), "there is always one");
}

/// A place of the plain list.
struct Plain {
    id: PlaceId,
    client: u8,
    standing: Standing,
    heard: Instant,
}

/// Who gives way by the plain list.
fn gives_way(plain: &[Plain], spared: usize) -> Option<PlaceId> {
    let unproven = plain.iter().filter(|place| place.standing == Standing::Unproven).count();
    let most = |standing, client| {
        let free = if standing == Standing::Unproven { spared } else { 0 };
        let held = plain.iter().filter(|place| (place.standing, place.client) == (standing, client)).count();
        held.saturating_sub(free)
    };
    let yielding = plain.iter().filter(|place| place.standing != Standing::Pinned);
    let first = yielding.min_by_key(|place| {
        let last = unproven <= spared && place.standing == Standing::Unproven;
        (last, place.standing, Reverse(most(place.standing, place.client)), place.heard)
    });
    first.map(|place| place.id)
}

/// Against a plain list: any story of arrivals, words and departures has one answer.
#[test]
fn the_table_agrees_with_a_plain_list() {
    for seed in 0..200 {
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut story = Story::begin();
        let (most, part) = (chance.usize(1..12), chance.usize(1..5));
        story.places = FairShare::new(most);
        if part > 1 {
            story.places = FairShare::new(most).sparing(part);
        }
        let mut plain: Vec<Plain> = Vec::new();
        for _ in 0..200 {
            let now = story.later();
            let at = (!plain.is_empty()).then(|| chance.usize(..plain.len()));
            match (chance.u8(..6), at) {
                (0 | 1, _) => {
                    let client = chance.u8(..3);
                    let entered = story.places.enter(key(&format!("192.0.2.{client}")), now);
                    assert_eq!(entered.is_some(), plain.len() < most, "seed {seed}");
                    let standing = Standing::Unproven;
                    plain.extend(entered.map(|id| Plain { id, client, standing, heard: now }));
                }
                (2, Some(at)) => {
                    let all = [Standing::Unproven, Standing::Resting, Standing::InUse, Standing::Pinned];
                    let standing = all[chance.usize(..4)];
                    story.places.stand(plain[at].id, standing, now);
                    (plain[at].standing, plain[at].heard) = (standing, now);
                    assert_eq!(story.places.standing(plain[at].id), Some(standing));
                }
                (3, Some(at)) => {
                    story.places.heard(plain[at].id, now);
                    plain[at].heard = now;
                }
                (4, Some(at)) => story.places.leave(plain.remove(at).id),
                // Noted only when it is looked at.
                (5, Some(at)) => plain[at].heard = now,
                _ => {}
            }
            let spared = if part > 1 { most / part } else { 0 };
            let last = |id| plain.iter().find(|place| place.id == id).map(|place| place.heard);
            assert_eq!(story.places.gives_way_late(last), gives_way(&plain, spared), "seed {seed}");
            assert_eq!(story.places.gives_way(), gives_way(&plain, spared), "seed {seed}");
            assert_eq!(story.places.len(), plain.len());
        }
    }
}

#[test]
fn places_are_counted_by_how_firmly_they_are_held() {
    let mut story = Story::begin();
    assert!(story.places.is_empty());
    let ids = ["192.0.2.1"; 4].map(|client| story.enter(client));
    story.stand(ids[0], Standing::Resting);
    story.stand(ids[1], Standing::Pinned);
    let held = |story: &Story| {
        [Standing::Unproven, Standing::Resting, Standing::InUse, Standing::Pinned]
            .map(|standing| story.places.held_as(standing))
    };
    assert_eq!((held(&story), story.places.len(), story.places.is_empty()), ([2, 1, 0, 0], 4, false));
    story.stand(ids[1], Standing::InUse);
    story.stand(ids[2], Standing::InUse);
    assert_eq!(held(&story), [1, 1, 2, 0]);
    assert_eq!(story.places.standing(ids[2]), Some(Standing::InUse));
}

#[test]
fn a_client_that_is_known_late_counts_with_its_other_places() {
    let mut story = Story::begin();
    let honest = story.enter("192.0.2.1");
    let known = story.enter("192.0.2.9");
    let late = story.enter("");
    assert_eq!(story.places.gives_way(), Some(honest), "each has one");
    story.places.identify(late, key("192.0.2.9"));
    assert_eq!(story.all_give_way(), [known, honest, late]);
}

#[test]
fn a_newcomer_stands_in_the_place_of_the_one_that_gave_way() {
    let mut story = Story::begin();
    let ids = ["192.0.2.1"; 4].map(|client| story.enter(client));
    story.stand(ids[0], Standing::Resting);
    let now = story.later();
    let newcomer = story.places.enter_for(ids[0], key("192.0.2.9"), now);
    assert_eq!((story.places.len(), story.places.gave_way()), (4, [0, 1, 0]));
    assert_eq!(
        (story.places.standing(ids[0]), story.places.standing(newcomer)),
        (None, Some(Standing::Unproven))
    );
    let second = story.places.enter_for(ids[1], None, now);
    assert_eq!(story.places.gave_way(), [1, 1, 0]);
    assert_eq!(story.all_give_way(), [ids[2], ids[3], newcomer, second]);
}
