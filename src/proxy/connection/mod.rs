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

/// The whole life of one connection: admit → preamble → route → connect → relay → record.
///
/// The accept loop awaits admission, which may wait for a permit but never for the client. The rest is a task of the
/// first route of the address, and of the route that serves the client once that is known.
pub(super) async fn serve(arrival: Arrival, listener: &Arc<Listener>, shared: &Arc<Shared>) {
    match admit::admit(arrival, listener, shared) {
        Admitted::Client(client) => begin(client),
        // An error says that it is decided.
        Admitted::Waits(waiting) => drop(wait(*waiting, listener.clone(), shared.clone()).await),
        Admitted::Refused => {}
    }
}

/// Like [`serve`], for a socket that is about to close: clients behind one that waits for a permit of the route would be reset.
/// What bounds them is the limit of the process.
pub(super) async fn serve_last(arrival: Arrival, listener: &Arc<Listener>, shared: &Arc<Shared>) {
    match admit::admit(arrival, listener, shared) {
        Admitted::Waits(waiting) if waiting.is_counted() => {
            drop(wait(*waiting, listener.clone(), shared.clone()));
        }
        Admitted::Waits(waiting) => drop(wait(*waiting, listener.clone(), shared.clone()).await),
        Admitted::Client(client) => begin(client),
        Admitted::Refused => {}
    }
}

/// Admits a client once there is a permit for it, in a task of its own: the accept loop may end, and the client stays. Resolves
/// once that is decided.
fn wait(waiting: Waiting, listener: Arc<Listener>, shared: Arc<Shared>) -> oneshot::Receiver<()> {
    let (is_decided, decided) = oneshot::channel();
    let owner = waiting.frontend.first().clone();
    owner.connections.spawn(async move {
        if let Some(client) = admit::in_turn(waiting, &listener, &shared).await {
            begin(client);
        }
        drop(is_decided);
    });
    decided
}

fn begin(mut client: Client) {
    let worker = client.permits.slot.worker().clone();
    let _on_its_thread = worker.enter();
    let (open, first) = (client.guard.opened().clone(), client.frontend.first().clone());
    let owner = first.clone();

    open.runs_as(owner.connections.spawn(small(async move {
        let found = async {
            let mut preamble = preamble::read(&mut client).await?;
            admit::admit_named(&mut client, preamble.as_deref())?;
            let live = preamble::route(&mut client, preamble.as_deref_mut()).await?;
            admit::admit_by_preamble(&mut client, &live, preamble.as_deref())?;
            Ok((live, preamble))
        };
        match found.await {
            Ok((live, preamble)) if Arc::ptr_eq(&live, &first) => {
                converse(&mut client, &live, preamble).await
            }
            Ok((live, preamble)) => {
                let (open, owner) = (client.guard.opened().clone(), live.clone());
                open.runs_as(
                    owner.connections.spawn(async move { converse(&mut client, &live, preamble).await }),
                );
            }
            Err(outcome) => client.guard.ended(outcome),
        }
    })));

    async fn converse(client: &mut Client, live: &LiveRoute, mut preamble: Option<Box<Preamble>>) {
        let ended = async {
            handshake::accept(client, live, preamble.as_deref_mut()).await?;
            client.heard(preamble.as_ref().map_or(0, |preamble| preamble.first.len()));
            client.guard.admitted();
            let mut upstream = connect::connect(client, live, preamble).await?;
            relay::run(client, live, &mut upstream, None).await
        };
        let outcome = ended.await.unwrap_or_else(|outcome| outcome);
        client.guard.ended(outcome);
    }
}

/// Bounds the size of a connection's task. A task is as large as the largest branch of its future, and every idle
/// connection has one.
fn small<F: Future>(task: F) -> F {
    const { assert!(size_of::<F>() <= 840, "the task of a connection is too large") };
    task
}
