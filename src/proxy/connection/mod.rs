//! The life of one connection, step by step in `serve`. Each step has its own file.

mod admit;
mod attempt;
mod client;
mod connect;
mod cut;
mod handshake;
mod header;
mod hold;
mod offer;
mod preamble;
mod race;
mod relay;
mod reset;
mod resume;
mod walk;

use std::sync::Arc;

pub(super) use admit::Arrival;
pub use resume::resume;
use tokio::sync::oneshot;

use super::record::Shared;
use super::route::{Listener, LiveRoute};
use admit::{Admitted, Waiting};
use client::Client;
use preamble::Preamble;

/// A client that must wait for a permit.
pub(super) struct Wait {
    /// Whether it has its permit from the limit of the process's connections.
    pub is_counted: bool,
    decided: oneshot::Receiver<()>,
}

impl Wait {
    /// Resolves once the client is admitted or refused.
    pub async fn decided(self) {
        // An error says that it is decided.
        drop(self.decided.await);
    }
}

/// The whole life of one connection: admit → preamble → route → connect → relay → record.
///
/// The accept loop awaits admission, which may wait for a permit (returned here) but never for the client. The rest is a task of
/// the first route of the address, and of the route that serves the client once that is known.
pub(super) fn serve(arrival: Arrival, listener: &Arc<Listener>, shared: &Arc<Shared>) -> Option<Wait> {
    match admit::admit(arrival, listener, shared) {
        Admitted::Client(client) => begin(client),
        Admitted::Waits(waiting) => return Some(wait(*waiting, listener.clone(), shared.clone())),
        Admitted::Refused => {}
    }
    None
}

/// Admits a client once there is a permit for it, in a task of its own: the accept loop may end, and the client stays.
fn wait(waiting: Waiting, listener: Arc<Listener>, shared: Arc<Shared>) -> Wait {
    let (is_decided, decided) = oneshot::channel();
    let (is_counted, owner) = (waiting.is_counted(), waiting.frontend.first().clone());
    owner.connections.spawn(async move {
        if let Some(client) = admit::in_turn(waiting, &listener, &shared).await {
            begin(client);
        }
        drop(is_decided);
    });
    Wait { is_counted, decided }
}

fn begin(mut client: Client) {
    let worker = client.permits.slot.worker().clone();
    let _on_its_thread = worker.enter();
    let (open, first) = (client.guard.opened().clone(), client.frontend.first().clone());

    open.runs_as(first.connections.spawn_in_turn(small(async move {
        let found = async {
            let mut preamble = preamble::read(&mut client).await?;
            admit::admit_named(&mut client, preamble.as_deref())?;
            let live = preamble::route(&mut client, preamble.as_deref_mut()).await?;
            admit::admit_by_preamble(&mut client, &live, preamble.as_deref())?;
            Ok((live, preamble))
        };
        match found.await {
            Ok((live, preamble)) => Some((live.connections.clone(), small(converse(client, live, preamble)))),
            Err(outcome) => {
                client.guard.ended(outcome);
                None
            }
        }
    })));

    #[expect(clippy::manual_async_fn, reason = "an `async fn` would keep each argument twice in the task")]
    fn converse(
        mut client: Client,
        live: Arc<LiveRoute>,
        mut preamble: Option<Box<Preamble>>,
    ) -> impl Future<Output = ()> + Send {
        async move {
            let ended = async {
                handshake::accept(&mut client, &live, preamble.as_deref_mut()).await?;
                client.heard(preamble.as_ref().map_or(0, |preamble| preamble.first.len()));
                client.guard.admitted();
                let mut upstream = connect::connect(&mut client, &live, preamble).await?;
                relay::run(&mut client, &live, &mut upstream, None).await
            };
            let outcome = ended.await.unwrap_or_else(|outcome| outcome);
            client.guard.ended(outcome);
        }
    }
}

/// Bounds the size of a connection's task. A task is as large as the largest branch of its future, and every idle
/// connection has one.
fn small<F: Future>(task: F) -> F {
    const { assert!(size_of::<F>() <= 600, "the task of a connection is too large") };
    task
}
