//! Relays a connection, and maps how it ended to an outcome.

use std::future::{pending, poll_fn};
use std::task::Poll;

use super::client::Client;
use super::connect::Upstream;
use super::cut::CutSignal;
use super::offer::offer;
use crate::model::Outcome;
use crate::net::relay::{Ending, Halfway, RelayRules, Side, relay};
use crate::proxy::route::LiveRoute;

/// Moves bytes until the connection has ended, or is cut. `from`: where another process has left it.
#[expect(clippy::manual_async_fn, reason = "an `async fn` would keep each argument twice in the task")]
pub(super) fn run<'a>(
    client: &'a mut Client,
    live: &'a LiveRoute,
    upstream: &'a mut Upstream,
    mut from: Option<Box<Halfway>>,
) -> impl Future<Output = Result<Outcome, Outcome>> + Send + 'a {
    async move {
        if !upstream.has_tls() {
            poll_fn(|cx| {
                client.guard.opened().may_pause(cx.waker().clone());
                Poll::Ready(())
            })
            .await;
        }
        let policy = &live.route.policy;
        let rules =
            RelayRules { mode: policy.relay, bandwidth: &policy.bandwidth, timeouts: &policy.timeouts };
        let ending = loop {
            let (streams, cut) = upstream.streams(&client.socket.socket);
            let relayed = tokio::select! {
                biased;
                relayed = relay(streams, &rules, client.guard.traffic(), from.take()) => relayed,
                outcome = is_cut(cut), if cut.is_some() => return Err(outcome),
            };
            match relayed {
                Ok(ending) => break ending,
                // It may move to another process now.
                Err(halfway) => from = Some(Box::pin(offer(client, upstream, halfway)).await?),
            }
        };
        if let Ending::Closed(_) = ending {
            client.socket.needs_no_reset();
            upstream.socket.needs_no_reset();
        }
        upstream.note_faults(&mut client.guard);
        Ok(outcome(ending))
    }
}

/// Boxed: few routes use it, and it would make every connection's task larger.
async fn is_cut(cut: &mut Option<Box<CutSignal>>) -> Outcome {
    match cut {
        Some(cut) => Box::pin(cut.wait()).await,
        None => pending().await,
    }
}

fn outcome(ending: Ending) -> Outcome {
    match ending {
        Ending::Closed(Side::Client) => Outcome::ClientClosed,
        Ending::Closed(Side::Upstream) => Outcome::UpstreamClosed,
        Ending::Reset(Side::Client) => Outcome::ClientReset,
        Ending::Reset(Side::Upstream) => Outcome::UpstreamReset,
        Ending::Lost(Side::Client) => Outcome::ClientLost,
        Ending::Lost(Side::Upstream) => Outcome::UpstreamLost,
        Ending::Idle => Outcome::Idle,
        Ending::HalfClose => Outcome::HalfCloseTimeout,
    }
}
