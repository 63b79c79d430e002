use super::*;

const MS: Duration = Duration::from_millis(1);

#[allow(clippy::disallowed_methods, reason = "any time will do as the first")]
fn start() -> Instant {
    Instant::now()
}

/// A chance that neither shortens nor lengthens a back-off.
const EVEN: u64 = 256;

/// Steps of a scenario, each at a time in milliseconds, with the result that it must have.
enum Step {
    /// An attempt that begins and fails now.
    Fails(u64, Change),
    /// One that began at the first time and fails at the second.
    Late(u64, u64, Change),
    Works(u64, Change),
    Stands(u64, &'static str),
}
use Step::{Fails, Late, Stands, Works};

fn told(story: &[Step]) {
    let start = start();
    let at = |ms: u64| start + MS * u32::try_from(ms).unwrap();
    let mut passive = Passive::default();
    for (i, step) in story.iter().enumerate() {
        match *step {
            Fails(ms, change) => assert_eq!(passive.failed(at(ms), at(ms), EVEN), change, "step {i}"),
            Late(begun, ms, change) => {
                assert_eq!(passive.failed(at(begun), at(ms), EVEN), change, "step {i}");
            }
            Works(ms, change) => assert_eq!(passive.succeeded(at(ms)), change, "step {i}"),
            Stands(ms, standing) => {
                let found = match passive.standing(at(ms)) {
                    Standing::Up(_) => "up",
                    Standing::Trial => "trial",
                    Standing::Down => "down",
                };
                assert_eq!(found, standing, "step {i}");
            }
        }
    }
}

const NONE: Change = Change::None;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn three_failures_in_a_row_put_it_down() {
    told(&[Fails(0, NONE), Fails(1, NONE), Stands(1, "up"), Fails(2, Change::Down(seconds(1)))]);
    told(&[Fails(0, NONE), Fails(1, NONE), Works(2, NONE), Fails(3, NONE), Fails(4, NONE), Stands(5, "up")]);
}

#[test]
fn each_failed_trial_doubles_the_time_up_to_the_longest() {
    let down = Change::Down(seconds(1));
    let still = |s| Change::StillDown(seconds(s));
    told(&[
        Fails(0, NONE),
        Fails(0, NONE),
        Fails(0, down),
        Stands(999, "down"),
        Stands(1000, "trial"),
        Fails(1000, still(2)),
        Stands(2999, "down"),
        Fails(3000, still(4)),
        Fails(7000, still(8)),
        Fails(15_000, still(16)),
        Fails(31_000, still(30)),
        Fails(61_000, still(30)),
        Stands(90_999, "down"),
        Stands(91_000, "trial"),
        Works(91_001, Change::Up(Duration::from_millis(91_001))),
        Stands(91_002, "up"),
    ]);
}

#[test]
fn a_flapping_upstream_is_down_for_longer_each_time_and_forgiven_after_a_minute() {
    let down = |s| Change::Down(seconds(s));
    told(&[
        Fails(0, NONE),
        Fails(0, NONE),
        Fails(0, down(1)),
        Works(1000, Change::Up(seconds(1))),
        Fails(2000, NONE),
        Fails(2000, NONE),
        Fails(2000, down(2)),
        Works(4000, Change::Up(seconds(2))),
        Fails(63_999, NONE),
        Fails(63_999, NONE),
        Fails(63_999, down(4)),
        Works(68_000, Change::Up(Duration::from_millis(4001))),
        Fails(128_000, NONE),
        Fails(128_000, NONE),
        Fails(128_000, down(1)),
    ]);
}

#[test]
fn what_began_before_says_nothing_about_after() {
    let down = Change::Down(seconds(1));
    // In a storm on a dead upstream all fail at once, after the first three.
    told(&[
        Late(0, 5000, NONE),
        Late(0, 5000, NONE),
        Late(0, 5000, down),
        Late(0, 5000, NONE),
        Late(1, 7000, NONE),
    ]);
    // Those that fail once it is back do not count against it.
    told(&[
        Fails(0, NONE),
        Fails(0, NONE),
        Fails(0, down),
        Works(500, Change::Up(Duration::from_millis(500))),
        Late(499, 600, NONE),
        Late(499, 600, NONE),
        Late(499, 600, NONE),
        Stands(601, "up"),
    ]);
    // An attempt that runs because no other upstream is left does not prolong it.
    told(&[Fails(0, NONE), Fails(0, NONE), Fails(0, down), Fails(500, NONE), Stands(1000, "trial")]);
    // One that began just when it went down is none from before.
    let still = Change::StillDown(seconds(2));
    told(&[Fails(0, NONE), Fails(0, NONE), Fails(1, down), Late(0, 1001, NONE), Late(1, 1001, still)]);
}

#[test]
fn one_trial_at_a_time() {
    let start = start();
    let mut passive = Passive::default();
    for _ in 0..FAILURES {
        passive.failed(start, start, EVEN);
    }
    assert!(!passive.begin_trial(start), "too early");
    let later = start + seconds(1);
    assert!(passive.begin_trial(later));
    assert_eq!((passive.standing(later), passive.begin_trial(later)), (Standing::Down, false));
    // The client left, and nothing is known.
    passive.end_trial();
    assert_eq!(passive.standing(later), Standing::Trial);
    assert!(passive.begin_trial(later));
    assert_eq!(passive.failed(later, later, EVEN), Change::StillDown(seconds(2)));
    passive.end_trial();
    assert_eq!(passive.standing(later), Standing::Down);
}

#[test]
fn the_back_off_is_spread() {
    assert_eq!(back_off(0, 0), FIRST * 3 / 4);
    assert_eq!(back_off(0, 512), FIRST * 5 / 4);
    assert_eq!(back_off(200, EVEN), LONGEST);
    let spread: std::collections::BTreeSet<_> = (0..1000).map(|chance| back_off(3, chance)).collect();
    assert_eq!(spread.len(), 513);
}

#[test]
fn a_past_is_remembered_for_as_long_as_a_ramp_may_be() {
    let start = start();
    let mut passive = Passive::default();
    assert!(passive.is_calm(start));
    passive.failed(start, start, EVEN);
    assert!(!passive.is_calm(start));
    passive.succeeded(start);
    assert!(passive.is_calm(start));
    for _ in 0..FAILURES {
        passive.failed(start, start, EVEN);
    }
    assert!(!passive.is_calm(start));
    passive.succeeded(start);
    assert!(!passive.is_calm(start + LONGEST_RAMP));
    assert!(passive.is_calm(start + LONGEST_RAMP + MS));
}

#[test]
fn a_slow_start_grows_from_a_tenth_to_all() {
    let start = start();
    let part = |ms: u32| ramp(Some(start), seconds(10), start + MS * ms);
    assert_eq!([0, 500, 1000, 2500, 5000, 9999, 10_000].map(part), [25, 25, 25, 64, 128, 255, 256]);
    assert_eq!(ramp(None, seconds(10), start), 256);
    assert_eq!(ramp(Some(start), Duration::ZERO, start), 256);
}

#[test]
fn checks_rise_and_fall() {
    // `+` passes, `-` fails; below it whether the upstream is up afterwards.
    for (rise, fall, results, up) in [
        (2, 3, "++--+---++-+++-", "uuuuuuuDDuuuuuu"),
        (2, 3, "-+-++", "DDDDu"),
        (2, 3, "----++", "DDDDDu"),
        (1, 1, "+-+-", "uDuD"),
        (3, 2, "+--++-+++", "uuDDDDDDu"),
    ] {
        let mut checks = Checks::new(rise, fall);
        assert!(checks.is_up());
        let mut before = true;
        let mut found = String::new();
        for result in results.chars() {
            let changed = checks.result(result == '+');
            assert_eq!(changed, checks.is_up() != before);
            before = checks.is_up();
            found.push(if before { 'u' } else { 'D' });
        }
        assert_eq!(found, up, "rise {rise}, fall {fall}: {results}");
    }
}
