use std::cell::RefCell;

use proptest::prelude::*;

use super::*;

const LASTS: Duration = Duration::from_secs(30);

/// A route with its clients, in a time of its own.
struct Scene {
    start: Instant,
    now: Duration,
    ends: RefCell<Counters>,
    probation: Probation,
    chance: fastrand::Rng,
    /// Whether edits close an address.
    closes: bool,
}

/// What clients come, and how many of a thousand fare so.
#[derive(Clone, Copy, Debug)]
struct Clients {
    per_second: u64,
    fail: u64,
    turned_away: u64,
}

const GOOD: Clients = Clients { per_second: 5, fail: 10, turned_away: 0 };

#[allow(clippy::disallowed_methods, reason = "any time will do as the first")]
fn start() -> Instant {
    Instant::now()
}

impl Scene {
    fn new(seed: u64) -> Scene {
        let start = start();
        let probation = Probation::new(LASTS, start, Counters::new());
        let chance = fastrand::Rng::with_seed(seed);
        Scene { start, now: Duration::ZERO, ends: RefCell::default(), probation, chance, closes: false }
    }

    fn now(&self) -> Instant {
        self.start + self.now
    }

    fn of(&self, name: &str) -> Results {
        self.ends.borrow().get(name).copied().unwrap_or_default()
    }

    fn edits(&mut self, names: &[&str]) {
        let (now, ends) = (self.now(), self.ends.borrow().clone());
        let of = |name: &str| ends.get(name).copied().unwrap_or_default();
        let changed = names.iter().map(|name| Changed { name, was: name, beside: None, closed: self.closes });
        self.probation.edited(changed, now, of);
    }

    /// Lets time pass, second by second, until there is a verdict. Returns what was found, and after how many seconds.
    fn pass(&mut self, seconds: u64, clients: Clients) -> (Verdict, u64) {
        for second in 1..=seconds {
            {
                let mut ends = self.ends.borrow_mut();
                let web = ends.entry("web".to_owned()).or_default();
                for _ in 0..clients.per_second {
                    match self.chance.u64(0..1000) {
                        chance if chance < clients.turned_away => web.turned_away += 1,
                        chance => {
                            web.tried += 1;
                            web.failed += u64::from(chance - clients.turned_away < clients.fail);
                        }
                    }
                }
            }
            self.now += Duration::from_secs(1);
            let now = self.now();
            if self.probation.notes(now) {
                let ends = self.ends.borrow().clone();
                self.probation.note(now, ends);
            }
            let ends = self.ends.borrow().clone();
            let verdict = self.probation.look(now, |name| ends.get(name).copied().unwrap_or_default());
            if verdict != Verdict::Open {
                return (verdict, second);
            }
        }
        (Verdict::Open, seconds)
    }
}

#[test]
fn what_fails_after_an_edit_is_found_as_soon_as_there_are_enough() {
    let mut scene = Scene::new(7);
    scene.pass(100, GOOD);
    scene.edits(&["web", "other"]);
    let (verdict, seconds) = scene.pass(30, Clients { fail: 1000, ..GOOD });
    let Verdict::Worse(worse) = verdict else { panic!("{verdict:?}") };
    assert_eq!((worse.after, seconds), (compare::Count { bad: 20, all: 20 }, 4), "{worse}");
    assert!(worse.to_string().starts_with("of 20 connections of `web` 100 % failed, "), "{worse}");
    // Once it is undone, an edit that comes soon is compared with what was before the bad one.
    scene.probation.undone(scene.now());
    assert!(!scene.probation.is_watching());
    scene.pass(1, GOOD);
    scene.edits(&["web"]);
    assert!(matches!(scene.pass(30, Clients { fail: 600, ..GOOD }), (Verdict::Worse(_), 4..=15)));
}

