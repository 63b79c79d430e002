use std::net::Ipv4Addr;

use super::super::health::{Change, Evidence, FAILURES, FIRST};
use super::super::upstream::Failure;
use super::*;
use crate::model::UpstreamSpec;

pub(super) fn upstream(text: &str) -> Arc<Upstream> {
    Arc::new(Upstream::new(text.parse::<UpstreamSpec>().unwrap().at(0)))
}

pub(super) fn member(text: &str, weight: u32) -> Member {
    Member { weight, ..Member::plain(upstream(text)) }
}

fn backup(text: &str) -> Member {
    Member { backup: true, ..member(text, 1) }
}

pub(super) fn pool(balance: Balance, members: Vec<Member>) -> Pool {
    Pool::new(members, balance, Duration::ZERO)
}

/// `app-0:80`, `app-1:80` ... with these weights.
fn apps(weights: &[u32]) -> Vec<Member> {
    weights.iter().enumerate().map(|(i, weight)| member(&format!("app-{i}:80"), *weight)).collect()
}

#[allow(clippy::disallowed_methods, reason = "any time will do as the first")]
pub(super) fn start() -> Instant {
    Instant::now()
}

/// Every upstream in the order in which a walk yields it. The attempts are dropped.
pub(super) fn order(pool: &Pool, client: u32, chance: u64, now: Instant) -> Vec<usize> {
    let mut walk = Walk::new(Some(Ipv4Addr::from(client).into()), chance);
    std::iter::from_fn(|| pool.next(&mut walk, now).map(|step| step.index)).collect()
}

pub(super) fn first(pool: &Pool, client: u32, chance: u64, now: Instant) -> usize {
    let mut walk = Walk::new(Some(Ipv4Addr::from(client).into()), chance);
    pool.next(&mut walk, now).unwrap().index
}

pub(super) fn failure(evidence: Evidence) -> Failure<'static> {
    Failure { evidence, why: &"why", chance: 256 }
}

pub(super) fn put_down(upstream: &Arc<Upstream>, now: Instant) {
    for _ in 0..FAILURES {
        upstream.begin(None, now).unwrap().failed(now, failure(Evidence::Gone));
    }
    assert_eq!(upstream.standing(now), Standing::Down);
}

fn bring_up(upstream: &Arc<Upstream>, now: Instant) {
    let (_, change) = upstream.begin(None, now).unwrap().connected(now);
    assert!(matches!(change, Change::Up(_)));
}

/// How far counts are from their shares. For four kinds, chance exceeds 16.3 once in a thousand.
fn chi_square(counts: &[u32], weights: &[u32]) -> f64 {
    let all = f64::from(counts.iter().sum::<u32>());
    let total = f64::from(weights.iter().sum::<u32>());
    let part = |(count, weight): (&u32, &u32)| {
        let expected = all * f64::from(*weight) / total;
        (f64::from(*count) - expected).powi(2) / expected
    };
    counts.iter().zip(weights).map(part).sum()
}

pub(super) fn counts(chosen: impl Iterator<Item = usize>) -> [u32; 4] {
    let mut counts = [0; 4];
    for index in chosen {
        counts[index] += 1;
    }
    counts
}

const LIMIT: f64 = 16.3;

#[test]
fn round_robin_is_smooth_and_exact() {
    let pool = pool(Balance::RoundRobin, apps(&[5, 1, 1]));
    let now = start();
    let turns: Vec<usize> = (0..14).map(|_| first(&pool, 1, 0, now)).collect();
    assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn round_robin_shares_the_turns_of_one_that_is_down_among_the_others() {
    let pool = pool(Balance::RoundRobin, apps(&[1, 1, 1, 1]));
    let now = start();
    put_down(&pool.members()[1].upstream, now);
    let found = counts((0..300).map(|_| first(&pool, 1, 0, now)));
    assert_eq!(found, [100, 0, 100, 100]);
    // It comes last in every order, so it is tried where all others fail.
    assert_eq!(order(&pool, 1, 0, now).last(), Some(&1));
}

#[test]
fn every_walk_yields_every_upstream_once_and_backups_after_all_others() {
    use Balance::{First, LeastConnections, RandomTwo, RoundRobin, SourceHash};
    let now = start();
    for balance in [First, RoundRobin, LeastConnections, RandomTwo, SourceHash] {
        let mut members = vec![backup("spare-0:80")];
        members.extend((0..70).map(|i| member(&format!("app-{i}:80"), 1 + i % 3)));
        members.push(backup("spare-1:80"));
        let pool = pool(balance, members);
        put_down(&pool.members()[7].upstream, now);
        put_down(&pool.members()[71].upstream, now);
        for client in 0..20 {
            let order = order(&pool, client, client.into(), now);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..72).collect::<Vec<_>>(), "{balance:?}");
            // 69 that are up, the backup that is up, one that is down, the backup that is down.
            assert_eq!(order[69..], [0, 7, 71], "{balance:?}");
        }
        assert!(pool.members().iter().all(|member| member.upstream.load() == 0));
    }
}

