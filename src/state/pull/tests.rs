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
        let now = start();
        let settings =
            PullSettings { key: None, node: "n".to_owned(), every: Duration::from_secs(5), seed: 7 };
        let on_disk = OnDisk { text: text.map(bytes), serial: None };
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