#[test]
fn a_good_edit_passes_when_its_time_is_over() {
    let mut scene = Scene::new(7);
    assert_eq!(scene.pass(100, GOOD), (Verdict::Open, 100));
    scene.edits(&["web"]);
    assert_eq!(scene.pass(100, GOOD), (Verdict::Passed, 30));
    // Later it is nobody's fault but the upstream's.
    assert_eq!(scene.pass(100, Clients { fail: 1000, ..GOOD }), (Verdict::Open, 100));
    // Nor does an edit make worse what fails already.
    scene.edits(&["web"]);
    assert_eq!(scene.pass(100, Clients { fail: 1000, ..GOOD }), (Verdict::Passed, 30));
}

#[test]
fn a_route_without_a_past_is_not_judged() {
    let mut scene = Scene::new(7);
    scene.edits(&["web"]);
    assert_eq!(scene.pass(100, Clients { fail: 1000, ..GOOD }), (Verdict::Passed, 30));
    // Too few prove nothing.
    let mut scene = Scene::new(7);
    scene.pass(100, GOOD);
    scene.edits(&["web"]);
    assert_eq!(scene.pass(19, Clients { per_second: 1, fail: 1000, ..GOOD }), (Verdict::Open, 19));
}

#[test]
fn an_edit_that_turns_all_away_is_found_and_one_that_turns_away_a_flood_is_not() {
    let mut scene = Scene::new(7);
    scene.pass(100, GOOD);
    scene.edits(&["web"]);
    let (verdict, seconds) = scene.pass(30, Clients { turned_away: 1000, ..GOOD });
    let Verdict::Worse(worse) = verdict else { panic!("{verdict:?}") };
    assert_eq!(worse.to_string(), "of 20 clients of `web` 100 % were turned away, 0 % before");
    assert_eq!(seconds, 4);
    let mut scene = Scene::new(7);
    let flood = Clients { per_second: 1000, ..GOOD };
    scene.pass(100, flood);
    scene.edits(&["web"]);
    assert_eq!(scene.pass(100, Clients { turned_away: 995, fail: 0, ..flood }).0, Verdict::Passed);
}

#[test]
fn who_closes_an_address_and_has_no_clients_any_more_is_found_at_the_end() {
    const NOBODY: Clients = Clients { per_second: 0, fail: 0, turned_away: 0 };
    let mut scene = Scene::new(7);
    scene.pass(100, GOOD);
    scene.edits(&["web"]);
    assert_eq!(scene.pass(100, NOBODY).0, Verdict::Passed);
    scene.pass(100, GOOD);
    scene.closes = true;
    scene.edits(&["web"]);
    let (verdict, seconds) = scene.pass(100, NOBODY);
    let Verdict::Worse(worse) = verdict else { panic!("{verdict:?}") };
    let told = worse.to_string();
    assert!(told.starts_with("no client of `web` has come since an address of it was closed, "), "{told}");
    assert_eq!(seconds, 30);
    // Who had few may have none.
    let mut scene = Scene::new(7);
    scene.pass(100, Clients { per_second: 0, ..GOOD });
    scene.closes = true;
    scene.edits(&["web"]);
    assert_eq!(scene.pass(100, NOBODY).0, Verdict::Passed);
}

#[test]
fn when_the_good_ones_go_home_nothing_has_become_worse() {
    let mut scene = Scene::new(7);
    scene.pass(100, Clients { per_second: 50, fail: 40, turned_away: 0 });
    scene.edits(&["web"]);
    // The two per second that fail come as before.
    assert_eq!(scene.pass(100, Clients { per_second: 2, fail: 1000, turned_away: 0 }), (Verdict::Passed, 30));
}

#[test]
fn a_second_edit_renews_the_time_and_keeps_what_is_compared() {
    let mut scene = Scene::new(7);
    scene.pass(100, GOOD);
    scene.edits(&["web"]);
    assert_eq!(scene.pass(3, Clients { fail: 1000, ..GOOD }), (Verdict::Open, 3));
    scene.edits(&["web"]);
    assert_eq!(scene.pass(29, GOOD), (Verdict::Open, 29));
    assert_eq!(scene.pass(9, GOOD), (Verdict::Passed, 1));
    scene.edits(&["web"]);
    scene.probation.forget(|name| name == "web");
    assert_eq!((scene.probation.is_watching(), scene.of("web").turned_away), (false, 0));
}