#[test]
fn first_is_the_order_of_the_file() {
    let pool = pool(Balance::First, apps(&[1, 9, 1, 1]));
    assert_eq!(order(&pool, 1, 1, start()), [0, 1, 2, 3]);
}

#[test]
fn least_connections_go_by_weight_and_in_turn_where_all_are_equal() {
    let pool = pool(Balance::LeastConnections, apps(&[1, 2, 3, 4]));
    let now = start();
    let mut held = Vec::new();
    for _ in 0..1000 {
        let step = pool.next(&mut Walk::new(None, 0), now).unwrap();
        held.push(step.attempt);
    }
    let loads: Vec<u32> = pool.members().iter().map(|member| member.upstream.load()).collect();
    assert_eq!(loads, [100, 200, 300, 400]);
    drop(held);
    let found = counts((0..1000).map(|_| first(&pool, 1, 0, now)));
    assert_eq!(found, [100, 200, 300, 400], "idle, they go by turns");
}

#[test]
fn random_two_goes_by_weight_when_idle_and_levels_loads() {
    let weights = [1, 2, 3, 4];
    let pool = pool(Balance::RandomTwo, apps(&weights));
    let now = start();
    let found = counts((0..20_000).map(|chance| first(&pool, 1, chance, now)));
    assert!(chi_square(&found, &weights) < LIMIT, "{found:?}");
    let mut held = Vec::new();
    for chance in 0..4000 {
        held.push(pool.next(&mut Walk::new(None, chance), now).unwrap().attempt);
    }
    for member in pool.members() {
        let share = f64::from(member.upstream.load()) / f64::from(member.weight * 400);
        assert!((0.93..1.07).contains(&share), "weight {}: {}", member.weight, member.upstream.load());
    }
}

#[test]
fn source_hash_goes_by_weight() {
    let weights = [1, 2, 3, 4];
    let pool = pool(Balance::SourceHash, apps(&weights));
    let now = start();
    // Neighbours of one network, and addresses from everywhere.
    for step in [1, 104_729] {
        let clients = (0..20_000_u32).map(|i| i.wrapping_mul(step).wrapping_add(0x0a00_0000));
        let found = counts(clients.map(|client| first(&pool, client, 0, now)));
        assert!(chi_square(&found, &weights) < LIMIT, "{found:?}");
    }
}

#[test]
fn source_hash_is_the_same_in_every_replica_and_version() {
    let pool = pool(Balance::SourceHash, apps(&[1, 1, 2, 1]));
    let now = start();
    let orders: Vec<String> = (0..8)
        .map(|i| order(&pool, 0xc000_0200 + i, i.into(), now).iter().map(ToString::to_string).collect())
        .collect();
    // A promise: clients of an older Portway get the same upstreams.
    assert_eq!(orders, ["2103", "2301", "3021", "1230", "3210", "2103", "2031", "2301"]);
}

#[test]
fn source_hash_does_not_depend_on_the_order_of_the_file() {
    let now = start();
    let mut members = apps(&[1, 2, 3, 4]);
    let one = pool(Balance::SourceHash, members.clone());
    members.reverse();
    let other = pool(Balance::SourceHash, members);
    assert!((0..1000).all(|client| first(&one, client, 0, now) == 3 - first(&other, client, 0, now)));
}

