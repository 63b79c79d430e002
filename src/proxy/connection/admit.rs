//! The first step: admits or refuses a client. The accept loop decides what it can before a byte is read. The rest is
//! decided once a PROXY header or a hello was read.

use std::sync::Arc;

use super::client::{Client, Permits};
use super::preamble::Preamble;
use super::reset::ResetOnDrop;
use crate::model::{Outcome, Peer};
use crate::net::Socket;
use crate::proxy::record::{ListenerEnd, RecordGuard, Shared};
use crate::proxy::route::{Admission, Frontend, Listener, LiveRoute, Refusal};
use crate::tasks::WorkerSlot;
use crate::wire::proxy::Addresses;

/// A client that was just accepted.
#[derive(Debug)]
pub(in crate::proxy) struct Arrival {
    /// Its slot on the worker that will serve it.
    pub slot: WorkerSlot,
    pub socket: Socket,
    pub peer: Peer,
}

/// The frontend that serves a client, and its admission if its route is known already. `None`: the client is refused.
type Placed = Option<(Arc<Frontend>, Option<Admission>)>;

/// Admits a client, or counts why it is refused. Waits for a permit if the descriptors or the route have none left;
/// never waits for the client.
pub(super) async fn admit(arrival: Arrival, listener: &Listener, shared: &Arc<Shared>) -> Option<Client> {
    let Arrival { slot, socket, peer } = arrival;
    let socket = ResetOnDrop::new(socket);
    // First: a refused client takes no permit.
    let frontend = listener.frontend();
    if !frontend.lets_in(&peer) {
        return None;
    }
    // The client waits in its socket, those behind it in the kernel's accept queue.
    let descriptors = shared.connections.admit(&listener.addr).await?;
    let placed = match frontend.first().may_keep_waiting() {
        false => place(listener, &frontend, &peer),
        true => Err(frontend),
    };
    let (frontend, admission) = match placed {
        Ok(placed) => placed?,
        // Boxed, like every rare path of a listener: there may be ten thousand listeners.
        Err(frontend) => Box::pin(place_in_turn(listener, frontend, &peer)).await?,
    };
    let end = ListenerEnd { addr: &listener.addr, socket: &socket.socket };
    let guard = RecordGuard::open(shared, frontend.owner().clone(), end, peer);
    let permits = Box::new(Permits { _descriptors: descriptors, admission, slot });
    Some(Client { socket, frontend, permits, guard })
}

/// Admits a client to what the listener serves now. Fails if the client must wait for a permit.
fn place(listener: &Listener, asked: &Arc<Frontend>, client: &Peer) -> Result<Placed, Arc<Frontend>> {
    let frontend = listener.frontend();
    // An edit may have changed the frontend while the client waited.
    if !Arc::ptr_eq(&frontend, asked) && !frontend.lets_in(client) {
        return Ok(None);
    }
    let Frontend::Route(live) = &*frontend else { return Ok(Some((frontend, None))) };
    // If a PROXY header will name the client, its own limits are checked once the header is read.
    let known = live.reads_header_of(client).is_none().then_some(client);
    match Admission::admit(&live.state, &live.route.policy.limits, known) {
        Ok(admission) => Ok(Some((frontend, Some(admission)))),
        Err(Refusal::Route) if live.may_keep_waiting() => Err(frontend),
        Err(refusal) => {
            live.state.refused(refusal, client);
            Ok(None)
        }
    }
}

/// Like [`place`], but waits for a permit. One client at a time, since several tasks accept.
async fn place_in_turn(listener: &Listener, asked: Arc<Frontend>, client: &Peer) -> Placed {
    // The semaphore is never closed.
    let _turn = listener.turn.acquire().await;
    let mut asked = asked;
    loop {
        match place(listener, &asked, client) {
            Ok(placed) => return placed,
            Err(frontend) => {
                wait(listener, &frontend, client).await;
                asked = frontend;
            }
        }
    }
}

/// Waits until the route has a free permit, or an edit changes what the listener serves.
async fn wait(listener: &Listener, frontend: &Arc<Frontend>, client: &Peer) {
    let live = frontend.first();
    let mut freed = std::pin::pin!(live.state.freed().notified());
    let mut changed = std::pin::pin!(listener.changed.notified());
    freed.as_mut().enable();
    changed.as_mut().enable();
    // A change before `enable` has woken nobody, so look again.
    let most = live.route.policy.limits.max_connections.unwrap_or(u32::MAX);
    if live.state.open() < most || !listener.serves(frontend) {
        return;
    }
    live.state.waits(client, most);
    tokio::select! {
        () = freed => {}
        () = changed => {}
    }
}

/// Admits a client to this route by what its preamble says. Without a preamble it was admitted before.
pub(super) fn admit_by_preamble(
    client: &mut Client,
    live: &Arc<LiveRoute>,
    preamble: Option<&Preamble>,
) -> Result<(), Outcome> {
    let Some(preamble) = preamble else { return Ok(()) };
    let peer = client.guard.client();
    // A trusted proxy that connects for itself checks whether we are alive. The lists do not apply to it.
    let own = preamble.header.as_ref().is_some_and(|header| header.addresses == Addresses::Own);
    if !own && !live.admits(&peer) {
        client.guard.keep_quiet();
        return Err(Outcome::Denied);
    }
    let limits = &live.route.policy.limits;
    let admitted = match &mut client.permits.admission {
        // Its address was known at accept, so its own limits are checked already.
        Some(_) if preamble.header.is_none() => Ok(()),
        Some(admission) => admission.identify(limits, &peer),
        none => Admission::admit(&live.state, limits, Some(&peer)).map(|admission| *none = Some(admission)),
    };
    admitted.map_err(|refusal| {
        live.state.refused(refusal, &peer);
        client.guard.keep_quiet();
        Outcome::Limited
    })
}