/// The promise of a false alarm in a thousand edits, at the worst share: where half fail before.
#[test]
fn of_many_edits_under_a_background_of_failures_none_is_undone() {
    let mut alarms = 0;
    for seed in 0..1000 {
        let mut scene = Scene::new(seed);
        let fail = [10, 10, 10, 100, 300, 500][seed as usize % 6];
        let clients = Clients { per_second: 1 + seed % 40, fail, turned_away: seed % 3 * 100 };
        scene.pass(30 + seed % 60, clients);
        scene.edits(&["web"]);
        alarms += u32::from(matches!(scene.pass(30, clients).0, Verdict::Worse(_)));
    }
    assert_eq!(alarms, 0);
}

/// Counters of a route, by hand.
fn of(tried: u64, failed: u64) -> Results {
    Results { tried, failed, turned_away: 0 }
}

#[test]
fn it_says_when_it_is_to_be_called() {
    let (start, second) = (start(), Duration::from_secs(1));
    let mut probation = Probation::new(LASTS, start, Counters::new());
    assert_eq!((probation.lasts(), probation.next()), (LASTS, start + 30 * second), "to note");
    assert!(!probation.notes(start + 29 * second) && probation.notes(start + 30 * second));
    probation.note(start + 40 * second, Counters::new());
    assert_eq!(probation.next(), start + 70 * second);
    let web = Changed { name: "web", was: "web", beside: None, closed: false };
    probation.edited([web].into_iter(), start + 50 * second, |_| of(0, 0));
    // Thirty looks, at equal distances.
    for look in 51..70 {
        let now = start + look * second;
        assert_eq!(probation.next(), now);
        let early = now - Duration::from_millis(1);
        assert_eq!(probation.look(early, |_| of(0, 0)), Verdict::Open);
        assert_eq!(probation.next(), now, "not before its time");
        assert_eq!(probation.look(now, |_| of(0, 0)), Verdict::Open);
    }
    assert_eq!(probation.next(), start + 70 * second, "a note, and a look");
    for look in 70..80 {
        assert_eq!(probation.look(start + look * second, |_| of(0, 0)), Verdict::Open);
        assert_eq!(probation.next(), start + 70 * second, "a note that is due");
    }
    assert_eq!(probation.look(start + 80 * second, |_| of(0, 0)), Verdict::Passed);
    assert!(!probation.is_watching());
}

/// Renamed and split: what is compared is the same route, with what stands beside it.
#[test]
fn a_route_is_compared_with_what_it_was_under_its_name_and_beside_it() {
    let (start, second) = (start(), Duration::from_secs(1));
    let counters = |all: &[(&str, u64, u64)]| -> Counters {
        all.iter().map(|(name, tried, failed)| ((*name).to_owned(), of(*tried, *failed))).collect()
    };
    let mut probation = Probation::new(LASTS, start, Counters::new());
    let renamed = Changed { name: "new", was: "old", beside: Some("rest"), closed: false };
    let before = counters(&[("old", 60, 0), ("rest", 40, 10), ("other", 500, 500)]);
    probation.edited([renamed].into_iter(), start + 20 * second, |name| {
        before.get(name).copied().unwrap_or_default()
    });
    let after = counters(&[("old", 60, 0), ("new", 20, 20), ("rest", 60, 30)]);
    let now = start + 25 * second;
    let verdict = probation.look(now, |name| after.get(name).copied().unwrap_or_default());
    let Verdict::Worse(worse) = verdict else { panic!("{verdict:?}") };
    assert_eq!(worse.route, "new");
    assert_eq!(worse.after, compare::Count { bad: 40, all: 40 });
    assert_eq!(worse.before, compare::Count { bad: 10, all: 100 });
    // Of several the worst.
    let mut probation = Probation::new(LASTS, start, Counters::new());
    let named = |name| Changed { name, was: name, beside: None, closed: false };
    let before = |_: &str| of(1000, 1);
    probation.edited(["a", "b", "c"].map(named).into_iter(), start + 20 * second, before);
    let failed = |name: &str| of(1100, 1 + [60, 90, 70][usize::from(name.as_bytes()[0] - b'a')]);
    let verdict = probation.look(now, failed);
    assert!(
        matches!(&verdict, Verdict::Worse(worse) if worse.route == "b" && worse.after.bad == 90),
        "{verdict:?}"
    );
}

