#![allow(clippy::disallowed_methods, reason = "a test needs some first `Instant`")]

use std::net::{Ipv4Addr, SocketAddr};

use super::*;

const TERMS: Terms = Terms { idle: Duration::from_secs(60), replies: None };

fn ends(n: u16) -> Ends {
    Ends { client: SocketAddr::from(([192, 0, 2, 1], n)), local: Ipv4Addr::LOCALHOST.into() }
}

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

const MORE: Option<Answer> = Some(Answer { passes: 1, last: false });

fn known(id: FlowId) -> Option<Question> {
    Some(Question { id, forsaken: false })
}

#[test]
fn a_session_without_an_answer_lives_for_a_quarter_of_the_idle_time() {
    let asking = |idle: u64| Terms { idle: Duration::from_secs(idle), replies: None }.asking().as_secs();
    assert_eq!([60, 30, 8, 5, 2].map(asking), [15, 7, 5, 5, 2]);
    let (start, mut flows) = (Instant::now(), Flows::default());
    let silent = flows.open(ends(1), TERMS, start, ());
    let answered = flows.open(ends(2), TERMS, start, ());
    assert_eq!(flows.answer(answered, 1, start), MORE);
    assert_eq!(flows.next_deadline(), Some(after(start, 15)));
    assert!(flows.expire(after(start, 14)).is_none());
    let ended = flows.expire(after(start, 15)).unwrap();
    assert_eq!((ended.ends, ended.stage), (ends(1), Stage::Asking));
    assert!(flows.end(silent).is_none());
    assert_eq!(flows.next_deadline(), Some(after(start, 60)));
    assert_eq!(flows.expire(after(start, 60)).unwrap().ends, ends(2));
    assert!(flows.expire(after(start, 600)).is_none() && flows.next_deadline().is_none());
}

#[test]
fn datagrams_of_either_direction_put_the_end_off() {
    let (start, mut flows) = (Instant::now(), Flows::default());
    let id = flows.open(ends(1), TERMS, start, ());
    flows.answer(id, 1, after(start, 10));
    for turn in 1..20 {
        let now = after(start, 10 + 50 * turn);
        assert!(flows.expire(now).is_none(), "turn {turn}");
        if turn % 2 == 0 {
            assert_eq!(flows.ask(&ends(1), 1, now), known(id));
        } else {
            assert_eq!(flows.answer(id, 1, now), MORE);
        }
    }
}

#[test]
fn the_longest_silent_without_an_answer_makes_room_first_and_a_settled_one_never() {
    let (start, mut flows) = (Instant::now(), Flows::default());
    let ids: Vec<FlowId> = (0..6).map(|n| flows.open(ends(n), TERMS, after(start, n.into()), ())).collect();
    let now = after(start, 6);
    flows.answer(ids[0], 1, now);
    flows.answer(ids[1], 1, now);
    // The client of 0 has seen its answer.
    flows.ask(&ends(0), 1, now);
    // 2 is the oldest, but has just asked again.
    flows.ask(&ends(2), 1, now);
    let mut evicted = Vec::new();
    while let Placement::Open(Some(ended)) = flows.admit(false, 100) {
        evicted.push((ended.ends.client.port(), ended.stage));
    }
    let expected = [(3, Stage::Asking), (4, Stage::Asking), (5, Stage::Asking), (2, Stage::Asking)];
    assert_eq!(evicted, [&expected[..], &[(1, Stage::Answered)]].concat());
    assert!(matches!(flows.admit(false, 100), Placement::Full));
    assert!(matches!(flows.admit(true, 100), Placement::Open(None)));
    assert_eq!(flows.stage(ids[0]), Some(Stage::Settled));
}

#[test]
fn sessions_without_an_answer_have_a_bound_of_their_own() {
    let (start, mut flows) = (Instant::now(), Flows::default());
    for n in 0..10 {
        assert!(matches!(flows.admit(true, 10), Placement::Open(None)));
        flows.open(ends(n), TERMS, start, ());
    }
    let Placement::Open(Some(ended)) = flows.admit(true, 10) else { panic!() };
    assert_eq!((ended.ends, flows.asking()), (ends(0), 9));
}

