//! Addresses of names, and what checks say.

use super::tests::{counts, first, member, order, pool, put_down, start};
use super::*;

/// The addresses of one name.
fn addresses(group: usize, texts: &[&str]) -> Vec<Member> {
    let v6_first = texts[0].starts_with('[');
    let known_as = (texts.len() == 1).then(|| format!("app-{group}:80"));
    let address = |text: &&str| Member {
        of: Some(NameOf { group, second: text.starts_with('[') != v6_first, known_as: known_as.clone() }),
        ..member(text, 1)
    };
    texts.iter().map(address).collect()
}

#[test]
fn the_second_family_is_only_for_want_of_the_first_and_stands_before_backups() {
    let now = start();
    let mut members = addresses(0, &["[2001:db8::1]:80", "[2001:db8::2]:80", "192.0.2.1:80", "192.0.2.2:80"]);
    members.push(Member { backup: true, ..member("192.0.2.9:80", 1) });
    let pool = pool(Balance::RoundRobin, members);
    assert_eq!(counts((0..100).map(|_| first(&pool, 1, 0, now))), [50, 50, 0, 0]);
    put_down(&pool.members()[0].upstream, now);
    put_down(&pool.members()[1].upstream, now);
    assert_eq!(counts((0..100).map(|_| first(&pool, 1, 0, now))), [0, 0, 50, 50]);
    put_down(&pool.members()[2].upstream, now);
    put_down(&pool.members()[3].upstream, now);
    assert_eq!(order(&pool, 1, 0, now), [4, 0, 1, 2, 3]);
}

#[test]
fn beside_an_address_stand_those_of_its_name_and_families_alternate() {
    let now = start();
    let mut members = addresses(0, &["[2001:db8::1]:80", "[2001:db8::2]:80", "192.0.2.1:80", "192.0.2.2:80"]);
    members.extend(addresses(1, &["198.51.100.1:80"]));
    let pool = pool(Balance::First, members);
    let mut walk = Walk::new(None, 0);
    let step = pool.next(&mut walk, now).unwrap();
    assert!(step.index == 0 && pool.has_others(0) && !pool.has_others(4));
    let beside = std::iter::from_fn(|| pool.next_beside(&mut walk, 0, now).map(|step| step.index));
    assert_eq!(beside.collect::<Vec<_>>(), [2, 1, 3]);
    assert!(pool.has_left(&walk));
    assert_eq!(pool.next(&mut walk, now).map(|step| step.index), Some(4));
    assert!(!pool.has_left(&walk) && pool.next(&mut walk, now).is_none());
}

#[test]
fn a_source_keeps_a_name_whose_one_address_changes_and_moves_little_where_there_are_several() {
    let now = start();
    let with = |second: &[&str]| {
        let mut members = addresses(0, &["192.0.2.1:80"]);
        members.extend(addresses(1, second));
        pool(Balance::SourceHash, members)
    };
    let (one, moved) = (with(&["192.0.2.2:80"]), with(&["203.0.113.7:80"]));
    assert!((0..2000).all(|client| first(&one, client, 0, now) == first(&moved, client, 0, now)));
    // A fifth address of one name takes a fifth of its clients, and moves no other.
    let four = ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80", "192.0.2.4:80"];
    let five = [&four[..], &["192.0.2.5:80"]].concat();
    let (four, five) =
        (pool(Balance::SourceHash, addresses(0, &four)), pool(Balance::SourceHash, addresses(0, &five)));
    let pairs = (0..10_000).map(|client| (first(&four, client, 0, now), first(&five, client, 0, now)));
    let moved: Vec<_> = pairs.filter(|(old, new)| old != new).collect();
    assert!((1850..2150).contains(&moved.len()) && moved.iter().all(|(_, new)| *new == 4), "{}", moved.len());
}

#[test]
fn what_a_check_finds_down_is_passed_over_tried_last_and_begins_slowly() {
    let now = start();
    let checks = [(); 2].map(|()| Arc::new(Checked::new(1, 1)));
    let members = checks
        .iter()
        .enumerate()
        .map(|(i, check)| Member { check: Some(check.clone()), ..member(&format!("app-{i}:80"), 1) });
    let pool = Pool::new(members.collect(), Balance::RoundRobin, Duration::from_secs(10));
    checks[0].learn(Err("refused".into()), now, now);
    assert_eq!(order(&pool, 1, 0, now), [1, 0]);
    assert!(pool.is_any_up(now));
    checks[1].learn(Err("refused".into()), now, now);
    assert!(!pool.is_any_up(now));
    // Fail open: all of them are tried.
    assert_eq!(order(&pool, 1, 0, now).len(), 2);
    for check in &checks {
        check.learn(Ok(()), now, now);
    }
    let later = now + Duration::from_secs(20);
    checks[0].learn(Err("refused".into()), later, later);
    checks[0].learn(Ok(()), later, later);
    // A tenth beside a whole one.
    let found = counts((0..2560).map(|_| first(&pool, 1, 0, later)));
    assert!((200..260).contains(&found[0]), "{found:?}");
    // A check that passes does not make up for failed connects.
    put_down(&pool.members()[1].upstream, later);
    assert_eq!(first(&pool, 1, 0, later), 0);
}

#[test]
fn an_address_that_leads_back_is_no_other_of_its_name() {
    let of = |leads_back| {
        let mut members = addresses(0, &["192.0.2.1:80", "192.0.2.2:80"]);
        members[1].leads_back = leads_back;
        pool(Balance::First, members).has_others(0)
    };
    assert_eq!([of(false), of(true)], [true, false]);
}

/// The time of the backup is over: whoever is up is still before it.
#[test]
fn a_backup_that_was_down_is_not_tried_before_those_that_are_up() {
    let now = start();
    let backup = Member { backup: true, ..member("spare:80", 1) };
    let pool = pool(Balance::First, vec![backup, member("a:80", 1), member("b:80", 1)]);
    put_down(&pool.members()[0].upstream, now);
    let later = now + Duration::from_secs(1);
    assert_eq!(pool.members()[0].upstream.standing(later), Standing::Trial);
    assert_eq!(order(&pool, 1, 0, later), [1, 2, 0]);
    // One that is no backup stands where it stood.
    put_down(&pool.members()[1].upstream, now);
    assert_eq!(order(&pool, 1, 0, later), [1, 2, 0]);
}

#[test]
fn a_source_comes_back_to_its_upstream_at_once_whatever_its_slow_start() {
    let now = start();
    let members = (0..4).map(|i| member(&format!("app-{i}:80"), 1)).collect();
    let pool = Pool::new(members, Balance::SourceHash, Duration::from_secs(10));
    let chosen = || (0..1000).map(|client| first(&pool, client, 0, now)).collect::<Vec<_>>();
    let before = chosen();
    put_down(&pool.members()[2].upstream, now);
    assert!(chosen() != before && !chosen().contains(&2));
    let _ = pool.members()[2].upstream.begin(None, now).unwrap().connected(now);
    assert_eq!(chosen(), before);
}

/// Replicas have the same list: they choose the same of two that are alike.
#[test]
fn of_two_that_are_alike_a_source_has_the_first() {
    let now = start();
    let pool = pool(Balance::SourceHash, vec![member("a:80", 2), member("a:80", 2)]);
    assert!((0..100).all(|client| first(&pool, client, 0, now) == 0));
}
