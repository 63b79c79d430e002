//! When a watched file is read: decided from looks at it and the time, without a file or a clock.

use std::time::Duration;

use tokio::time::Instant;

use super::reading::{FileState, How};

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
pub struct ReadSchedule {
    /// What the file looked like when its text was last judged.
    judged: FileState,
    /// When to read even if it still looks so.
    due: Option<(Instant, How)>,
    unrest: Option<Unrest>,
    retry: Duration,
}

#[derive(Debug)]
struct Unrest {
    since: Instant,
    last: FileState,
    grows: bool,
}

impl ReadSchedule {
    /// The text behind `look` has been judged.
    pub fn new(look: FileState, now: Instant) -> Self {
        let mut schedule = ReadSchedule { judged: look, due: None, unrest: None, retry: RETRY.0 };
        schedule.judged(look, How::Asked, now);
        schedule
    }

    /// Takes a look into account.
    pub fn saw(&mut self, look: FileState, now: Instant) -> Step {
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
    pub fn judged(&mut self, look: FileState, how: How, now: Instant) {
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

fn grew(before: FileState, after: FileState) -> bool {
    matches!((before, after), (Ok(before), Ok(after))
        if before.is_same_file(&after) && before.size < after.size)
}

#[cfg(test)]
mod tests;
