use super::*;

#[test]
fn it_turns_after_fall_and_rise_and_says_why() {
    #[allow(clippy::disallowed_methods, reason = "any time will do as the first")]
    let start = Instant::now();
    let checked = Checked::new(2, 3);
    // One check per second: its result, the turn that it reports, and whether the upstream is up then.
    let table = [
        ("ok", None, true),
        ("refused", None, true),
        ("refused", None, true),
        ("ok", None, true),
        ("refused", None, true),
        ("refused", None, true),
        ("silent", Some(Turn::Down(1)), false),
        ("ok", None, false),
        ("silent", None, false),
        ("ok", None, false),
        ("ok", Some(Turn::Up(Duration::from_secs(4))), true),
    ];
    for (second, (result, turn, up)) in (0..).zip(table) {
        let now = start + Duration::from_secs(second);
        let learned = if result == "ok" { Ok(()) } else { Err(result.to_owned()) };
        assert_eq!((checked.learn(learned, now, now), checked.is_up()), (turn, up), "at {second}");
        assert_eq!(checked.reason().as_deref(), (result != "ok").then_some(result));
        assert_eq!(checked.back_since().is_some(), second >= 10);
    }
    // The first check decides alone.
    assert_eq!(Checked::new(5, 5).learn(Err("no".into()), start, start), Some(Turn::Down(1)));
}

#[test]
fn the_last_check_is_known_with_its_time() {
    #[allow(clippy::disallowed_methods, reason = "any time will do as the first")]
    let start = Instant::now();
    let (checked, at) = (Checked::new(1, 1), |millis| start + Duration::from_millis(millis));
    assert_eq!(checked.state().last, None);
    checked.learn(Ok(()), at(10), at(35));
    assert_eq!(checked.state().last, Some((at(35), Duration::from_millis(25))));
    checked.learn(Ok(()), at(100), at(101));
    assert_eq!(checked.state().last, Some((at(101), Duration::from_millis(1))));
    assert_eq!((checked.since(), checked.downs()), (None, 0));
    checked.learn(Err("no".into()), at(200), at(200));
    assert_eq!((checked.since(), checked.downs(), checked.back_since()), (Some(at(200)), 1, None));
    checked.learn(Ok(()), at(300), at(300));
    assert_eq!((checked.since(), checked.downs(), checked.back_since()), (Some(at(300)), 1, Some(at(300))));
}

#[test]
fn the_last_check_and_the_state_may_differ_and_how_far_it_is_is_known() {
    #[allow(clippy::disallowed_methods, reason = "any time will do as the first")]
    let now = Instant::now();
    let checked = Checked::new(2, 3);
    // Its result, and then: whether it is up, why the last one failed, how many contradict that, and how many change it.
    let table = [
        ("ok", (true, None, 0, 3)),
        ("refused", (true, Some("refused"), 1, 3)),
        ("silent", (true, Some("silent"), 2, 3)),
        ("ok", (true, None, 0, 3)),
        ("refused", (true, Some("refused"), 1, 3)),
        ("refused", (true, Some("refused"), 2, 3)),
        ("silent", (false, Some("silent"), 0, 2)),
        ("ok", (false, None, 1, 2)),
        ("silent", (false, Some("silent"), 0, 2)),
        ("ok", (false, None, 1, 2)),
        ("ok", (true, None, 0, 3)),
    ];
    for (at, (result, expected)) in table.into_iter().enumerate() {
        checked.learn(if result == "ok" { Ok(()) } else { Err(result.to_owned()) }, now, now);
        let CheckState { up, reason, against, needed, .. } = checked.state();
        assert_eq!((up, reason.as_deref(), against, needed), expected, "at {at}");
    }
}

#[test]
fn what_was_found_is_forgotten_a_minute_after_the_next_check_was_due() {
    #[allow(clippy::disallowed_methods, reason = "any time will do as the first")]
    let start = Instant::now();
    let (checked, interval) = (Checked::new(1, 1), Duration::from_secs(5));
    assert!(checked.is_forgettable(interval, start), "one that was never checked");
    checked.learn(Err("refused".into()), start, start);
    assert!(!checked.is_forgettable(interval, start + Duration::from_millis(64_999)));
    assert!(checked.is_forgettable(interval, start + Duration::from_secs(65)));
}
