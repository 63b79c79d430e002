//! Texts go in, verdicts come out.

use super::*;

const INODE: (u64, u64) = (1, 100);
const OTHER_INODE: (u64, u64) = (1, 200);
const RUNNING: &[u8] = b"[[route]]\nlisten = \"80\"\n[[route]]\nlisten = \"81\"\n";

/// A file in its `version`th state.
fn stamp(inode: (u64, u64), size: u64, version: i64) -> FileState {
    let (modified, changed) = ((version, 0), (version, 0));
    Ok(Identity { inode, size, modified, changed, links: 1, born: None })
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
    assert_eq!(
        cut,
        Cut { bytes: Part { there: 12, of: RUNNING.len() }, lines: Part { there: 2, of: 4 }, in_place: true }
    );
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
