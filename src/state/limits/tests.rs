use super::*;

fn v4(n: u32) -> ClientKey {
    ClientKey::V4(n)
}

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

/// A clock that starts now and is advanced by hand.
struct Clock(Instant);

impl Clock {
    #[allow(clippy::disallowed_methods, reason = "there is no other first instant")]
    fn start() -> Self {
        Clock(Instant::now())
    }

    fn pass(&mut self, millis: u64) -> Instant {
        self.0 += Duration::from_millis(millis);
        self.0
    }
}

#[test]
fn a_client_is_an_ipv4_address_or_an_ipv6_64() {
    let key = |text: &str| ClientKey::of(text.parse().unwrap());
    assert_eq!(key("10.0.0.1"), key("::ffff:10.0.0.1"));
    assert_ne!(key("10.0.0.1"), key("10.0.0.2"));
    assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
    assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
    assert_ne!(key("::1"), key("0.0.0.0"));
}

#[test]
fn connections_of_a_client_are_counted_exactly_and_forgotten_with_the_last() {
    let mut crowd = ClientConnections::default();
    for _ in 0..3 {
        assert!(crowd.enter(v4(1), 3));
    }
    assert!(!crowd.enter(v4(1), 3));
    assert!(crowd.enter(v4(2), 3));
    crowd.leave(v4(1));
    assert!(crowd.enter(v4(1), 3));
    assert!(!crowd.enter(v4(1), 3));
    // A smaller limit ends no connection, and admits none.
    assert!(!crowd.enter(v4(1), 1));
    assert_eq!(crowd.len(), 2);
    for _ in 0..3 {
        crowd.leave(v4(1));
    }
    crowd.leave(v4(2));
    assert!(crowd.is_empty());
    // A client that was never admitted leaves nothing behind.
    assert!(!crowd.enter(v4(3), 0) && crowd.is_empty());
    for n in 0..10_000 {
        assert!(crowd.enter(v4(n), 1));
    }
    (0..10_000).for_each(|n| crowd.leave(v4(n)));
    assert!(crowd.is_empty() && crowd.open.capacity() < 200, "{}", crowd.open.capacity());
}

#[test]
fn a_rate_allows_its_burst_and_then_its_pace() {
    let mut clock = Clock::start();
    let mut rates = Rates::new(64, 7, clock.0);
    let five = rate("10/s burst 5");
    let now = clock.pass(1000);
    let let_in = (0..20).filter(|_| rates.enter(1, v4(1), five, now)).count();
    assert_eq!(let_in, 5);
    // One each 100 ms, however often it tries.
    let mut let_in = 0;
    for _ in 0..1000 {
        let now = clock.pass(10);
        let_in += usize::from(rates.enter(1, v4(1), five, now));
    }
    assert!((99..=101).contains(&let_in), "{let_in} in 10 s");
    // After a rest it has its burst again, and no more.
    let now = clock.pass(60_000);
    assert_eq!((0..20).filter(|_| rates.enter(1, v4(1), five, now)).count(), 5);
    // Another route counts by itself.
    assert!(rates.enter(2, v4(1), five, now));
}

#[test]
fn a_flood_of_addresses_neither_grows_the_table_nor_frees_the_one_that_is_limited() {
    let mut clock = Clock::start();
    let mut rates = Rates::new(1024, 0x5eed, clock.0);
    let limit = rate("1/s burst 10");
    let (busy, calm) = (v4(u32::MAX), v4(u32::MAX - 1));
    let now = clock.pass(1000);
    assert_eq!((0..50).filter(|_| rates.enter(1, busy, limit, now)).count(), 10);
    let (mut flood, mut busy_in, mut calm_in) = (0_u32, 0, 0);
    // A hundred seconds: a thousand new addresses a second, the busy one ten times a second, the calm one every two.
    for step in 0..1000 {
        let now = clock.pass(100);
        for _ in 0..100 {
            flood += 1;
            assert!(rates.enter(1, v4(flood), limit, now), "a first connection is never refused");
        }
        busy_in += usize::from(rates.enter(1, busy, limit, now));
        if step % 20 == 0 {
            calm_in += usize::from(rates.enter(1, calm, limit, now));
        }
    }
    assert_eq!(calm_in, 50, "a client within its rate is never refused");
    assert!((95..=105).contains(&busy_in), "{busy_in} in 100 s, at one a second");
    assert_eq!(rates.places.len(), 1024);
}

#[test]
fn a_flood_that_comes_back_is_limited_where_it_is_remembered() {
    let mut clock = Clock::start();
    let mut rates = Rates::new(4096, 1, clock.0);
    let limit = rate("1/m burst 2");
    let mut let_in = 0;
    // A thousand addresses, each twenty times within a minute.
    for _ in 0..20 {
        let now = clock.pass(3000);
        let_in += (0..1000).filter(|n| rates.enter(1, v4(*n), limit, now)).count();
    }
    // 2 at once and one more in the minute, for each. A few sets of the table overflow.
    assert!((2000..3200).contains(&let_in), "{let_in}");
}

