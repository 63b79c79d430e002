//! The decisions of a watch, without a file or a clock: when to read, and what a text that was read means.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::file::Identity;
use crate::config::Fault;

/// How often the file is looked at when nothing hints at a change.
pub const POLL: Duration = Duration::from_secs(2);
/// The same where a local file system tells of changes: of all but a folder far above that is moved or mounted over.
pub const POLL_TOLD: Duration = Duration::from_secs(10);
/// Two looks this far apart must be equal before a text counts as written.
pub const QUIET: Duration = Duration::from_millis(150);
/// A file that is never quiet is read in spite of it after this long.
const UNREST: Duration = Duration::from_secs(1);
/// A file that only ever grows is being written by someone slow. It gets more patience.
const GROWTH: Duration = Duration::from_secs(30);
/// How soon, and how rarely at most, an edit is tried again that failed for want of a socket.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

/// One look at the file: its identity, or why there is none.
pub type Look = Result<Identity, io::ErrorKind>;

/// What was read, or why nothing could be.
pub type Text = Result<Arc<[u8]>, Fault>;

/// Why a text was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The file has changed and is quiet now.
    Settled,
    /// The file has been changing for so long that it is read between two changes.
    Snatched,
    /// An edit that could not be had, once more.
    Again,
    /// A person asks for it.
    Asked,
}

/// What to do after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until the next hint or poll.
    Rest,
    /// Another look after [`QUIET`].
    LookAgain,
    /// Read.
    Read(How),
}

/// When to read.
#[derive(Debug)]
pub struct Pace {
    /// What the file looked like when its text was last judged.
    judged: Look,
    /// When to read even if it still looks so.
    due: Option<(Instant, How)>,
    unrest: Option<Unrest>,
    retry: Duration,
}

#[derive(Debug)]
struct Unrest {
    since: Instant,
    last: Look,
    grows: bool,
}

impl Pace {
    /// The text behind `look` has been judged.
    pub fn new(look: Look, now: Instant) -> Self {
        let mut pace = Pace { judged: look, due: None, unrest: None, retry: RETRY.0 };
        pace.judged(look, How::Asked, now);
        pace
    }

    /// Takes a look into account.
    pub fn saw(&mut self, look: Look, now: Instant) -> Step {
        if look == self.judged {
            self.unrest = None;
            return match self.due {
                Some((due, how)) if due <= now => Step::Read(how),
                _ => Step::Rest,
            };
        }
        let Some(unrest) = &mut self.unrest else {
            self.unrest = Some(Unrest { since: now, last: look, grows: true });
            return Step::LookAgain;
        };
        if unrest.last == look {
            return Step::Read(How::Settled);
        }
        unrest.grows &= grew(unrest.last, look);
        unrest.last = look;
        let patience = if unrest.grows { GROWTH } else { UNREST };
        if now.duration_since(unrest.since) < patience { Step::LookAgain } else { Step::Read(How::Snatched) }
    }

    /// The text behind `look` has been judged. A first judgement is confirmed by another reading a poll later: on a
    /// file system with coarse time stamps two edits can look the same.
    pub fn judged(&mut self, look: Look, how: How, now: Instant) {
        let confirmed = self.judged == look && how == How::Settled;
        self.judged = look;
        self.unrest = None;
        self.due = (!confirmed).then_some((now + POLL / 2, How::Settled));
        if how != How::Again {
            self.retry = RETRY.0;
        }
    }

    /// What was judged could not be read: it is read again at the next poll, whatever it looks like.
    pub fn unreadable(&mut self, now: Instant) {
        self.due = Some((now + POLL / 2, How::Settled));
    }

    /// What was judged failed for a reason outside the file: it is tried again, ever more rarely.
    pub fn again(&mut self, now: Instant) {
        self.due = Some((now + self.retry, How::Again));
        self.retry = (self.retry * 2).min(RETRY.1);
    }

    /// Whether nothing is to be read unless the file changes.
    pub fn is_at_rest(&self) -> bool {
        self.due.is_none()
    }

    /// Whether the file is changing.
    pub fn is_restless(&self) -> bool {
        self.unrest.is_some()
    }
}

fn grew(before: Look, after: Look) -> bool {
    matches!((before, after), (Ok(before), Ok(after))
        if before.is_same_file(&after) && before.size < after.size)
}

/// What runs, as text.
#[derive(Clone, Debug)]
pub struct Running {
    pub text: Arc<[u8]>,
    /// The file that it was read from.
    pub file: Option<Identity>,
}

/// What a text that was read means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has been judged already.
    Known,
    /// It is what runs.
    Runs,
    /// It looks cut off.
    CutOff(Cut),
    /// There is none.
    Unreadable(Fault),
    /// It is to be compiled.
    New(Arc<[u8]>),
}

/// How much of the running text is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub bytes: (usize, usize),
    pub lines: (usize, usize),
    pub in_place: bool,
}

/// Judges a text: `running` is what runs, `last` what was judged last.
pub fn verdict(text: &Text, look: Look, how: How, running: &Running, last: &Text) -> Verdict {
    if text == last && matches!(how, How::Settled | How::Snatched) {
        return Verdict::Known;
    }
    let text = match text {
        Ok(text) => text,
        Err(fault) => return Verdict::Unreadable(fault.clone()),
    };
    if *text == running.text {
        return Verdict::Runs;
    }
    let in_place = look.ok().zip(running.file).is_some_and(|(now, then)| now.is_same_file(&then));
    match cut_off(text, in_place, &running.text) {
        Some(cut) if how != How::Asked => Verdict::CutOff(cut),
        _ => Verdict::New(text.clone()),
    }
}

/// Whether a text is the beginning of the running one, and looks like an accident: written in place, where a reader can
/// meet a half-written file, or without the end of its last line. An empty one is a fault by itself.
fn cut_off(text: &[u8], in_place: bool, running: &[u8]) -> Option<Cut> {
    let missing = running.strip_prefix(text)?;
    let deliberate = !in_place && text.ends_with(b"\n");
    if text.is_empty() || deliberate || missing.trim_ascii().is_empty() {
        return None;
    }
    Some(Cut { bytes: (text.len(), running.len()), lines: (lines(text), lines(running)), in_place })
}

/// Lines, the unfinished last one included.
fn lines(text: &[u8]) -> usize {
    text.split_inclusive(|byte| *byte == b'\n').count()
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