#[test]
fn a_session_ends_with_the_last_answer_to_its_questions() {
    let (now, mut flows) = (Instant::now(), Flows::default());
    let terms = Terms { replies: Some(2), ..TERMS };
    let id = flows.open(ends(1), terms, now, ());
    flows.ask(&ends(1), 1, now);
    assert_eq!(flows.answer(id, 1, now), MORE);
    // A resolver asks for A and AAAA from one port.
    flows.ask(&ends(1), 1, now);
    assert_eq!(flows.answer(id, 1, now), MORE);
    // Two of three that come together.
    assert_eq!(flows.answer(id, 3, now), Some(Answer { passes: 2, last: true }));
    assert_eq!(flows.answer(id, 1, now), Some(Answer { passes: 0, last: true }));
    flows.end(id).unwrap();
    assert_eq!(flows.answer(id, 1, now), None);
}

#[test]
fn a_hurry_shortens_every_life_and_prolongs_none() {
    let (start, mut flows) = (Instant::now(), Flows::default());
    let short = Terms { idle: Duration::from_secs(1), replies: None };
    for (n, terms) in [(1, TERMS), (2, TERMS), (3, short)] {
        let id = flows.open(ends(n), terms, start, ());
        flows.answer(id, 1, start);
    }
    flows.hurry(Duration::from_secs(2));
    flows.ask(&ends(1), 1, after(start, 1));
    assert_eq!(flows.expire(after(start, 1)).unwrap().ends, ends(3));
    assert!(flows.expire(after(start, 1)).is_none());
    assert_eq!(flows.expire(after(start, 2)).unwrap().ends, ends(2));
    assert_eq!(flows.next_deadline(), Some(after(start, 3)));
}

#[test]
fn an_old_id_is_no_new_session() {
    let (now, mut flows) = (Instant::now(), Flows::default());
    let old = flows.open(ends(1), TERMS, now, 'a');
    assert_eq!(FlowId::from(u64::from(old)), old);
    assert_eq!(flows.end(old).unwrap().state, 'a');
    let new = flows.open(ends(2), TERMS, now, 'b');
    assert_ne!(old, new);
    assert!(flows.get_mut(old).is_none() && flows.end(old).is_none() && flows.answer(old, 1, now).is_none());
    assert_eq!(flows.of(|state| *state == 'b'), [new]);
    // The same client on another address of the listener is another session.
    let other = Ends { local: [127, 0, 0, 2].into(), ..ends(2) };
    assert_eq!(flows.ask(&other, 1, now), None);
    assert_eq!(flows.ask(&ends(2), 1, now), known(new));
}

#[test]
fn a_client_that_asks_in_vain_for_the_idle_time_is_forsaken() {
    let (start, mut flows) = (Instant::now(), Flows::default());
    let id = flows.open(ends(1), TERMS, start, ());
    let forsaken =
        |flows: &mut Flows<()>, seconds| flows.ask(&ends(1), 1, after(start, seconds)).unwrap().forsaken;
    // Never answered: a stream in one direction goes on.
    assert!((0..20).all(|turn| !forsaken(&mut flows, turn * 10)));
    flows.answer(id, 1, after(start, 200));
    // The time runs from the first question since, not from the answer.
    assert!((0..6).all(|turn| !forsaken(&mut flows, 250 + turn * 10)));
    assert!(forsaken(&mut flows, 310));
    flows.answer(id, 1, after(start, 311));
    assert!(!forsaken(&mut flows, 312) && !forsaken(&mut flows, 371) && forsaken(&mut flows, 372));
}

#[test]
fn a_session_goes_on_in_another_table() {
    let (start, mut old, mut new) = (Instant::now(), Flows::default(), Flows::default());
    let ids: Vec<FlowId> = (1..4).map(|n| old.open(ends(n), TERMS, start, n)).collect();
    old.answer(ids[0], 1, start);
    assert_eq!(old.at(|ip| ip == Ipv4Addr::LOCALHOST).len(), 3);
    assert!(old.at(|ip| ip != Ipv4Addr::LOCALHOST).is_empty());
    let taken = old.take(ids[0]).unwrap();
    assert_eq!((*taken.state(), old.len(), old.asking()), (1, 2, 2));
    assert!(old.take(ids[0]).is_none());
    let id = new.put(taken, after(start, 30)).unwrap();
    assert_eq!(new.stage(id), Some(Stage::Answered));
    assert_eq!(new.next_deadline(), Some(after(start, 90)));
    assert_eq!(new.ask(&ends(1), 1, after(start, 31)), Some(Question { id, forsaken: false }));
    // The place is taken.
    let again = old.open(ends(1), TERMS, start, 7);
    assert_eq!(new.put(old.take(again).unwrap(), start).unwrap_err().state, 7);
    assert_eq!((new.len(), old.len()), (1, 2));
}
