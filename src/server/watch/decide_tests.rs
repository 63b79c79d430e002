//! A watch without files: looks and texts go in, decisions come out.

use super::*;

const INODE: (u64, u64) = (1, 100);
const OTHER_INODE: (u64, u64) = (1, 200);
const RUNNING: &[u8] = b"[[route]]\nlisten = \"80\"\n[[route]]\nlisten = \"81\"\n";

/// A file in its `version`th state.
fn stamp(inode: (u64, u64), size: u64, version: i64) -> Look {
    let (modified, changed) = ((version, 0), (version, 0));
    Ok(Identity { inode, size, modified, changed, links: 1, born: None })
}

/// A pace that has seen the same file long enough to trust it, and the time.
fn rested() -> (Pace, Look, Instant) {
    let (look, start) = (stamp(INODE, 10, 0), Instant::now());
    let mut pace = Pace::new(look, start);
    let now = start + POLL;
    assert_eq!(pace.saw(look, now), Step::Read(How::Settled), "a first reading is confirmed by another");
    pace.judged(look, How::Settled, now);
    assert_eq!(pace.saw(look, now + POLL * 100), Step::Rest, "after that the look is trusted");
    (pace, look, now + POLL * 100)
}

#[test]
fn a_change_is_read_once_it_is_quiet() {
    let (mut pace, _, now) = rested();
    let changed = stamp(INODE, 12, 1);
    assert_eq!(pace.saw(changed, now), Step::LookAgain);
    assert_eq!(pace.saw(changed, now + QUIET), Step::Read(How::Settled));
}

#[test]
fn a_change_that_goes_on_is_waited_for() {
    let (mut pace, _, now) = rested();
    assert_eq!(pace.saw(stamp(INODE, 0, 1), now), Step::LookAgain);
    assert_eq!(pace.saw(stamp(INODE, 9, 2), now + QUIET), Step::LookAgain);
    assert_eq!(pace.saw(stamp(INODE, 9, 2), now + QUIET * 2), Step::Read(How::Settled));
}

#[test]
fn a_file_that_is_never_quiet_is_read_about_once_a_second() {
    let (mut pace, _, start) = rested();
    let mut reads = 0;
    for tick in 1..=200 {
        let (look, now) = (stamp((1, tick), 10, 1), start + QUIET * u32::try_from(tick).unwrap());
        if pace.saw(look, now) == Step::Read(How::Snatched) {
            reads += 1;
            pace.judged(look, How::Snatched, now);
        }
    }
    assert!((20..=30).contains(&reads), "{reads} reads in 30 s");
}

#[test]
fn a_file_that_only_grows_is_not_snatched_half_written() {
    let (mut pace, _, start) = rested();
    for tick in 1..=190 {
        let (look, now) = (stamp(INODE, tick, 1), start + QUIET * u32::try_from(tick).unwrap());
        assert_eq!(pace.saw(look, now), Step::LookAgain, "after {:?}", now - start);
    }
}

#[test]
fn a_change_that_is_undone_before_it_was_read_is_none() {
    let (mut pace, look, now) = rested();
    assert_eq!(pace.saw(Err(io::ErrorKind::NotFound), now), Step::LookAgain);
    assert_eq!(pace.saw(look, now + QUIET), Step::Rest);
    assert!(!pace.is_restless());
}

#[test]
fn what_cannot_be_read_is_read_at_every_poll() {
    let (mut pace, _, mut now) = rested();
    let look = stamp(OTHER_INODE, 10, 1);
    for _ in 0..10 {
        pace.judged(look, How::Settled, now);
        pace.unreadable(now);
        now += POLL;
        assert_eq!(pace.saw(look, now), Step::Read(How::Settled));
    }
}

#[test]
fn an_edit_without_its_socket_is_tried_ever_more_rarely() {
    let (mut pace, _, start) = rested();
    let look = stamp(OTHER_INODE, 10, 1);
    pace.judged(look, How::Settled, start);
    pace.again(start);
    let mut tries = Vec::new();
    for second in 1..=120 {
        let now = start + Duration::from_secs(second);
        if pace.saw(look, now) == Step::Read(How::Again) {
            tries.push(second);
            pace.judged(look, How::Again, now);
            pace.again(now);
        }
    }
    assert_eq!(tries, [2, 6, 14, 30, 60, 90, 120]);
}

fn judge(text: &[u8], inode: (u64, u64), how: How) -> Verdict {
    let running = Running { text: RUNNING.into(), file: stamp(INODE, 0, 0).ok() };
    verdict(&Ok(text.into()), stamp(inode, 0, 9), how, &running, &Ok(RUNNING.into()))
}

#[test]
fn every_beginning_of_what_runs_is_cut_off_when_written_in_place() {
    for length in 1..RUNNING.len() - 1 {
        let text = &RUNNING[..length];
        assert!(matches!(judge(text, INODE, How::Settled), Verdict::CutOff(_)), "{length} bytes");
        assert_eq!(
            judge(text, INODE, How::Asked),
            Verdict::New(text.into()),
            "{length} bytes, and a person asks"
        );
        let renamed = judge(text, OTHER_INODE, How::Settled);
        if text.ends_with(b"\n") {
            assert_eq!(renamed, Verdict::New(text.into()), "{length} bytes, by rename");
        } else {
            assert!(matches!(renamed, Verdict::CutOff(_)), "{length} bytes, by rename");
        }
    }
}

#[test]
fn a_missing_newline_at_the_end_is_nothing_to_refuse() {
    let text = &RUNNING[..RUNNING.len() - 1];
    assert_eq!(judge(text, INODE, How::Settled), Verdict::New(text.into()));
}

#[test]
fn the_cut_is_counted_in_lines() {
    let Verdict::CutOff(cut) = judge(&RUNNING[..12], INODE, How::Settled) else { panic!("not cut off") };
    assert_eq!(cut, Cut { bytes: (12, RUNNING.len()), lines: (2, 4), in_place: true });
}

#[test]
fn a_text_is_judged_once_unless_someone_asks() {
    assert_eq!(judge(RUNNING, OTHER_INODE, How::Settled), Verdict::Known, "a touch is no edit");
    assert_eq!(judge(RUNNING, OTHER_INODE, How::Asked), Verdict::Runs);
    let running = Running { text: RUNNING.into(), file: stamp(INODE, 0, 0).ok() };
    let refused: Text = Ok(b"x".as_slice().into());
    let seen = |how| verdict(&refused, stamp(INODE, 1, 9), how, &running, &refused);
    assert_eq!(seen(How::Settled), Verdict::Known);
    assert_eq!(seen(How::Again), Verdict::New(b"x".as_slice().into()));
    let back = verdict(&Ok(RUNNING.into()), stamp(INODE, 1, 9), How::Settled, &running, &refused);
    assert_eq!(back, Verdict::Runs);
}
