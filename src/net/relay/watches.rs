//! What watches over a relay beside the moving of bytes. Each watch exists only while it is needed, in a box of its own:
//! the task of an idle connection holds none.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::ending::Ending;
use super::liveness;
use super::side::{Side, Sockets};
use super::state::RelayState;
use crate::model::Timeouts;

/// Ends with the connection's ending, or with nothing: then it is no longer needed.
type Watch<'a> = Option<Pin<Box<dyn Future<Output = Option<Ending>> + Send + 'a>>>;

/// The watches over one relay.
pub(super) struct Watches<'a> {
    state: &'a RelayState<'a>,
    sockets: Sockets<'a>,
    timeouts: &'a Timeouts,
    /// For the end of the client, and of the upstream: where nobody reads from that side, or it is dead.
    ends: [Watch<'a>; 2],
    /// For silence, where a timeout is set.
    silence: Watch<'a>,
    /// For an answer, from the first byte that moved until all is acknowledged.
    answer: Watch<'a>,
    /// The progress when the last answer had come.
    answered: u64,
}

impl<'a> Watches<'a> {
    pub fn new(state: &'a RelayState<'a>, sockets: Sockets<'a>, timeouts: &'a Timeouts) -> Self {
        let timed = timeouts.idle.is_some() || timeouts.half_close.is_some();
        let silence: Watch<'a> = timed.then(|| {
            let watch = async move { Some(state.silent(timeouts).await) };
            Box::pin(watch) as Pin<Box<dyn Future<Output = Option<Ending>> + Send + 'a>>
        });
        Watches { state, sockets, timeouts, ends: [None, None], silence, answer: None, answered: 0 }
    }

    /// To be called after the bytes that can be moved have been moved.
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
