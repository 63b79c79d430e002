use super::*;

#[allow(clippy::disallowed_methods, reason = "a test needs some first instant")]
pub(super) fn start() -> Instant {
    Instant::now()
}

pub(super) fn bytes(text: &str) -> Arc<[u8]> {
    text.as_bytes().into()
}

/// A puller without a key, and its time.
struct Node {
    pull: Pull,
    now: Instant,
}

impl Node {
    fn with(text: Option<&str>) -> Node {
        Node::on(OnDisk { text: text.map(bytes), serial: None })
    }

    fn on(on_disk: OnDisk) -> Node {
        let now = start();
        let settings =
            PullSettings { key: None, node: "n".to_owned(), every: Duration::from_secs(5), seed: 7 };
        Node { pull: Pull::new(settings, on_disk, now), now }
    }

    /// Lets time pass until there is something to do, and how long that took.
    fn waits(&mut self) -> (Duration, Todo) {
        let begun = self.now;
        loop {
            match self.pull.next(self.now) {
                Todo::Wait(time) => self.now += time,
                todo => return (self.now - begun, todo),
            }
        }
    }

    /// Seconds until the store is asked.
    #[track_caller]
    fn rests(&mut self) -> f64 {
        let (time, todo) = self.waits();
        assert!(matches!(todo, Todo::Fetch(_)), "{todo:?}");
        time.as_secs_f64()
    }

    #[track_caller]
    fn fetches(&mut self) -> Fetch {
        match self.waits().1 {
            Todo::Fetch(fetch) => fetch,
            todo => panic!("{todo:?}"),
        }
    }

    fn gets(&mut self, fetched: Fetched) -> Vec<News> {
        self.fetches();
        self.pull.fetched(fetched, self.now)
    }

    fn gets_text(&mut self, text: &str) -> Vec<News> {
        let mark = Mark { etag: Some(text.to_owned()), index: None };
        self.gets(Fetched::Content(bytes(text), mark))
    }

    #[track_caller]
    fn checks(&mut self, result: Result<(), &str>) -> Vec<News> {
        assert!(matches!(self.pull.next(self.now), Todo::Check(_)));
        self.pull.checked(result.map_err(ToOwned::to_owned), self.now)
    }

    #[track_caller]
    fn writes(&mut self, wanted: &str) -> Vec<News> {
        let Todo::Write(offer) = self.pull.next(self.now) else { panic!("nothing to write") };
        assert_eq!(offer.text, bytes(wanted));
        self.pull.written(Ok(()), self.now)
    }
}

#[test]
fn a_text_is_fetched_checked_and_written_and_then_only_asked_for() {
    let mut node = Node::with(None);
    assert_eq!(node.waits().0, Duration::ZERO, "there is no file");
    assert!(node.gets_text("a").is_empty());
    assert!(node.checks(Ok(())).is_empty());
    assert_eq!(node.writes("a"), [News::Took(None)]);
    assert_eq!(node.pull.standing().confirmed, Some(node.now));
    let fetch = node.fetches();
    assert_eq!((fetch.mark.etag.as_deref(), fetch.wait), (Some("a"), None));
    assert!(node.gets(Fetched::Same(fetch.mark)).is_empty());
    // A server without ETag sends it again.
    assert!(node.gets_text("a").is_empty());
    assert!(matches!(node.pull.next(node.now), Todo::Wait(_)));
    assert!(node.gets_text("b").is_empty());
    node.checks(Ok(()));
    assert_eq!(node.writes("b"), [News::Took(None)]);
}

#[test]
fn a_store_that_is_away_is_told_of_once_and_asked_ever_more_rarely() {
    let mut node = Node::with(Some("a"));
    let away = |why: &str| Fetched::Failed(why.to_owned());
    assert_eq!(node.gets(away("refused")), [News::Away("refused".to_owned())]);
    let mut longest = Duration::ZERO;
    for _ in 0..200 {
        assert!(node.gets(away("late")).is_empty());
        longest = longest.max(node.waits().0);
    }
    assert!(longest > Duration::from_secs(50) && longest <= Duration::from_secs(60), "{longest:?}");
    assert_eq!(node.pull.standing().away.as_ref().unwrap().why, "late");
    assert_eq!(node.gets_text("a"), [News::Back]);
    assert!(node.waits().0 <= Duration::from_secs(6));
    assert!(node.pull.standing().away.is_none());
}

#[test]
fn a_store_that_waits_is_waited_for_and_one_that_only_says_so_is_not_asked_in_a_loop() {
    let mut node = Node::with(Some("a"));
    let mark = |index| Mark { etag: None, index: Some(index) };
    node.gets(Fetched::Content(bytes("a"), mark(7)));
    let fetch = node.fetches();
    assert_eq!((fetch.wait, fetch.mark.index), (Some(LONG_POLL), Some(7)));
    node.now += LONG_POLL;
    node.pull.fetched(Fetched::Same(mark(7)), node.now);
    assert_eq!(node.waits().0, Duration::ZERO);
    // It answers at once, again and again.
    let begun = node.now;
    for _ in 0..100 {
        node.gets(Fetched::Same(mark(7)));
    }
    assert!(node.now - begun > Duration::from_secs(200), "{:?}", node.now - begun);
    // After an outage the first answer is to come at once.
    node.gets(Fetched::Failed("reset".to_owned()));
    assert_eq!(node.fetches().wait, None);
    assert_eq!(node.pull.fetched(Fetched::Same(mark(7)), node.now), [News::Back]);
    assert_eq!(node.fetches().wait, Some(LONG_POLL));
}

