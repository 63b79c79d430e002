//! Decides when a watched file is read, from looks at it and the time. Needs neither a file nor a clock.

use std::time::Duration;

use tokio::time::Instant;

use super::reading::{FileState, How};

/// How often the file is looked at when nothing hints at a change.
pub const POLL: Duration = Duration::from_secs(2);
/// The same where a local file system reports changes. It reports all but a move or a mount of a folder far above.
pub const POLL_TOLD: Duration = Duration::from_secs(10);
/// Two looks this far apart must be equal before a text counts as written.
pub const QUIET: Duration = Duration::from_millis(150);
/// A file that is never quiet is read anyway after this long.
const UNREST: Duration = Duration::from_secs(1);
/// A file that only grows is being written slowly. It is read after this long.
const GROWTH: Duration = Duration::from_secs(30);
/// A file that has not changed for so long is no longer being written, where no event tells.
pub const STILL: Duration = Duration::from_secs(10);
/// An edit that failed for a reason outside of the file, such as a socket, is tried again: the first pause and the
/// longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

/// What to do after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until the next hint or poll.
    Rest,
    /// Another look after [`QUIET`].
    LookAgain,
    /// Read the file.
    Read(How),
}

/// The schedule of one file.
#[derive(Debug)]
pub struct ReadSchedule {
    /// What the file looked like when its text was last judged.
    judged: FileState,
    /// When, and why, to read even if the file still looks like `judged`.
    due: Option<(Instant, How)>,
    unrest: Option<Unsettled>,
    retry: Duration,
}

#[derive(Debug)]
struct Unsettled {
    since: Instant,
    last: FileState,
    /// When it was first seen like `last`.
    last_since: Instant,
    grows: bool,
    /// It was read, and its writer has to finish first.
    waits: bool,
}

impl ReadSchedule {
    /// The text behind `look` has been judged.
    pub fn new(look: FileState, now: Instant) -> Self {
        let mut schedule = ReadSchedule { judged: look, due: None, unrest: None, retry: RETRY.0 };
        schedule.judged(look, How::Asked, now);
        schedule
    }

    /// Says what to do after this look. `finished`: the writer is known to have finished.
    pub fn saw(&mut self, look: FileState, finished: bool, now: Instant) -> Step {
        if look == self.judged {
            self.unrest = None;
            return match self.due {
                Some((due, how)) if due <= now => Step::Read(how),
                _ => Step::Rest,
            };
        }
        let Some(unrest) = &mut self.unrest else {
            let new = Unsettled { since: now, last: look, last_since: now, grows: true, waits: false };
            self.unrest = Some(new);
            return Step::LookAgain;
        };
        if unrest.last == look {
            let ready = finished || !unrest.waits || now.duration_since(unrest.last_since) >= STILL;
            return if ready { Step::Read(How::Settled) } else { Step::LookAgain };
        }
        unrest.grows &= grew(unrest.last, look);
        (unrest.last, unrest.last_since, unrest.waits) = (look, now, false);
        let patience = if unrest.grows { GROWTH } else { UNREST };
        if now.duration_since(unrest.since) < patience { Step::LookAgain } else { Step::Read(How::Snatched) }
    }

    /// Notes that the text behind `look` has been judged. A first judgement is confirmed by another reading a poll
    /// later: on a file system with coarse time stamps two edits can look the same.
    pub fn judged(&mut self, look: FileState, how: How, now: Instant) {
        let confirmed = self.judged == look && how == How::Settled;
        self.judged = look;
        self.unrest = None;
        self.due = (!confirmed).then_some((now + POLL / 2, How::Settled));
        if how != How::Again {
            self.retry = RETRY.0;
        }
    }

    /// Notes that the text that was read may be half written: it is read again once its writer has finished, once the
    /// file has changed, or after [`STILL`].
    pub fn wait(&mut self) {
        if let Some(unrest) = &mut self.unrest {
            unrest.waits = true;
        }
    }

    /// Whether the file has not changed for [`STILL`], or was judged as it is.
    pub fn is_still(&self, now: Instant) -> bool {
        self.unrest.as_ref().is_none_or(|unrest| now.duration_since(unrest.last_since) >= STILL)
    }

    /// Notes that the file could not be read: it is read again at the next poll, even if it looks unchanged.
    pub fn unreadable(&mut self, now: Instant) {
        self.due = Some((now + POLL / 2, How::Settled));
    }

    /// Notes that the text failed for a reason outside of the file: it is tried again, ever more rarely.
    pub fn again(&mut self, now: Instant) {
        self.due = Some((now + self.retry, How::Again));
        self.retry = (self.retry * 2).min(RETRY.1);
    }

    /// Makes the text that failed for a reason outside of the file due now: the reason may be gone.
    pub fn again_now(&mut self, now: Instant) {
        self.due = Some((now, How::Again));
    }

    /// Whether there is nothing to read unless the file changes.
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
