//! The first step: whether a client comes in. What can be said before anything is read of it is said in the accept loop,
//! the rest once a PROXY header or a hello has told more.

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
    /// Its place on the thread that will serve it.
    pub slot: WorkerSlot,
    pub socket: Socket,
    pub peer: Peer,
}

/// What serves a client, and its place there. `None`: it does not come in.
type Placed = Option<(Arc<Frontend>, Option<Admission>)>;

/// Lets a client in, or counts why not. Waits for a place where the descriptors or the route have none; never for the
/// client.
pub(super) async fn admit(arrival: Arrival, listener: &Listener, shared: &Arc<Shared>) -> Option<Client> {
    let Arrival { slot, socket, peer } = arrival;
    let socket = ResetOnDrop::new(socket);
    // First: who may not come in takes nothing up.
    let frontend = listener.frontend();
    if !frontend.lets_in(&peer) {
        return None;
    }
    // The client waits in its socket, those behind it in the kernel's queue.
    let descriptors = shared.connections.admit(&listener.addr).await?;
    let placed = match frontend.first().may_keep_waiting() {
        false => place(listener, &frontend, &peer),
        true => Err(frontend),
    };
    let (frontend, admission) = match placed {
        Ok(placed) => placed?,
        // In a box, as all that a listener needs room for but seldom: there may be ten thousand.
        Err(frontend) => Box::pin(place_in_turn(listener, frontend, &peer)).await?,
    };
    let end = ListenerEnd { addr: &listener.addr, socket: &socket.socket };
    let guard = RecordGuard::open(shared, frontend.owner().clone(), end, peer);
    let permits = Box::new(Permits { _descriptors: descriptors, admission, slot });
    Some(Client { socket, frontend, permits, guard })
}

/// A place at what the listener serves now. Fails where the client is to wait for one.
fn place(listener: &Listener, asked: &Arc<Frontend>, client: &Peer) -> Result<Placed, Arc<Frontend>> {
    let frontend = listener.frontend();
    // An edit may have come while it waited.
    if !Arc::ptr_eq(&frontend, asked) && !frontend.lets_in(client) {
        return Ok(None);
    }
    let Frontend::Route(live) = &*frontend else { return Ok(Some((frontend, None))) };
    // Whom a header will name is counted as a client when the header has come.
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

/// The same as soon as there is a place, one client after the other: several tasks accept.
async fn place_in_turn(listener: &Listener, asked: Arc<Frontend>, client: &Peer) -> Placed {
    // Nobody closes it.
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

/// Waits until a place of the route is free, or an edit changes what the listener serves.
async fn wait(listener: &Listener, frontend: &Arc<Frontend>, client: &Peer) {
    let live = frontend.first();
    let mut freed = std::pin::pin!(live.state.freed().notified());
    let mut changed = std::pin::pin!(listener.changed.notified());
    freed.as_mut().enable();
    changed.as_mut().enable();
    // What has happened since the caller looked woke nobody.
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

/// Lets a client of this route in by what the preamble has said of it, where there was one.
pub(super) fn admit_by_preamble(
    client: &mut Client,
    live: &Arc<LiveRoute>,
    preamble: Option<&Preamble>,
) -> Result<(), Outcome> {
    let Some(preamble) = preamble else { return Ok(()) };
    let peer = client.guard.client();
    // A trusted proxy that connects for itself wants to know whether we live.
    let own = preamble.header.as_ref().is_some_and(|header| header.addresses == Addresses::Own);
    if !own && !live.admits(&peer) {
        client.guard.keep_quiet();
        return Err(Outcome::Denied);
    }
    let limits = &live.route.policy.limits;
    let admitted = match &mut client.permits.admission {
        // It was known who it is when it came.
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