#[test]
fn source_hash_moves_only_what_must_move() {
    let now = start();
    let before = pool(Balance::SourceHash, apps(&[1, 1, 1, 1]));
    let more = pool(Balance::SourceHash, apps(&[1, 1, 1, 1, 1]));
    let heavier = pool(Balance::SourceHash, apps(&[1, 1, 1, 2]));
    let clients = 0..10_000_u32;
    let moved = |after: &Pool, to: usize| {
        let pairs =
            clients.clone().map(|client| (first(&before, client, 0, now), first(after, client, 0, now)));
        let moved: Vec<_> = pairs.filter(|(old, new)| old != new).collect();
        assert!(moved.iter().all(|(_, new)| *new == to), "between two that were there before");
        moved.len()
    };
    // A fifth goes to the fifth upstream; one that counts twice has two fifths rather than a fourth.
    assert!((1850..2150).contains(&moved(&more, 4)));
    assert!((1350..1650).contains(&moved(&heavier, 3)));
    // One is down: only its own clients go elsewhere, to all others, and they come back.
    let own: Vec<u32> = clients.clone().filter(|client| first(&before, *client, 0, now) == 2).collect();
    put_down(&before.members()[2].upstream, now);
    let found = counts(own.iter().map(|client| first(&before, *client, 0, now)));
    assert!(found[2] == 0 && [0, 1, 3].iter().all(|other| found[*other] > 700), "{found:?}");
    bring_up(&before.members()[2].upstream, now);
    assert!(own.iter().all(|client| first(&before, *client, 0, now) == 2));
}

#[test]
fn one_that_is_full_is_passed_over_and_comes_back_with_room() {
    let now = start();
    for balance in [Balance::First, Balance::LeastConnections] {
        let mut members = apps(&[100, 1]);
        members[0].most = Some(2);
        let pool = pool(balance, members);
        let mut walk = Walk::new(None, 0);
        let held = [0; 2].map(|_| pool.next(&mut Walk::new(None, 0), now).unwrap());
        assert!(held.iter().all(|step| step.index == 0) || balance == Balance::LeastConnections);
        let rest = pool.members()[0].upstream.begin(None, now);
        assert_eq!(pool.next(&mut walk, now).map(|step| step.index), Some(1));
        assert!(pool.next(&mut walk, now).is_none());
        assert_eq!(walk.full(), Some(0));
        drop((held, rest));
        assert_eq!(pool.members()[0].upstream.load(), 0);
        assert_eq!(order(&pool, 1, 0, now).len(), 2);
    }
    let mut single = apps(&[1]);
    single[0].most = Some(1);
    let pool = pool(Balance::RoundRobin, single);
    let held = pool.next(&mut Walk::new(None, 0), now);
    let mut walk = Walk::new(None, 0);
    assert!(held.is_some() && pool.next(&mut walk, now).is_none());
    assert_eq!(walk.full(), Some(0));
}

#[test]
fn one_that_is_down_is_tried_by_one_connection_when_its_time_is_over() {
    let now = start();
    let pool = pool(Balance::First, apps(&[1, 1]));
    let down = &pool.members()[0].upstream;
    put_down(down, now);
    let later = now + FIRST;
    let trial = pool.next(&mut Walk::new(None, 0), later).unwrap();
    assert!(trial.index == 0 && trial.attempt.is_trial());
    // All others go on meanwhile.
    assert_eq!(first(&pool, 1, 0, later), 1);
    // The client leaves: another one tries.
    drop(trial);
    let trial = pool.next(&mut Walk::new(None, 0), later).unwrap();
    assert_eq!(trial.index, 0);
    let (load, change) = trial.attempt.connected(later);
    assert_eq!(change, Change::Up(FIRST));
    assert_eq!((first(&pool, 1, 0, later), down.load()), (0, 1));
    drop(load);
    assert_eq!(down.load(), 0);
}

