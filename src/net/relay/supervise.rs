//! The loop of every relay.

use std::future::poll_fn;
use std::task::{Context, Poll};

use super::ending::Ending;
use super::side::Sockets;
use super::state::RelayState;
use super::watches::Watches;
use crate::model::Timeouts;

/// Calls `turn`, which moves what can be moved, and polls the watches, until the connection has ended.
pub(super) async fn supervise(
    state: &RelayState<'_>,
    sockets: Sockets<'_>,
    timeouts: &Timeouts,
    mut turn: impl FnMut(&mut Context<'_>),
) -> Ending {
    let mut watches = Watches::new(state, sockets, timeouts);
    poll_fn(|cx| {
        turn(cx);
        match state.verdict() {
            Some(ending) => Poll::Ready(ending),
            None => watches.poll(cx),
        }
    })
    .await
}
