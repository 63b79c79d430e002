//! `when_down = "hold 10s"`: a client waits for an upstream to come back.

use std::time::Duration;

use tokio::time::sleep;

use super::attempt::ForClient;
use super::walk::{Dialed, walk};
use crate::model::Outcome;
use crate::net::within;
use crate::proxy::record::RecordGuard;
use crate::proxy::route::LiveRoute;

/// How often one of the waiting clients tries, on behalf of all.
const TRY_INTERVAL: Duration = Duration::from_millis(100);

/// Waits until an upstream connects, for `at_most`. `failed` is the outcome of the first walk, and returned on timeout.
pub(super) async fn until_back(
    client: ForClient<'_>,
    live: &LiveRoute,
    at_most: Duration,
    failed: Outcome,
    guard: &mut RecordGuard,
) -> Result<Dialed, Outcome> {
    // Subscribe before the first try, so that nothing is missed.
    let (mut served, mut news) = (live.held().subscribe(), live.news());
    let route = &live.route.name;
    let Some(place) = live.held().take(route, &guard.client()) else { return Err(failed) };
    let mut came_back = async || {
        loop {
            tokio::select! {
                _ = served.changed() => return,
                _ = news.changed() => if live.is_any_up() { return },
            }
        }
    };
    let connected = async {
        loop {
            let scout = tokio::select! {
                biased;
                () = came_back() => None,
                scout = live.held().scout.acquire() => scout.ok(),
            };
            if scout.is_some() {
                tokio::select! {
                    () = came_back() => {}
                    () = sleep(TRY_INTERVAL) => {}
                }
            }
            live.held().turn().await;
            match walk(client, live, guard).await {
                Err(Outcome::ConnectFailed | Outcome::Limited | Outcome::Loop) => {}
                ended => return ended,
            }
        }
    };
    let has_ended = async {
        client.socket.ended().await;
        place.has_ended(route);
        place.gives_way().await;
    };
    tokio::select! {
        biased;
        connected = within(at_most, connected) => return connected.unwrap_or(Err(failed)),
        () = place.gives_way() => {}
        () = has_ended => {}
    }
    guard.failed_attempt("it waited for an upstream, and has given its place to another");
    Err(Outcome::Evicted)
}
