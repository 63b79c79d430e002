//! How a connection has ended, and what that says about its route: for counters, and for a probation.

use std::time::Duration;

use super::bytes::Bytes;
use crate::model::Outcome;

/// What is counted when a connection ends.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Unique in this process.
    pub id: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// The bytes that it has moved.
    pub bytes: Bytes,
    /// Time from the first attempt to a connected upstream. `None`: none connected.
    pub connect: Option<Duration>,
    /// From accept to the end.
    pub duration: Duration,
}

/// What a connection says about its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// It was served, or was ended for a reason that is no fault of the route.
    Nothing,
    /// It came to nothing.
    Failed,
    /// Its client said nothing and left, as checks and port scans do.
    Empty,
}

impl End {
    /// What it says about its route.
    pub(super) fn says(&self) -> Says {
        match self.outcome {
            Outcome::ConnectFailed
            | Outcome::Loop
            | Outcome::BadHeader
            | Outcome::BadTls
            | Outcome::NoRoute
            | Outcome::Unanswered
            // Every upstream is full: what the client and its route may have is checked before.
            | Outcome::Limited
            | Outcome::Internal => Says::Failed,
            _ if self.bytes.down > 0 => Says::Nothing,
            Outcome::UpstreamClosed
            | Outcome::UpstreamReset
            | Outcome::UpstreamLost
            | Outcome::UpstreamRefused => Says::Failed,
            // Whoever asks in vain gives up.
            Outcome::ClientClosed
            | Outcome::ClientReset
            | Outcome::ClientLost
            | Outcome::Idle
            | Outcome::HalfCloseTimeout => if self.bytes.up == 0 { Says::Empty } else { Says::Failed },
            Outcome::UpstreamDown
            | Outcome::UpstreamGone
            | Outcome::Denied
            | Outcome::Drained
            | Outcome::Killed
            | Outcome::UpgradeFailed
            | Outcome::Replied
            | Outcome::Evicted => Says::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Meter;
    use crate::state::probation::Results;

    #[test]
    fn what_came_to_nothing_is_counted_for_a_probation() {
        let meter = Meter::default();
        let mut id = 0;
        let mut end = |outcome, up, down| {
            id += 1;
            meter.tally.opened();
            let times = (None, Duration::from_secs(1));
            meter.closed(&End {
                id,
                outcome,
                bytes: Bytes { up, down },
                connect: times.0,
                duration: times.1,
            });
            let Results { tried, failed, .. } = meter.results();
            (tried, failed)
        };
        assert_eq!(end(Outcome::ClientClosed, 1, 1), (1, 0));
        assert_eq!(end(Outcome::ConnectFailed, 0, 0), (2, 1));
        assert_eq!(end(Outcome::BadTls, 0, 7), (3, 2));
        assert_eq!(end(Outcome::UpstreamReset, 1, 0), (4, 3));
        assert_eq!(end(Outcome::UpstreamReset, 1, 1), (5, 3));
        assert_eq!(end(Outcome::UpstreamClosed, 0, 0), (6, 4));
        assert_eq!(end(Outcome::ClientReset, 5, 0), (7, 5));
        assert_eq!(end(Outcome::Drained, 5, 0), (8, 5));
        // A check of a port says nothing about its route.
        assert_eq!(end(Outcome::ClientClosed, 0, 0), (8, 5));
        // It began before an edit.
        meter.forgive(10);
        assert_eq!(end(Outcome::ConnectFailed, 0, 0), (9, 5));
        assert_eq!(end(Outcome::ConnectFailed, 0, 0), (10, 6));
    }

    /// Of one that has moved bytes to its client, of one whose client has only asked, and of one that moved nothing.
    #[test]
    fn each_outcome_says_what_it_says_about_its_route() {
        let says = |outcome, (up, down)| {
            let (id, connect, duration) = (1, None, Duration::ZERO);
            End { id, outcome, bytes: Bytes { up, down }, connect, duration }.says()
        };
        let of = |outcome| [(9, 9), (9, 0), (0, 0)].map(|bytes| says(outcome, bytes));
        let (ok, failed, empty) = (Says::Nothing, Says::Failed, Says::Empty);
        for outcome in Outcome::ALL {
            let wanted = match outcome.label() {
                "connect-failed" | "loop" | "bad-header" | "bad-tls" | "no-route" | "unanswered"
                | "limited" | "internal" => [failed, failed, failed],
                "upstream-closed" | "upstream-reset" | "upstream-lost" | "upstream-refused" => {
                    [ok, failed, failed]
                }
                "client-closed" | "client-reset" | "client-lost" | "idle" | "half-close-timeout" => {
                    [ok, failed, empty]
                }
                _ => [ok, ok, ok],
            };
            assert_eq!(of(outcome), wanted, "{outcome}");
        }
    }
}
