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
pub(super) async fn supervise(
    state: &RelayState<'_>,
    sockets: Sockets<'_>,
    timeouts: &Timeouts,
    mut turn: impl FnMut(&mut Context<'_>) -> bool,
) -> Option<Ending> {
    let mut watches = Watches::new(state, sockets, timeouts);
    let mut is_new = true;
    poll_fn(|cx| {
        let settled = turn(cx);
        // Who has nothing to send waits for an upstream that may be the first to speak.
        if std::mem::take(&mut is_new) && state.has_sent_nothing_up() {
            sockets.upstream.acknowledge();
        }
        match state.verdict() {
            Some(ending) => Poll::Ready(Some(ending)),
            None if state.pauses(settled) => Poll::Ready(None),
            None => watches.poll(cx).map(Some),
        }
    })
    .await
}