#[test]
fn what_a_client_owes_goes_over_and_the_clock_is_another_one() {
    let start = Clock::start().0;
    let after = |millis| start + Duration::from_millis(millis);
    let rate = rate("1/s burst 3");
    let (one, other) =
        (ClientKey::of("10.0.0.1".parse().unwrap()), ClientKey::of("2001:db8::7".parse().unwrap()));
    let mut old = Rates::new(64, 1, start);
    for client in [one, one, one, other] {
        assert!(old.enter(5, client, rate, after(0)));
    }
    assert!(!old.enter(5, one, rate, after(500)));
    let mut owed: Vec<Owed> = old.owed(after(500)).collect();
    owed.sort_by_key(|owed| owed.ahead);
    let of = |client, millis| Owed { route: 5, client, ahead: Duration::from_millis(millis) };
    assert_eq!(owed, [of(other, 500), of(one, 2500)]);
    assert_eq!(other.ip().to_string(), "2001:db8::");
    assert_eq!(ClientKey::of(one.ip()), one);
    let mut new = Rates::new(64, 2, after(90_000));
    owed.into_iter().for_each(|owed| new.owe(owed, after(90_000)));
    assert!(!new.enter(5, one, rate, after(90_400)));
    assert!(new.enter(5, one, rate, after(90_600)));
    assert!(new.enter(5, other, rate, after(90_000)));
    // Who has paid off owes nothing.
    assert_eq!(new.owed(after(190_000)).count(), 0);
}

#[test]
fn what_a_client_has_open_is_its_own() {
    let mut crowd = ClientConnections::default();
    assert_eq!((crowd.of(v4(1)), crowd.len(), crowd.is_empty()), (0, 0, true));
    crowd.enter(v4(1), 9);
    crowd.enter(v4(1), 9);
    crowd.enter(v4(2), 9);
    assert_eq!((crowd.of(v4(1)), crowd.of(v4(2)), crowd.of(v4(3))), (2, 1, 0));
    assert_eq!((crowd.len(), crowd.is_empty()), (2, false));
    crowd.leave(v4(1));
    crowd.leave(v4(3));
    assert_eq!((crowd.of(v4(1)), crowd.len()), (1, 2));
}

/// What a crowd leaves behind is freed once it is more than eight times what is left; to twice that, so that it is not freed
/// and taken again and again.
#[test]
fn a_table_shrinks_to_twice_what_is_left_of_a_crowd() {
    let mut crowd = ClientConnections::default();
    (0..10_000).for_each(|n| assert!(crowd.enter(v4(n), 1)));
    let (mut before, mut shrunk) = (crowd.open.capacity(), Vec::new());
    for n in 0..10_000 {
        crowd.leave(v4(n));
        let (left, room) = (crowd.len(), crowd.open.capacity());
        assert!(left != 1000 || room <= 8 * left, "{room} places for {left}");
        if room < before * 3 / 4 {
            assert!(left * 8 <= before && room >= left * 2, "{before} places became {room} for {left}");
            shrunk.push(left);
        }
        before = room;
    }
    assert!(shrunk.len() >= 3, "{shrunk:?}");
}

#[test]
fn clients_are_spread_over_the_shards_of_a_table() {
    let mut shards = [0; 16];
    for n in 0..1600 {
        shards[v4(0x0a00_0000 + n).shard(16)] += 1;
        let v6 = ClientKey::of(format!("2001:db8:0:{n:x}::1").parse().unwrap());
        shards[v6.shard(16)] += 1;
    }
    assert!(shards.iter().all(|count| (140..260).contains(count)), "{shards:?}");
    assert_eq!(v4(7).shard(1), 0);
    // Families count apart, and each bit.
    let key = |text: &str| ClientKey::of(text.parse().unwrap()).hash(1);
    let hashes =
        [key("0.0.0.1"), key("0.0.0.2"), key("0.0.0.3"), key("0:0:0:1::"), key("0:0:0:2::"), key("0.0.0.0")];
    assert_eq!(hashes.iter().collect::<std::collections::BTreeSet<_>>().len(), 6);
}

/// Who could choose addresses that collide would make a table forget a client: each bit of the seed counts, for each route.
#[test]
fn where_a_client_stands_depends_on_the_seed_the_route_and_the_family() {
    let different = |hashes: Vec<u64>| hashes.into_iter().collect::<std::collections::BTreeSet<_>>().len();
    for keys in [[v4(1), v4(2)], [ClientKey::V6(1), ClientKey::V6(2)]] {
        assert_eq!(different((0..16).flat_map(|seed| keys.map(|key| key.hash(seed))).collect()), 32);
    }
    let each = [v4(1), v4(2), ClientKey::V6(1), ClientKey::V6(2)];
    assert!((0..16).all(|seed| different(each.map(|key| key.hash(seed)).to_vec()) == 4));
    let now = Clock::start().0;
    let stand = |seed, route| -> Vec<usize> {
        let mut rates = Rates::new(1024, seed, now);
        let at = |client: u32| {
            rates.enter(route, v4(client), rate("1/h"), now);
            rates.places.iter().position(|place| place.client == v4(client) && place.paid > 0).unwrap() / WAYS
        };
        (1..200).map(at).collect()
    };
    let all = [(1, 0), (2, 0), (1, 1), (1, 2)].map(|(seed, route)| stand(seed, route));
    for (index, sets) in all.iter().enumerate() {
        let different: std::collections::BTreeSet<&usize> = sets.iter().collect();
        assert!(different.len() > 80, "of 128: {}", different.len());
        assert!(!all[..index].contains(sets), "{index}");
    }
}
