#![allow(clippy::disallowed_methods, reason = "a test needs some first `Instant`")]

use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::state::moved::MovedSession;
use crate::state::{Bytes, Volume};

const TERMS: Terms = Terms { idle: Duration::from_secs(60), replies: None };

fn ends(n: u16) -> Ends {
    Ends { client: SocketAddr::from(([192, 0, 2, 1], n)), local: Ipv4Addr::LOCALHOST.into() }
}

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

const MORE: Option<Answer> = Some(Answer { passes: 1, last: false });

fn known(id: FlowId) -> Option<Question> {
    Some(Question { id, forsaken: false, proves: false })
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
            assert_eq!(flows.ask(&ends(1), 1, now).map(|question| question.id), Some(id));
        } else {
            assert_eq!(flows.answer(id, 1, now), MORE);
        }
    }
}

/// What `ask` says of each moment in milliseconds, where each datagram of the client has an answer at once.
fn proves(moments: &[u64]) -> Vec<bool> {
    let (start, mut flows) = (Instant::now(), Flows::default());
    let id = flows.open(ends(1), TERMS, start, ());
    let turn = |at: &u64| {
        let now = start + Duration::from_millis(*at);
        let proves = flows.ask(&ends(1), 1, now).unwrap().proves;
        flows.answer(id, 1, now);
        proves
    };
    moments.iter().map(turn).collect()
}

#[test]
fn s1_who_sends_twice_has_not_shown_that_it_hears_us_and_who_goes_on_has() {
    assert_eq!(proves(&[0, 4, 5, 6]), [false; 4], "a burst");
    assert_eq!(proves(&[0, 30_000]), [false; 2], "the same address again");
    assert_eq!(proves(&[0, 4, 499, 500, 501]), [false, false, false, true, false]);
    assert_eq!(proves(&[0, 25_000, 50_000, 75_000]), [false, false, true, false], "a keepalive");
}

#[test]
fn who_gets_no_answers_shows_nothing() {
    let (start, mut flows) = (Instant::now(), Flows::default());
    let id = flows.open(ends(1), TERMS, start, ());
    assert!((0..50).all(|turn| flows.ask(&ends(1), 1, after(start, turn)) == known(id)));
    // One answer makes one turn, however much comes after it.
    flows.answer(id, 1, after(start, 50));
    assert!((51..99).all(|turn| flows.ask(&ends(1), 1, after(start, turn)) == known(id)));
    flows.answer(id, 1, after(start, 99));
    assert_eq!(
        flows.ask(&ends(1), 1, after(start, 100)),
        Some(Question { id, forsaken: false, proves: true })
    );
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
    assert_eq!((*taken.state(), old.len()), (1, 2));
    assert!(old.take(ids[0]).is_none());
    let id = new.put(taken, after(start, 30)).unwrap();
    assert_eq!(new.stage(id), Some(Stage::Answered));
    assert_eq!(new.next_deadline(), Some(after(start, 90)));
    assert_eq!(new.ask(&ends(1), 1, after(start, 31)), known(id));
    // The place is taken.
    let again = old.open(ends(1), TERMS, start, 7);
    assert_eq!(new.put(old.take(again).unwrap(), start).unwrap_err().state, 7);
    assert_eq!((new.len(), old.len()), (1, 2));
}

#[test]
fn an_id_is_a_number_and_back() {
    for (index, turn, number) in
        [(0, 0, 0), (7, 0, 7), (0, 3, 0x3_0000_0000), (7, 3, 0x3_0000_0007), (u32::MAX, u32::MAX, u64::MAX)]
    {
        let id = FlowId { index, turn };
        assert_eq!((u64::from(id), FlowId::from(number)), (number, id));
    }
}

#[test]
fn a_table_is_empty_before_the_first_and_after_the_last() {
    let (start, mut flows) = (Instant::now(), Flows::default());
    assert_eq!((flows.len(), flows.is_empty()), (0, true));
    let ids = [1, 2].map(|n| flows.open(ends(n), TERMS, start, ()));
    assert_eq!((flows.len(), flows.is_empty()), (2, false));
    ids.into_iter().for_each(|id| assert!(flows.end(id).is_some()));
    assert_eq!((flows.len(), flows.is_empty()), (0, true));
    let up = Volume { datagrams: 1, bytes: 20 };
    let counts = Counts { up, down: Volume { datagrams: 3, bytes: 400 }, ..Counts::default() };
    assert_eq!(counts.bytes(), Bytes { up: 20, down: 400 });
}

/// What one process says of a session is what the next one knows of it.
#[test]
fn a_session_on_its_way_keeps_its_stage_its_counts_and_its_times() {
    let (start, mut flows) = (Instant::now(), Flows::default());
    let id = flows.open(ends(1), TERMS, start, ());
    assert_eq!(flows.answer(id, 2, start), Some(Answer { passes: 2, last: false }));
    flows.ask(&ends(1), 5, after(start, 1));
    let mut moved = MovedSession::default();
    let flow = flows.take(id).unwrap();
    flow.say(after(start, 3), &mut moved);
    assert_eq!((moved.answered, moved.asked, moved.began), (true, Some(2000), 3000));
    assert_eq!((moved.questions, moved.answers, moved.turns, moved.proven), (5, 2, 1, false));
    let second = flows.open(ends(2), TERMS, start, ());
    let mut asking = MovedSession::default();
    flows.take(second).unwrap().say(start, &mut asking);
    assert_eq!((asking.answered, asking.asked), (false, None));
}

#[test]
fn a_session_that_was_heard_of_goes_on_from_there() {
    let (start, mut flows) = (Instant::now(), Flows::default());
    let mut moved =
        MovedSession { answered: true, asked: Some(50_000), began: 400, turns: 1, ..MovedSession::default() };
    (moved.questions, moved.answers, moved.dropped) = (5, 2, 1);
    (moved.up.datagrams, moved.up.bytes, moved.down.datagrams, moved.down.bytes) = (5, 500, 2, 20);
    let id = flows.put(Flow::heard(&moved, ends(1), TERMS, start, 'x'), start).unwrap();
    assert_eq!((flows.stage(id), flows.next_deadline()), (Some(Stage::Answered), Some(after(start, 60))));
    let (state, found, counts) = flows.get_mut(id).unwrap();
    let (up, down) = (Volume { datagrams: 5, bytes: 500 }, Volume { datagrams: 2, bytes: 20 });
    let wanted = Counts { questions: 5, answers: 2, up, down, dropped: 1 };
    assert_eq!((*state, found, *counts), ('x', ends(1), wanted));
    // It has asked for 50 seconds, and of two turns it has one.
    assert!(!flows.ask(&ends(1), 1, after(start, 9)).unwrap().forsaken);
    assert!(flows.ask(&ends(1), 1, after(start, 10)).unwrap().forsaken);
    flows.answer(id, 1, after(start, 10));
    assert!(flows.ask(&ends(1), 1, after(start, 11)).unwrap().proves);
    // One that was proven is so no second time, and one without an answer lives shorter.
    let proven = MovedSession { answered: true, proven: true, turns: 2, ..MovedSession::default() };
    flows.put(Flow::heard(&proven, ends(2), TERMS, start, 'y'), start).unwrap();
    assert!(!flows.ask(&ends(2), 1, after(start, 20)).unwrap().proves);
    let asking = Flow::heard(&MovedSession::default(), ends(3), TERMS, start, 'z');
    flows.put(asking, after(start, 20)).unwrap();
    assert_eq!(flows.next_deadline(), Some(after(start, 35)));
}
