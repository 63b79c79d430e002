use super::*;

#[allow(clippy::disallowed_methods, reason = "there is no other first instant")]
fn start() -> Instant {
    Instant::now()
}

/// Bytes that pass in a time, of a stream that takes at most `piece` at once.
fn passed(rate: &str, piece: u64, time: Duration) -> u64 {
    let begin = start();
    let mut bucket = Bucket::new(rate.parse().unwrap(), begin);
    let (mut now, mut all, mut waits) = (begin, 0, 0);
    while now < begin + time {
        match bucket.ready(now) {
            Ok(ready) => {
                let moved = ready.min(piece);
                bucket.take(moved);
                all += moved;
            }
            Err(due) => {
                assert!(due > now, "a wait makes progress");
                waits += 1;
                now = due;
            }
        }
    }
    assert!(waits <= 25 * time.as_secs() + 25, "{waits} wake-ups in {time:?}");
    all
}

#[test]
fn the_long_run_keeps_the_rate_whatever_the_pieces() {
    let time = Duration::from_secs(60);
    for (rate, bytes) in [("1 kB/s", 1000), ("100 B/s", 100), ("10 MiB/s", 10 << 20), ("7 KiB/s", 7 << 10)] {
        for piece in [13, 1400, 65_536, u64::MAX] {
            let (found, wanted) = (passed(rate, piece, time), bytes * 60);
            let over = found.abs_diff(wanted) as f64 / wanted as f64;
            assert!(over < 0.02, "{rate} by {piece}: {found}, not {wanted}");
        }
    }
}

#[test]
fn a_rest_fills_it_no_further_than_its_depth() {
    let begin = start();
    let mut bucket = Bucket::new("10 kB/s".parse().unwrap(), begin);
    assert_eq!(bucket.ready(begin), Ok(1000));
    assert_eq!(bucket.ready(begin + Duration::from_secs(3600)), Ok(1000));
    bucket.take(5000);
    let later = begin + Duration::from_secs(3600);
    assert_eq!(bucket.ready(later), Err(later + Duration::from_millis(50)));
    // A clock that goes back does no harm.
    assert!(bucket.ready(begin).is_err());
}

#[test]
fn what_is_left_is_told_in_bytes() {
    let mut bucket = Bucket::new("1 MiB/s".parse().unwrap(), start()).with(5000);
    assert_eq!(bucket.left(), 5000);
    bucket.take(1200);
    assert_eq!(bucket.left(), 3800);
    // No more than it holds: a tenth of a second, and 64 bytes at least.
    for (rate, depth) in [("100 B/s", 64), ("640 B/s", 64), ("650 B/s", 65), ("1 MB/s", 100_000)] {
        let bucket = Bucket::new(rate.parse().unwrap(), start());
        assert_eq!((bucket.left(), bucket.with(u64::MAX).left()), (depth, depth), "{rate}");
    }
}

#[test]
fn a_sixteenth_of_it_passes_at_once_and_for_less_it_waits_until_half_is_there() {
    let begin = start();
    let with = |bytes| Bucket::new("10 kB/s".parse().unwrap(), begin).with(bytes).ready(begin);
    assert_eq!((with(63), with(62)), (Ok(63), Ok(62)));
    // 439 and 500 bytes at 10 kB/s.
    assert_eq!(with(61), Err(begin + Duration::from_micros(43_900)));
    assert_eq!(with(0), Err(begin + Duration::from_millis(50)));
}
