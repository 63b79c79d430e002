use super::*;

#[test]
fn bytes_never_shrink_where_a_connection_ends_between_two_looks() {
    let (tally, bytes) = (Tally::default(), |up, down| Bytes { up, down });
    tally.opened();
    assert_eq!(tally.all(tally.ended().bytes, bytes(100, 7)).bytes, bytes(100, 7));
    // It is out of the table, and not counted yet.
    assert_eq!(tally.all(tally.ended().bytes, bytes(0, 0)).bytes, bytes(100, 7));
    tally.closed(bytes(120, 9));
    let all = tally.all(tally.ended().bytes, bytes(0, 0));
    assert_eq!(all, Totals { opened: 1, closed: 1, bytes: bytes(120, 9) });
}

#[test]
fn a_meter_counts_each_end_once() {
    let meter = Meter::default();
    let end = |outcome, connect: Option<u64>, seconds| End {
        id: 1,
        outcome,
        bytes: Bytes { up: 1, down: 2 },
        connect: connect.map(Duration::from_millis),
        duration: Duration::from_secs(seconds),
    };
    meter.closed(&end(Outcome::ClientClosed, Some(1), 1));
    meter.closed(&end(Outcome::ClientClosed, Some(40_000), 100_000));
    meter.closed(&end(Outcome::ConnectFailed, None, 5));
    let outcomes: Vec<_> = meter.outcomes().collect();
    assert_eq!(outcomes, [(Outcome::ClientClosed, 2), (Outcome::ConnectFailed, 1)]);
    let Distribution { below, count, sum } = meter.connect.read();
    assert_eq!((below[0], below[1], below[11]), ((0.0005, 0), (0.001, 1), (30.0, 1)));
    assert_eq!((count, sum), (2, 40.001));
    let Distribution { below, count, .. } = meter.duration.read();
    assert_eq!((below[3], below[4], below[11], count), ((1.0, 1), (5.0, 2), (86_400.0, 2), 3));
    assert_eq!(meter.tally.ended().bytes, Bytes { up: 3, down: 6 });
}

fn ends(meter: &Meter, outcome: Outcome, bytes: u64) {
    meter.tally.opened();
    let (connect, duration) = (Some(Duration::from_millis(3)), Duration::from_secs(2));
    meter.closed(&End { id: 1, outcome, bytes: Bytes { up: bytes, down: 2 * bytes }, connect, duration });
}

#[test]
fn a_meter_goes_on_from_where_another_was_and_counts_nothing_twice() {
    let (old, new) = (Meter::default(), Meter::default());
    ends(&old, Outcome::ClientClosed, 10);
    old.tally.opened();
    let open = Bytes { up: 5, down: 1 };
    let first = old.counted(open);
    new.add(&first);
    assert_eq!((first.all.opened, first.all.closed, first.all.up), (2, 1, 15));
    ends(&new, Outcome::Killed, 1);
    // The one that was open has ended in the old process.
    old.closed(&End {
        id: 1,
        outcome: Outcome::UpstreamClosed,
        bytes: Bytes { up: 6, down: 1 },
        connect: None,
        duration: Duration::from_secs(9),
    });
    let last = old.counted(Bytes::default());
    new.add(&last.since(&first));
    let all = new.counted(Bytes::default());
    assert_eq!((all.all.opened, all.all.closed, all.all.up, all.all.down), (3, 3, 17, 23));
    let outcomes: Vec<u64> = all.outcomes.values().copied().collect();
    assert_eq!(outcomes, [1, 1, 1]);
    assert_eq!((new.connect.read().count, new.duration.read().count), (2, 3));
    assert_eq!(new.duration.read().sum, 13.0);
    let before = new.counted(Bytes::default());
    new.add(&last.since(&last));
    assert_eq!(new.counted(Bytes::default()), before);
}

#[test]
fn counters_are_added_part_by_part() {
    let mut volume = Volume { datagrams: 2, bytes: 30 };
    volume += Volume { datagrams: 5, bytes: 700 };
    assert_eq!(volume, Volume { datagrams: 7, bytes: 730 });
    let mut totals = Totals { opened: 5, closed: 2, bytes: Bytes { up: 10, down: 20 } };
    totals += Totals { opened: 30, closed: 11, bytes: Bytes { up: 400, down: 7000 } };
    assert_eq!(totals, Totals { opened: 35, closed: 13, bytes: Bytes { up: 410, down: 7020 } });
}

#[test]
fn a_tally_counts_failures_and_has_an_id_of_its_own() {
    let (one, other) = (Tally::default(), Tally::default());
    let third = Tally::default();
    assert!(one.id() != other.id() && other.id() != third.id() && third.id() != one.id());
    assert_eq!(one.failures(), 0);
    one.failed();
    one.failed();
    one.failed();
    assert_eq!((one.failures(), other.failures()), (3, 0));
    one.add(&Counted { opened: 7, closed: 4, up: 100, down: 200, failed: 2 });
    let counted = one.counted(one.ended().bytes, Bytes { up: 1, down: 2 });
    assert_eq!(counted, Counted { opened: 7, closed: 4, up: 101, down: 202, failed: 5 });
}

#[test]
fn less_is_reported_only_once_connections_have_moved() {
    let (tally, none) = (Tally::default(), Bytes::default());
    let reported = Bytes { up: 100, down: 7 };
    assert_eq!(tally.all(none, reported).bytes, reported);
    assert_eq!(tally.all(none, none).bytes, reported);
    tally.report_less();
    assert_eq!(tally.all(none, none).bytes, none);
}

/// Another build may have other bounds.
#[test]
fn times_by_other_bounds_are_left_out() {
    let meter = Meter::default();
    for counts in [vec![], vec![1; 12], vec![1; 14]] {
        meter.add(&RouteCounted {
            duration: TimesCounted { counts, micros: 7_000_000 },
            ..RouteCounted::default()
        });
    }
    assert_eq!((meter.duration.read().count, meter.duration.read().sum), (0, 0.0));
    let duration = TimesCounted { counts: vec![1; 13], micros: 7_000_000 };
    meter.add(&RouteCounted { duration, ..RouteCounted::default() });
    assert_eq!((meter.duration.read().count, meter.duration.read().sum), (13, 7.0));
}
