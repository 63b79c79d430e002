//! Finds dead peers that keepalive misses (rule 5, and a dead peer with data in flight to it).
//!
//! * Linux probes an idle connection only. With unacknowledged data it retransmits instead, and gives up after some 15
//!   minutes (`tcp_retries2`). `TCP_USER_TIMEOUT` is no cure: it also ends a connection whose peer lives and answers,
//!   but does not read (`tcp_probe_timer` in the kernel; tried on Linux 6.18: set to 5 s, the connection lived 5.6 s).
//! * A Unix socket has no keepalive. If a peer has sent FIN and then closes, only a write to it notices.
//!
//! So a relay looks by itself, as often as keepalive would: only while bytes are in flight, and at no cost otherwise.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::ending::Ending;
use super::side::{Side, Sockets};
use super::state::{RelayState, unsent};
use crate::net::Socket;
use crate::net::options::{KEEPALIVE_PROBES, keepalive_interval};
use crate::net::queue::Answers;

/// Unanswered retransmissions and probes that mark a peer as dead. One lost packet is not enough, even if the kernel
/// asks only every two minutes.
const ASKED_ENOUGH: u32 = 3;

/// Resolves when a side has been silent for longer than keepalive with the idle time `idle` would allow; or with `None`
/// when both sides have answered everything that was sent to them.
pub(super) async fn unanswered(
    state: &RelayState<'_>,
    sockets: Sockets<'_>,
    idle: Duration,
) -> Option<Ending> {
    sleep(idle).await;
    // Boxed: by now most have answered, and what each connection keeps until then is small.
    Box::pin(owed(state, sockets, idle)).await
}

/// Looks at both sides from now on.
async fn owed(state: &RelayState<'_>, sockets: Sockets<'_>, idle: Duration) -> Option<Ending> {
    let mut sides = [Side::Client, Side::Upstream].map(|side| Liveness::new(side, sockets));
    loop {
        let looks = sides.each_mut().map(|side| (side.look(state), side.side));
        if let Some((_, side)) = looks.iter().find(|(look, _)| *look == Sign::Dead) {
            return Some(Ending::Lost(*side));
        }
        if looks.iter().all(|(look, _)| *look == Sign::NothingOwed) {
            return None;
        }
        let suspected = looks.iter().any(|(look, _)| *look == Sign::Silent);
        sleep(if suspected { keepalive_interval(idle) } else { idle }).await;
    }
}

/// What a look at one side shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// It has nothing to answer.
    NothingOwed,
    /// It owes an answer, but is not late, or has answered since the last look.
    Answers,
    /// It owes an answer and is late.
    Silent,
    /// It has been late for too long.
    Dead,
}

/// Watches one side.
struct Liveness<'a> {
    side: Side,
    socket: &'a Socket,
    other: &'a Socket,
    /// Since when it has been late, and for how many looks. `None`: it is not late.
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

    /// Unanswered retransmissions and probes. 0 if the peer has answered since the first late look.
    fn asked_in_vain(&self) -> u32 {
        let Some(answers) = Answers::of(self.socket) else { return 0 };
        let answered = self.late.is_some_and(|(since, _)| answers.last < since.elapsed());
        if answered { 0 } else { answers.asked }
    }

    /// [`ASKED_ENOUGH`] if a Unix peer has closed and everything that it sent is delivered: nobody is left to ask. Else
    /// 0.
    fn left_nothing(&self) -> u32 {
        let gone = self.socket.has_hung_up() && unsent(self.other).held == 0;
        if gone { ASKED_ENOUGH } else { 0 }
    }
}
