//! The loop of every relay.

use std::future::poll_fn;
use std::task::{Context, Poll};

use super::ending::Ending;
use super::side::Sockets;
use super::state::RelayState;
use super::watches::Watches;
use crate::model::Timeouts;

/// Calls `turn`, which moves what can be moved, and polls the watches, until the connection has ended. `None`: it is to pause,
/// and `turn` has said that nothing is under way.
///
/// No `async fn`, which would keep each argument twice in the task of every connection.
pub(super) fn supervise<'a>(
    state: &'a RelayState<'a>,
    sockets: Sockets<'a>,
    timeouts: &'a Timeouts,
    mut turn: impl FnMut(&mut Context<'_>) -> bool,
) -> impl Future<Output = Option<Ending>> {
    let mut watches = Watches::new(state, sockets, timeouts);
    let mut is_new = true;
    poll_fn(move |cx| {
        let settled = turn(cx);
        let state = watches.state;
        // Who has nothing to send waits for an upstream that may be the first to speak.
        if std::mem::take(&mut is_new) && state.has_sent_nothing_up() {
            watches.sockets.upstream.acknowledge();
        }
        match state.verdict() {
            Some(ending) => Poll::Ready(Some(ending)),
            None if state.pauses(settled) => Poll::Ready(None),
            None => watches.poll(cx).map(Some),
        }
    })
}
