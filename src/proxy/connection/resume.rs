//! A connection that another process has begun goes on in this one.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::client::{Client, Permits};
use super::connect::Upstream;
use super::cut::{CutSignal, DownCount};
use super::relay;
use super::reset::ResetOnDrop;
use crate::model::{Peer, UpstreamAddr};
use crate::net::Socket;
use crate::net::relay::Halfway;
use crate::proxy::record::{Connected, ListenerEnd, RecordGuard, Shared};
use crate::proxy::route::{Admission, Candidate, Listener};
use crate::state::moved::MovedConnection;

/// Goes on with a connection that another process has begun. Returns whether that is possible: its route still has this
/// upstream.
pub fn resume(
    moved: &MovedConnection,
    fds: Vec<OwnedFd>,
    listener: &Arc<Listener>,
    shared: &Arc<Shared>,
) -> bool {
    // Until all is there nothing may be reset on drop: the other process still has it.
    try_resume(moved, fds, listener, shared).is_some()
}

fn try_resume(
    moved: &MovedConnection,
    fds: Vec<OwnedFd>,
    listener: &Arc<Listener>,
    shared: &Arc<Shared>,
) -> Option<()> {
    let frontend = listener.frontend();
    let live = frontend.routes().iter().find(|live| live.route.name == moved.route)?.clone();
    let (named, peer) = (moved.client.parse::<Peer>().ok()?, moved.address.parse::<Peer>().ok()?);
    let candidates = live.candidates();
    let candidate = candidates.list().iter().find(|candidate| leads_to(candidate, moved, &peer))?;
    let slot = shared.workers.slot(&shared.workers.next());
    let worker = slot.worker().clone();
    let _on_its_thread = worker.enter();
    let mut fds = fds.into_iter();
    let mut socket = || Socket::adopt(fds.next()?).ok();
    let (client, upstream) = (socket()?, socket()?);
    let halfway = Box::new(Halfway::heard(moved, &mut fds)?);

    let socket = ResetOnDrop::new(client);
    let end = ListenerEnd { addr: &listener.addr, socket: &socket.socket };
    let mut guard = RecordGuard::resume(shared, live.clone(), end, named.clone(), moved);
    let load = candidate.endpoint.state.resume();
    let downs = DownCount { connects: load.losses(), checks: candidate.checked_downs() };
    let cut = CutSignal::of(candidate, &live.route.policy, &peer, downs);
    let cut = cut.map(|cut| cut.aged(Duration::from_micros(moved.age)));
    let to = match &peer {
        Peer::Ip(to) => Some(*to),
        Peer::Unix(_) => None,
    };
    guard.stays_connected(Connected { written: candidate.written.clone(), peer }, &candidate.tally);
    let mut upstream = Upstream::resume(ResetOnDrop::new(upstream), cut, load);
    guard.set_upstream_socket(&upstream.socket.socket, guard.opened().age());
    if let (UpstreamAddr::Original, Some(to)) = (candidate.endpoint.state.addr(), to) {
        let open: Weak<Socket> = Arc::downgrade(&upstream.socket.socket);
        live.dialled(upstream.socket.socket.local(), to, open);
    }
    let permits = Box::new(Permits {
        _descriptors: shared.connections.keep(&listener.addr),
        admission: Some(Admission::resume(&live.state, &live.route.policy.limits, &named)),
        unrouted: None,
        preread: None,
        slot,
    });
    let (open, owner) = (guard.opened().clone(), live.clone());
    let mut client = Client { socket, frontend, permits, guard };
    open.runs_as(owner.connections.spawn(async move {
        let ended = relay::run(&mut client, &live, &mut upstream, Some(halfway)).await;
        client.guard.ended(ended.unwrap_or_else(|outcome| outcome));
    }));
    Some(())
}

/// Whether a candidate is the upstream of a connection, at the address that was connected.
fn leads_to(candidate: &Candidate, moved: &MovedConnection, peer: &Peer) -> bool {
    let same = match candidate.endpoint.state.addr() {
        // The port may be another one of the range.
        UpstreamAddr::Ip(addr) => peer.ip() == Some(addr.ip().to_canonical()),
        UpstreamAddr::Unix(_) | UpstreamAddr::Original => true,
        UpstreamAddr::Name(..) => false,
    };
    same && candidate.written.to_string() == moved.upstream
}
