//! The watches over a relay: for a dead side, for silence, for missing answers. Each exists only while it is needed, in
//! a box of its own: the task of an idle connection holds none.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::ending::Ending;
use super::liveness;
use super::side::{Side, Sockets};
use super::state::RelayState;
use crate::model::Timeouts;

/// Resolves with the ending of the connection, or with `None` once it is no longer needed.
type Watch<'a> = Option<Pin<Box<dyn Future<Output = Option<Ending>> + Send + 'a>>>;

/// The watches over one relay.
pub(super) struct Watches<'a> {
    pub state: &'a RelayState<'a>,
    pub sockets: Sockets<'a>,
    timeouts: &'a Timeouts,
    /// For a failure of the client, and of the upstream. Set once nobody reads from that side, or it is dead.
    ends: [Watch<'a>; 2],
    /// For silence. `None` if no timeout is set.
    silence: Watch<'a>,
    /// For missing answers, from the first byte that moved until everything is acknowledged.
    answer: Watch<'a>,
    /// [`RelayState::progress`] when everything had last been answered.
    answered: u64,
}

impl<'a> Watches<'a> {
    pub fn new(state: &'a RelayState<'a>, sockets: Sockets<'a>, timeouts: &'a Timeouts) -> Self {
        let timed = timeouts.idle.is_some() || timeouts.half_close.is_some();
        let silence: Watch<'a> = timed.then(|| {
            let watch = async move { Some(state.silent(timeouts, sockets).await) };
            Box::pin(watch) as Pin<Box<dyn Future<Output = Option<Ending>> + Send + 'a>>
        });
        Watches { state, sockets, timeouts, ends: [None, None], silence, answer: None, answered: 0 }
    }

    /// Polls every watch. Call this after moving what can be moved.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let state = self.state;
        for (watch, side) in self.ends.iter_mut().zip([Side::Client, Side::Upstream]) {
            if watch.is_none() && state.is_unread(side) {
                let (socket, other) = (self.sockets.of(side), self.sockets.of(side.other()));
                *watch = Some(Box::pin(async move { Some(state.abandoned(side, socket, other).await) }));
            }
        }
        if self.answer.is_none()
            && let Some(idle) = self.timeouts.keepalive
            && state.progress() != self.answered
        {
            self.answer = Some(Box::pin(liveness::unanswered(state, self.sockets, idle)));
        }
        let [client, upstream] = &mut self.ends;
        for watch in [client, upstream, &mut self.silence, &mut self.answer] {
            let Some(future) = watch else { continue };
            match future.as_mut().poll(cx) {
                Poll::Ready(Some(ending)) => return Poll::Ready(ending),
                Poll::Ready(None) => {
                    *watch = None;
                    self.answered = state.progress();
                }
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }
}
