//! A connection whose relay has paused moves to another process, or goes on.

use super::client::Client;
use super::connect::Upstream;
use crate::model::Outcome;
use crate::net::relay::Halfway;
use crate::proxy::record::{Offer, Verdict};

/// Offers a connection whose relay has paused to whoever has asked for it. Returns what it goes on with, or with which
/// outcome it is over here.
pub(super) async fn offer(
    client: &mut Client,
    upstream: &mut Upstream,
    halfway: Box<Halfway>,
) -> Result<Box<Halfway>, Outcome> {
    let Some(to) = client.guard.opened().paused() else { return Ok(halfway) };
    let sockets = [&client.socket.socket, &upstream.socket.socket];
    let (offer, verdict) = Offer::new(client.guard.opened().id, sockets, halfway);
    // If nobody takes it, it goes on.
    drop(to.try_send(offer));
    drop(to);
    match verdict.await {
        Ok(Verdict::GoOn(halfway)) => Ok(halfway),
        Ok(Verdict::Moved) => {
            client.socket.needs_no_reset();
            upstream.socket.needs_no_reset();
            // The other process writes the record.
            client.guard.keep_quiet();
            Err(Outcome::Drained)
        }
        Ok(Verdict::Lost) | Err(_) => Err(Outcome::UpgradeFailed),
    }
}
