//! The dead whom keepalive does not find (rule 5, and a dead peer with data on its way to it).
//!
//! * Linux probes an idle connection only. With unacknowledged data it sends that again instead, and gives up after some
//!   15 minutes (`tcp_retries2`). `TCP_USER_TIMEOUT` is no cure: it also ends a connection whose peer lives, answers, and
//!   merely does not read (`tcp_probe_timer` in the kernel; tried on Linux 6.18: 5 s set, 5.6 s lived).
//! * A Unix socket has no keepalive. One that has sent FIN and then closes tells nobody who does not write to it.
//!
//! So a relay looks by itself, as often as keepalive would: only while bytes are on their way, and at no cost otherwise.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::ending::Ending;
use super::side::{Side, Sockets};
use super::state::{RelayState, unsent};
use crate::net::Socket;
use crate::net::options::{KEEPALIVE_PROBES, keepalive_interval};
use crate::net::queue::Answers;

/// How often the kernel must have asked in vain: one lost packet is no death, even where it asks every two minutes.
const ASKED_ENOUGH: u32 = 3;

/// Resolves when a side has not answered for as long as keepalive, whose idle time is `idle`, would allow; or, with
/// `None`, when both have answered all that was sent to them.
pub(super) async fn unanswered(
    state: &RelayState<'_>,
    sockets: Sockets<'_>,
    idle: Duration,
) -> Option<Ending> {
    let mut sides = [Side::Client, Side::Upstream].map(|side| Liveness::new(side, sockets));
    let mut period = idle;
    loop {
        sleep(period).await;
        let looks = sides.each_mut().map(|side| (side.look(state), side.side));
        if let Some((_, side)) = looks.iter().find(|(look, _)| *look == Sign::Dead) {
            return Some(Ending::Lost(*side));
        }
        if looks.iter().all(|(look, _)| *look == Sign::NothingOwed) {
            return None;
        }
        let suspected = looks.iter().any(|(look, _)| *look == Sign::Silent);
        period = if suspected { keepalive_interval(idle) } else { idle };
    }
}

/// What a look at one side shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// It has nothing to answer.
    NothingOwed,
    /// It owes an answer, and has given one since the last look; or it is not late.
    Answers,
    /// It owes an answer, and is late.
    Silent,
    /// It has been late for too long.
    Dead,
}

/// The watch over one side.
struct Liveness<'a> {
    side: Side,
    socket: &'a Socket,
    other: &'a Socket,
    /// Since when it has been late, and for how many looks.
    late: Option<(Instant, u32)>,
}

impl<'a> Liveness<'a> {
    fn new(side: Side, sockets: Sockets<'a>) -> Self {
        Liveness { side, socket: sockets.of(side), other: sockets.of(side.other()), late: None }
    }

    fn look(&mut self, state: &RelayState<'_>) -> Sign {
        let (owes, asked) = match self.socket {
            Socket::Tcp(_) => (unsent(self.socket).held > 0, self.asked_in_vain()),
            Socket::Unix(_) => (state.has_ended(self.side), self.left_nothing()),
        };
        if !owes || asked == 0 {
            self.late = None;
            return if owes { Sign::Answers } else { Sign::NothingOwed };
        }
        let (since, looks) = self.late.unwrap_or((Instant::now(), 0));
        self.late = Some((since, looks + 1));
        if looks >= KEEPALIVE_PROBES && asked >= ASKED_ENOUGH { Sign::Dead } else { Sign::Silent }
    }

    /// How often the kernel has asked without an answer; 0 once there was one since the first late look.
    fn asked_in_vain(&self) -> u32 {
        let Some(answers) = Answers::of(self.socket) else { return 0 };
        let answered = self.late.is_some_and(|(since, _)| answers.last < since.elapsed());
        if answered { 0 } else { answers.asked }
    }

    /// A Unix peer is gone for good once all that it has sent is delivered: nobody is left to ask.
    fn left_nothing(&self) -> u32 {
        let gone = self.socket.has_hung_up() && unsent(self.other).held == 0;
        if gone { ASKED_ENOUGH } else { 0 }
    }
}