#[test]
fn a_refused_text_is_told_of_once_looked_at_again_and_healed() {
    let mut node = Node::with(Some("a"));
    node.gets_text("b");
    assert_eq!(node.checks(Err("no such file")), [News::Refused("no such file".to_owned())]);
    // Without the store sending it again, and without a word.
    let (begun, mark) = (node.now, node.fetches().mark);
    loop {
        node.pull.fetched(Fetched::Same(mark.clone()), node.now);
        if let Todo::Check(text) = node.pull.next(node.now) {
            assert_eq!(text, bytes("b"));
            break;
        }
        node.fetches();
    }
    assert!(node.now - begun >= AGAIN - Duration::from_secs(7), "{:?}", node.now - begun);
    assert!(node.pull.checked(Err("no such file".to_owned()), node.now).is_empty());
    assert!(node.gets_text("c").is_empty());
    assert_eq!(node.checks(Err("a fault")), [News::Refused("a fault".to_owned())]);
    assert_eq!(node.gets_text("a"), [News::Healed]);
    assert!(node.pull.standing().refused.is_none());
    assert_eq!(node.gets(Fetched::Missing).len(), 1);
    assert!(node.gets(Fetched::Missing).is_empty());
    assert_eq!(node.gets_text("a"), [News::Healed]);
    // A disk that is full.
    node.gets_text("d");
    node.checks(Ok(()));
    assert!(matches!(node.pull.next(node.now), Todo::Write(_)));
    assert_eq!(node.pull.written(Err("full".to_owned()), node.now), [News::Refused("full".to_owned())]);
    assert_eq!(node.pull.standing().refused.as_ref().unwrap().why, "full");
}

#[test]
fn what_was_undone_is_not_taken_again() {
    let mut node = Node::with(Some("a"));
    node.gets_text("b");
    node.checks(Ok(()));
    node.writes("b");
    assert!(node.pull.undone(&bytes("by hand"), &bytes("a"), "worse", node.now).is_empty());
    let told = node.pull.undone(&bytes("b"), &bytes("a"), "worse", node.now);
    assert_eq!(told, [News::Refused("worse".to_owned())]);
    assert!(node.writes("a").is_empty());
    assert!(node.pull.undone(&bytes("b"), &bytes("a"), "worse", node.now).is_empty(), "only once");
    assert!(node.gets_text("b").is_empty());
    assert!(matches!(node.pull.next(node.now), Todo::Wait(_)));
    assert_eq!(node.pull.standing().refused.as_ref().unwrap().why, "worse");
    node.gets_text("c");
    node.checks(Ok(()));
    assert_eq!(node.writes("c"), [News::Took(None)]);
    assert!(node.pull.standing().refused.is_none());
}

/// A store without marks sends it each time.
#[test]
fn a_refused_text_that_is_sent_again_is_looked_at_once_its_time_is_over() {
    let mut node = Node::with(Some("a"));
    node.gets_text("b");
    node.checks(Err("no such file"));
    let refused = node.now;
    loop {
        assert!(node.gets_text("b").is_empty());
        let looks = matches!(node.pull.next(node.now), Todo::Check(_));
        assert_eq!(looks, node.now - refused >= AGAIN, "{:?}", node.now - refused);
        if looks {
            break;
        }
    }
}

#[test]
fn a_store_that_cannot_wait_is_asked_after_the_interval_however_slow_it_is() {
    let mut node = Node::with(Some("a"));
    let first = node.rests();
    assert!(first > 0.0 && first < 5.0, "some moment within the interval: {first}");
    for (answer, seconds) in (0..90).map(|answer| (answer, [0, 1, 30][answer % 3])) {
        node.now += Duration::from_secs(seconds);
        let fetched = match answer % 2 {
            0 => Fetched::Same(Mark::default()),
            _ => Fetched::Content(bytes("a"), Mark::default()),
        };
        assert!(node.pull.fetched(fetched, node.now).is_empty());
        let rest = node.rests();
        assert!((4.0..=6.0).contains(&rest), "{rest} after {seconds} s");
    }
}

