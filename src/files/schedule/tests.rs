//! A schedule without files: looks go in, decisions come out.

use std::io;

use super::super::disk::Identity;
use super::*;

const INODE: (u64, u64) = (1, 100);
const OTHER_INODE: (u64, u64) = (1, 200);

/// A file in its `version`th state.
fn stamp(inode: (u64, u64), size: u64, version: i64) -> FileState {
    let (modified, changed) = ((version, 0), (version, 0));
    Ok(Identity { inode, size, modified, changed, links: 1, born: None })
}

/// A schedule that has seen the same file long enough to trust it, and the time.
fn rested() -> (ReadSchedule, FileState, Instant) {
    let (look, start) = (stamp(INODE, 10, 0), Instant::now());
    let mut schedule = ReadSchedule::new(look, start);
    let now = start + POLL;
    assert_eq!(
        schedule.saw(look, false, now),
        Step::Read(How::Settled),
        "a first reading is confirmed by another"
    );
    schedule.judged(look, How::Settled, now);
    assert_eq!(schedule.saw(look, false, now + POLL * 100), Step::Rest, "after that the look is trusted");
    (schedule, look, now + POLL * 100)
}

#[test]
fn a_change_is_read_once_it_is_quiet() {
    let (mut schedule, _, now) = rested();
    let changed = stamp(INODE, 12, 1);
    assert_eq!(schedule.saw(changed, false, now), Step::LookAgain);
    assert_eq!(schedule.saw(changed, false, now + QUIET), Step::Read(How::Settled));
}

#[test]
fn a_change_that_goes_on_is_waited_for() {
    let (mut schedule, _, now) = rested();
    assert_eq!(schedule.saw(stamp(INODE, 0, 1), false, now), Step::LookAgain);
    assert_eq!(schedule.saw(stamp(INODE, 9, 2), false, now + QUIET), Step::LookAgain);
    assert_eq!(schedule.saw(stamp(INODE, 9, 2), false, now + QUIET * 2), Step::Read(How::Settled));
}

#[test]
fn a_file_that_is_never_quiet_is_read_about_once_a_second() {
    let (mut schedule, _, start) = rested();
    let mut reads = 0;
    for tick in 1..=200 {
        let (look, now) = (stamp((1, tick), 10, 1), start + QUIET * u32::try_from(tick).unwrap());
        if schedule.saw(look, false, now) == Step::Read(How::Snatched) {
            reads += 1;
            schedule.judged(look, How::Snatched, now);
        }
    }
    assert!((20..=30).contains(&reads), "{reads} reads in 30 s");
}

#[test]
fn a_file_that_only_grows_is_not_snatched_half_written() {
    let (mut schedule, _, start) = rested();
    for tick in 1..=190 {
        let (look, now) = (stamp(INODE, tick, 1), start + QUIET * u32::try_from(tick).unwrap());
        assert_eq!(schedule.saw(look, false, now), Step::LookAgain, "after {:?}", now - start);
    }
}

#[test]
fn a_change_that_is_undone_before_it_was_read_is_none() {
    let (mut schedule, look, now) = rested();
    assert_eq!(schedule.saw(Err(io::ErrorKind::NotFound), false, now), Step::LookAgain);
    assert_eq!(schedule.saw(look, false, now + QUIET), Step::Rest);
    assert!(!schedule.is_restless());
}

#[test]
fn what_cannot_be_read_is_read_at_every_poll() {
    let (mut schedule, _, mut now) = rested();
    let look = stamp(OTHER_INODE, 10, 1);
    for _ in 0..10 {
        schedule.judged(look, How::Settled, now);
        schedule.unreadable(now);
        now += POLL;
        assert_eq!(schedule.saw(look, false, now), Step::Read(How::Settled));
    }
}

#[test]
fn an_edit_without_its_socket_is_tried_ever_more_rarely() {
    let (mut schedule, _, start) = rested();
    let look = stamp(OTHER_INODE, 10, 1);
    schedule.judged(look, How::Settled, start);
    schedule.again(start);
    let mut tries = Vec::new();
    for second in 1..=120 {
        let now = start + Duration::from_secs(second);
        if schedule.saw(look, false, now) == Step::Read(How::Again) {
            tries.push(second);
            schedule.judged(look, How::Again, now);
            schedule.again(now);
        }
    }
    assert_eq!(tries, [2, 6, 14, 30, 60, 90, 120]);
}

#[test]
fn r10_what_may_be_half_written_is_read_again_once_its_writer_has_finished() {
    let (mut schedule, _, start) = rested();
    let changed = stamp(INODE, 12, 1);
    assert_eq!(schedule.saw(changed, false, start), Step::LookAgain);
    assert_eq!(schedule.saw(changed, false, start + QUIET), Step::Read(How::Settled));
    schedule.wait();
    assert_eq!(schedule.saw(changed, false, start + QUIET * 2), Step::LookAgain);
    assert_eq!(schedule.saw(changed, true, start + QUIET * 3), Step::Read(How::Settled));
    // Another change begins anew.
    let more = stamp(INODE, 14, 2);
    assert_eq!(schedule.saw(more, true, start + QUIET * 4), Step::LookAgain);
    assert_eq!(schedule.saw(more, false, start + QUIET * 5), Step::Read(How::Settled));
}

#[test]
fn r10_without_events_what_does_not_change_is_read_after_10_seconds() {
    let (mut schedule, _, start) = rested();
    let changed = stamp(INODE, 12, 1);
    assert_eq!(schedule.saw(changed, false, start), Step::LookAgain);
    assert!(!schedule.is_still(start + STILL - QUIET));
    let mut read = Vec::new();
    for tick in 1..=100 {
        let now = start + QUIET * tick;
        if schedule.saw(changed, false, now) == Step::Read(How::Settled) {
            read.push((now - start, schedule.is_still(now)));
            schedule.wait();
        }
    }
    assert_eq!(read.first(), Some(&(QUIET, false)));
    assert_eq!(read.get(1), Some(&(Duration::from_millis(10_050), true)));
}