/// What was known before an edit that was undone is worth something for twice the time of a probation.
#[test]
fn what_was_before_an_undone_edit_is_compared_with_for_some_time() {
    let (start, second) = (start(), Duration::from_secs(1));
    let begun = |later: u32| {
        let mut probation = Probation::new(LASTS, start, Counters::new());
        let web = Changed { name: "web", was: "web", beside: None, closed: false };
        probation.edited([web].into_iter(), start + 20 * second, |_| of(200, 2));
        probation.undone(start + 25 * second);
        // What failed meanwhile is noted twice.
        for noted in [later - 1, later] {
            probation.note(start + noted * second, [("web".to_owned(), of(400, 202))].into());
        }
        probation.edited([web].into_iter(), start + later * second, |_| of(400, 202));
        probation.look(start + (later + 5) * second, |_| of(440, 242))
    };
    let Verdict::Worse(worse) = begun(84) else { panic!("{:?}", begun(84)) };
    assert_eq!(
        (worse.after, worse.before),
        (compare::Count { bad: 40, all: 40 }, compare::Count { bad: 2, all: 200 })
    );
    assert_eq!(begun(85), Verdict::Open, "it is over: nothing is known of the time before");
}

/// A route that closed an address in one of two edits.
#[test]
fn one_closed_address_of_several_edits_is_enough() {
    let (start, second) = (start(), Duration::from_secs(1));
    for closed in [[true, false], [false, true], [false, false]] {
        let mut probation = Probation::new(LASTS, start, Counters::new());
        for (at, closed) in (20..).zip(closed) {
            let web = Changed { name: "web", was: "web", beside: None, closed };
            probation.edited([web].into_iter(), start + at * second, |_| of(200, 2));
        }
        let verdict = probation.look(start + 51 * second, |_| of(200, 2));
        assert_eq!(matches!(verdict, Verdict::Worse(_)), closed.contains(&true), "{closed:?}: {verdict:?}");
    }
}

proptest! {
    /// Whatever is counted, a verdict comes, nothing overflows, and a share that does not grow is never worse.
    #[test]
    fn a_share_that_does_not_grow_is_not_worse(
        tried in 0u64..10_000, failed in 0u64..10_000, times in 1u64..50, seconds in 1u64..30,
    ) {
        let before = Results { tried, failed: failed.min(tried), turned_away: 0 };
        let after = Results { tried: tried * times, failed: before.failed * times, turned_away: 0 };
        let lasted = Duration::from_secs(seconds);
        let same = compare::worse("web", Period { ends: before, lasted }, Period { ends: after, lasted });
        prop_assert_eq!(same, None);
    }

    /// More failures of as many never make an edit better.
    #[test]
    fn more_failures_are_not_better(tried in 20u64..2000, fewer in 0u64..2000, more in 0u64..2000) {
        let lasted = Duration::from_secs(30);
        let before = Period { ends: Results { tried: 500, failed: 5, turned_away: 0 }, lasted };
        let after = |failed: u64| Period { ends: Results { tried, failed: failed.min(tried), turned_away: 0 }, lasted };
        let (fewer, more) = (fewer.min(more), fewer.max(more));
        let is_worse = |failed| compare::worse("web", before, after(failed)).is_some();
        prop_assert!(!is_worse(fewer) || is_worse(more));
    }

    /// Counters that a restart of a route has set back count as none.
    #[test]
    fn no_counter_runs_backwards(a in any::<[u64; 3]>(), b in any::<[u64; 3]>()) {
        let ends = |[tried, failed, turned_away]: [u64; 3]| Results { tried, failed, turned_away };
        let Results { tried, failed, turned_away } = ends(a) - ends(b);
        prop_assert!(tried <= a[0] && failed <= a[1] && turned_away <= a[2]);
    }
}