#[test]
fn an_answer_within_a_second_was_no_wait() {
    let mark = Mark { etag: None, index: Some(7) };
    let mut node = Node::with(Some("a"));
    node.gets(Fetched::Content(bytes("a"), mark.clone()));
    let mut shortest = f64::MAX;
    for (millis, at_once) in [(0, false), (999, false), (1000, true), (59_000, true)].repeat(20) {
        assert_eq!(node.fetches().wait, Some(Duration::from_secs(60)));
        node.now += Duration::from_millis(millis);
        node.pull.fetched(Fetched::Same(mark.clone()), node.now);
        let rest = node.rests();
        assert!((rest == 0.0) == at_once && rest < 5.0, "{rest} after {millis} ms");
        shortest = if at_once { shortest } else { shortest.min(rest) };
    }
    assert!(shortest < 1.0, "at any time within the interval: {shortest}");
}

#[test]
fn what_the_store_has_not_is_told_of_once_and_asked_for_ever_more_rarely() {
    let mut node = Node::with(Some("a"));
    let told = node.gets(Fetched::Missing);
    assert_eq!(told, [News::Refused("the store has no such text: was it removed?".to_owned())]);
    let mut longest = 0_f64;
    for _ in 0..200 {
        assert!(node.gets(Fetched::Missing).is_empty());
        longest = longest.max(node.rests());
    }
    assert!(longest > 50.0 && longest <= 60.0, "{longest}");
    assert_eq!(node.gets(Fetched::Unfit("a page".to_owned())), [News::Refused("a page".to_owned())]);
    assert_eq!(node.gets_text("a"), [News::Healed]);
    assert!((4.0..=6.0).contains(&node.rests()));
}

#[test]
fn after_each_step_the_store_rests() {
    let mut node = Node::with(Some("a"));
    node.gets_text("b");
    node.checks(Err("a fault"));
    assert!((4.0..=6.0).contains(&node.rests()), "what was refused");
    node.gets_text("c");
    node.checks(Ok(()));
    node.writes("c");
    let rest = node.rests();
    assert!(rest > 0.0 && rest < 5.0, "what all nodes take at the same moment: {rest}");
    node.pull.undone(&bytes("c"), &bytes("a"), "worse", node.now);
    node.writes("a");
    assert!((4.0..=6.0).contains(&node.rests()), "what was undone");
}

#[test]
fn a_refused_text_is_looked_at_again_after_thirty_seconds_and_no_earlier() {
    let mut node = Node::with(Some("a"));
    node.gets_text("b");
    node.checks(Err("no such file"));
    let refused = node.now;
    for (millis, looks) in [(29_999, false), (30_000, true)] {
        for answer in [Fetched::Same(Mark::default()), Fetched::Content(bytes("b"), Mark::default())] {
            let (mut pull, now) = (node.pull.clone(), refused + Duration::from_millis(millis));
            assert!(matches!(pull.next(refused + Duration::from_secs(10)), Todo::Fetch(_)));
            assert!(pull.fetched(answer.clone(), now).is_empty());
            assert_eq!(matches!(pull.next(now), Todo::Check(_)), looks, "{millis} ms, {answer:?}");
        }
    }
}

#[test]
fn while_a_text_is_refused_nothing_is_confirmed_and_the_store_is_not_waited_for() {
    let mark = |index| Mark { etag: None, index: Some(index) };
    let mut node = Node::with(Some("a"));
    node.gets(Fetched::Content(bytes("b"), mark(7)));
    node.checks(Err("no such file"));
    let begun = node.now;
    assert_eq!(node.fetches().wait, None);
    node.pull.fetched(Fetched::Same(mark(7)), node.now);
    assert_eq!((node.pull.standing().confirmed, node.fetches().wait), (None, None));
    // Another fault is the same trouble.
    node.gets(Fetched::Content(bytes("c"), mark(8)));
    node.checks(Err("a fault"));
    let trouble = node.pull.standing().refused.clone().unwrap();
    assert_eq!((trouble.why.as_str(), trouble.since), ("a fault", begun));
    assert_eq!(node.gets(Fetched::Content(bytes("a"), mark(9))), [News::Healed]);
    assert_eq!(node.pull.standing().confirmed, Some(node.now));
    assert_eq!(node.fetches().wait, Some(Duration::from_secs(60)));
    // So is another reason why the store is away.
    node.pull.fetched(Fetched::Failed("refused".to_owned()), node.now);
    let begun = node.now;
    node.gets(Fetched::Failed("late".to_owned()));
    let trouble = node.pull.standing().away.clone().unwrap();
    assert!(node.now > begun && trouble.since == begun && trouble.why == "late", "{trouble:?}");
}

/// A signature that was left beside the file says nothing where none is asked for.
#[test]
fn without_a_key_a_file_with_a_serial_is_not_written_again() {
    let mut node = Node::on(OnDisk { text: Some(bytes("a")), serial: Some(7) });
    assert!(node.gets_text("a").is_empty());
    assert!(matches!(node.pull.next(node.now), Todo::Wait(_)));
    assert_eq!(node.pull.standing().confirmed, Some(node.now));
    node.gets_text("b");
    node.checks(Ok(()));
    assert_eq!(node.writes("b"), [News::Took(None)]);
    assert_eq!(node.pull.standing().serial, Some(7), "the signature stays");
}
