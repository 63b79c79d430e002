//! The first step: admits or refuses a client. The accept loop decides what it can before a byte is read. The rest is
//! decided once a PROXY header or a hello was read.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::client::{Client, Permits};
use super::preamble::{self, Preamble};
use super::reset::ResetOnDrop;
use crate::model::{Outcome, Peer};
use crate::net::Socket;
use crate::proxy::record::{ListenerEnd, PrereadPlace, RecordGuard, Shared};
use crate::proxy::route::{Admission, Frontend, Listener, LiveRoute, Refusal, UnroutedPermit};
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

/// A client that the listener admits, as far as is known yet.
struct Placed {
    /// What serves it.
    frontend: Arc<Frontend>,
    /// `None`: its route is not known yet.
    admission: Option<Admission>,
    unrouted: Option<Box<UnroutedPermit>>,
}

/// What has become of a client that was accepted.
pub(super) enum Admitted {
    /// It is admitted.
    Client(Client),
    /// There is no permit for it: [`in_turn`] waits for one. Boxed, like every rare path of a listener: there may be ten
    /// thousand listeners.
    Waits(Box<Waiting>),
    /// It is refused, which is counted.
    Refused,
}

/// A client that must wait for a permit: in its socket, those behind it in the kernel's accept queue.
pub(super) struct Waiting {
    slot: WorkerSlot,
    socket: ResetOnDrop,
    peer: Peer,
    /// What the listener served when it came.
    pub frontend: Arc<Frontend>,
    /// Its permit from the limit of the process's connections. `None`: it waits for that one.
    descriptors: Option<OwnedSemaphorePermit>,
}

/// Admits a client, if that is decided at once.
pub(super) fn admit(arrival: Arrival, listener: &Listener, shared: &Arc<Shared>) -> Admitted {
    let Arrival { slot, socket, peer } = arrival;
    let socket = ResetOnDrop::new(socket);
    // First: a refused client takes no permit.
    let frontend = listener.frontend();
    if !frontend.lets_in(&peer) {
        return Admitted::Refused;
    }
    // A trusted proxy is not the client, whom its header will name.
    if frontend.reads_header_of(&peer).is_none() && !shared.has_room_for(&peer) {
        frontend.first().state.refused(Refusal::Share, &peer);
        return Admitted::Refused;
    }
    let mut waiting = Waiting { slot, socket, peer, frontend, descriptors: None };
    waiting.descriptors = shared.connections.try_admit(&listener.addr);
    if waiting.descriptors.is_none() {
        return Admitted::Waits(Box::new(waiting));
    }
    // Nobody overtakes those who wait for a permit of the route.
    let turn = waiting.frontend.first().may_keep_waiting().then(|| listener.turn.try_acquire());
    let placed = match turn.transpose() {
        Ok(_turn) => place(listener, &waiting.frontend, &waiting.peer),
        Err(_) => return Admitted::Waits(Box::new(waiting)),
    };
    match placed {
        Ok(Some(placed)) => Admitted::Client(waiting.admitted(placed, listener, shared)),
        Ok(None) => Admitted::Refused,
        Err(frontend) => Admitted::Waits(Box::new(Waiting { frontend, ..waiting })),
    }
}

/// Waits until there is a permit for a client. `None`: it is refused meanwhile.
pub(super) async fn in_turn(
    mut waiting: Waiting,
    listener: &Listener,
    shared: &Arc<Shared>,
) -> Option<Client> {
    if waiting.descriptors.is_none() {
        waiting.descriptors = Some(shared.connections.admit(&listener.addr).await?);
    }
    let placed = place_in_turn(listener, waiting.frontend.clone(), &waiting.peer).await?;
    Some(waiting.admitted(placed, listener, shared))
}

impl Waiting {
    /// Whether it has its permit from the limit of the process's connections.
    pub fn is_counted(&self) -> bool {
        self.descriptors.is_some()
    }

    fn admitted(self, placed: Placed, listener: &Listener, shared: &Arc<Shared>) -> Client {
        let Waiting { slot, socket, peer, descriptors, .. } = self;
        let Placed { frontend, admission, unrouted } = placed;
        let end = ListenerEnd { addr: &listener.addr, socket: &socket.socket };
        let guard = RecordGuard::open(shared, frontend.owner().clone(), end, peer.clone());
        let preread = if frontend.reads_first(&peer) {
            PrereadPlace::take(&shared.preread, guard.opened(), &peer)
        } else {
            None
        };
        let permits = Box::new(Permits { _descriptors: descriptors, admission, unrouted, preread, slot });
        Client { socket, frontend, permits, guard }
    }
}

/// Admits a client to what the listener serves now. `Ok(None)`: the client is refused. Fails if it must wait for a permit.
fn place(listener: &Listener, asked: &Arc<Frontend>, client: &Peer) -> Result<Option<Placed>, Arc<Frontend>> {
    let frontend = listener.frontend();
    // An edit may have changed the frontend while the client waited.
    if !Arc::ptr_eq(&frontend, asked) && !frontend.lets_in(client) {
        return Ok(None);
    }
    // If a PROXY header will name the client, its own limits are checked once the header is read.
    let known = frontend.reads_header_of(client).is_none().then_some(client);
    let admitted = match (&*frontend, known) {
        (Frontend::Route(live), known) => {
            Admission::admit(&live.state, &live.route.policy.limits, known).map(|permit| (Some(permit), None))
        }
        (Frontend::Sni(_), Some(client)) => frontend.take_unrouted(client).map(|permit| (None, permit)),
        (Frontend::Sni(_), None) => Ok((None, None)),
    };
    match admitted {
        Ok((admission, unrouted)) => Ok(Some(Placed { frontend, admission, unrouted })),
        Err(Refusal::Route) if frontend.first().may_keep_waiting() => Err(frontend),
        Err(refusal) => {
            frontend.first().state.refused(refusal, client);
            Ok(None)
        }
    }
}

/// Like [`place`], but waits for a permit. One client at a time, since several tasks accept.
async fn place_in_turn(listener: &Listener, asked: Arc<Frontend>, client: &Peer) -> Option<Placed> {
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

/// Counts a client that a PROXY header has named, as it would have been counted at its accept without one.
pub(super) fn admit_named(client: &mut Client, preamble: Option<&Preamble>) -> Result<(), Outcome> {
    let Some(named) = &preamble::named(preamble) else { return Ok(()) };
    client.guard.identified(named);
    if let Some(place) = &client.permits.preread {
        place.identified(named);
    }
    let refusal = match client.frontend.take_unrouted(named) {
        Ok(_) if !client.guard.shared().has_room_for(named) => Refusal::Share,
        Ok(permit) => {
            client.permits.unrouted = permit;
            return Ok(());
        }
        Err(refusal) => refusal,
    };
    client.frontend.first().state.refused(refusal, named);
    client.guard.keep_quiet();
    Err(Outcome::Limited)
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
    // From now on it counts for its route.
    client.permits.unrouted = None;
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