#[test]
fn one_that_came_back_has_a_tenth_of_its_share_and_then_more_and_more() {
    let now = start();
    for balance in [Balance::RoundRobin, Balance::RandomTwo] {
        let pool = Pool::new(apps(&[1, 1]), balance, Duration::from_secs(10));
        put_down(&pool.members()[1].upstream, now);
        bring_up(&pool.members()[1].upstream, now);
        let share = |seconds: u64| {
            let now = now + Duration::from_secs(seconds);
            let turns = (0..2560).filter(|chance| first(&pool, 1, *chance, now) == 1).count();
            turns as f64 / 2560.0
        };
        // A tenth beside a whole one is an eleventh of all.
        for (seconds, expected) in [(0, 0.089), (5, 0.333), (10, 0.5), (60, 0.5)] {
            let found = share(seconds);
            assert!((found - expected).abs() < 0.03, "{balance:?} after {seconds} s: {found}");
        }
    }
}

#[test]
fn what_is_known_of_an_upstream_holds_for_every_pool_that_it_is_in() {
    let now = start();
    let members = apps(&[1, 1]);
    let one = pool(Balance::First, members.clone());
    put_down(&one.members()[0].upstream, now);
    let held = one.next(&mut Walk::new(None, 0), now).unwrap();
    let other = pool(Balance::First, members);
    assert_eq!(order(&other, 1, 0, now), [1, 0]);
    assert_eq!(other.members()[1].upstream.load(), 1);
    drop(held);
}

#[test]
fn r9_a_member_that_leads_back_is_never_tried() {
    let now = start();
    let looped = |text: &str| Member { leads_back: true, ..member(text, 1) };
    for balance in [
        Balance::First,
        Balance::RoundRobin,
        Balance::LeastConnections,
        Balance::RandomTwo,
        Balance::SourceHash,
    ] {
        let several = pool(balance, vec![looped("a:80"), member("b:80", 1), looped("c:80")]);
        assert_eq!(
            (order(&several, 1, 7, now), several.is_any_up(now), several.has_loop()),
            (vec![1], true, true)
        );
        // Not even if nothing else is left.
        put_down(&several.members()[1].upstream, now);
        assert_eq!((order(&several, 1, 7, now), several.is_any_up(now)), (vec![1], false));
        let all = pool(balance, vec![looped("a:80"), looped("b:80")]);
        assert_eq!((order(&all, 1, 7, now), all.is_any_up(now)), (vec![], false));
    }
    let only = pool(Balance::First, vec![looped("a:80")]);
    assert_eq!((order(&only, 1, 7, now), only.has_left(&Walk::new(None, 7))), (vec![], false));
}

#[test]
fn a_member_takes_connections_by_the_file_and_by_hand() {
    let steered = |serves, weight| {
        let steering = Arc::new(super::super::steering::Steering::default());
        steering.set(serves, weight);
        Member { steering: Some(steering), ..member("a:80", 1) }
    };
    for (member, takes) in [
        (member("a:80", 1), true),
        (member("a:80", 0), false),
        (Member { drains: true, ..member("a:80", 1) }, false),
        (steered(Serves::Ready, None), true),
        (steered(Serves::Ready, Some(0)), false),
        (steered(Serves::Drains, None), false),
        (steered(Serves::Disabled, Some(5)), false),
    ] {
        assert_eq!(member.takes_new(), takes, "{member:?}");
        assert_eq!(pool(Balance::First, vec![member]).takes_new(), takes);
    }
    assert!(pool(Balance::First, apps(&[0, 1])).takes_new());
    assert!(!pool(Balance::First, apps(&[0, 0])).takes_new());
}

/// T18: the last one that was passed over is named.
#[test]
fn a_walk_names_the_last_that_was_full() {
    let now = start();
    let full = |text: &str| Member { most: Some(0), ..member(text, 1) };
    let mut walk = Walk::new(None, 0);
    let pool = pool(Balance::First, vec![member("a:80", 1), full("b:80"), full("c:80"), member("d:80", 1)]);
    assert_eq!(walk.full(), None);
    let mut steps = Vec::new();
    while let Some(step) = pool.next(&mut walk, now) {
        steps.push((step.index, walk.full()));
    }
    assert_eq!(steps, [(0, Some(2)), (3, Some(2))]);
    let room = apps(&[1, 1]);
    let (pool, mut walk) = (super::tests::pool(Balance::First, room), Walk::new(None, 0));
    while pool.next(&mut walk, now).is_some() {}
    assert_eq!(walk.full(), None);
}
