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

use super::ending::{Pair, unsent};
use super::{Ending, Side};
use crate::net::queue::Answers;
use crate::net::{KEEPALIVE_PROBES, Socket, keepalive_interval};

/// How often the kernel must have asked in vain: one lost packet is no death, even where it asks every two minutes.
const ASKED_ENOUGH: u32 = 3;

/// Resolves when a side has not answered for as long as keepalive, whose idle time is `idle`, would allow; or, with
/// `None`, when both have answered all that was sent to them.
pub(super) async fn unanswered(
    pair: &Pair<'_>,
    client: &Socket,
    upstream: &Socket,
    idle: Duration,
) -> Option<Ending> {
    let mut vigils =
        [Vigil::new(Side::Client, client, upstream), Vigil::new(Side::Upstream, upstream, client)];
    let mut period = idle;
    loop {
        sleep(period).await;
        let looks = vigils.each_mut().map(|vigil| (vigil.look(pair), vigil.side));
        if let Some((_, side)) = looks.iter().find(|(look, _)| *look == Look::Dead) {
            return Some(Ending::Lost(*side));
        }
        if looks.iter().all(|(look, _)| *look == Look::NothingOwed) {
            return None;
        }
        let suspected = looks.iter().any(|(look, _)| *look == Look::Silent);
        period = if suspected { keepalive_interval(idle) } else { idle };
    }
}

/// What a look at one side shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
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
struct Vigil<'a> {
    side: Side,
    socket: &'a Socket,
    other: &'a Socket,
    /// Since when it has been late, and for how many looks.
    late: Option<(Instant, u32)>,
}

impl<'a> Vigil<'a> {
    fn new(side: Side, socket: &'a Socket, other: &'a Socket) -> Self {
        Vigil { side, socket, other, late: None }
    }

    fn look(&mut self, pair: &Pair<'_>) -> Look {
        let (owes, asked) = match self.socket {
            Socket::Tcp(_) => (unsent(self.socket).held > 0, self.asked_in_vain()),
            Socket::Unix(_) => (pair.has_ended(self.side), self.left_nothing()),
        };
        if !owes || asked == 0 {
            self.late = None;
            return if owes { Look::Answers } else { Look::NothingOwed };
        }
        let (since, looks) = self.late.unwrap_or((Instant::now(), 0));
        self.late = Some((since, looks + 1));
        if looks >= KEEPALIVE_PROBES && asked >= ASKED_ENOUGH { Look::Dead } else { Look::Silent }
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
