//! The accept loop of one listener. It awaits no peer, and no error ends it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;
use tracing::{info, warn};

use super::gate::{Pass, Refusal};
use super::ingress::{self, Heard};
use super::record::Ledger;
use super::severed::Severed;
use super::{Door, Lead, Shared, connection};
use crate::model::Peer;
use crate::net::{Accepted, Acceptor, Socket};
use crate::tasks::{Crew, Seat, Worker};

/// How long accepting pauses when the system has no more to give.
const PAUSE: Duration = Duration::from_millis(200);
/// So many aborted connections in a row are no clients any more, but a fault that must not cost a processor.
const IN_A_ROW: u32 = 64;

/// An accepted client, and the right to serve it.
#[derive(Debug)]
pub struct Client {
    /// Its socket.
    pub(super) socket: Severed,
    /// Who it is, and what it takes up. In a box: it is moved from hand to hand, and a task keeps room for it in each.
    pub stay: Box<Stay>,
    /// Its story so far.
    pub(super) ledger: Ledger,
    /// What was read of it before it was known where it is led, where something was.
    pub(super) heard: Option<Box<Heard>>,
}

/// Whose a connection is, and what it takes up: given back when it has ended.
#[derive(Debug)]
pub struct Stay {
    /// Its share of the descriptors.
    pub permit: OwnedSemaphorePermit,
    /// Its place among the clients of the route, once that is known.
    pub pass: Option<Pass>,
    /// Its place on the thread that serves it.
    pub seat: Seat,
}

/// Takes connections until its task is ended.
pub async fn serve(acceptor: Acceptor, worker: Arc<Worker>, door: Arc<Door>, shared: Arc<Shared>) {
    let mut aborted = 0_u32;
    loop {
        match acceptor.accept().await.and_then(|accepted| seated(accepted, &shared.crew, &worker)) {
            Ok((seat, socket, peer)) => {
                aborted = 0;
                if door.failing.ends() {
                    info!(listener = %door.addr, "accepting again");
                }
                // Before anything else: who may not come in costs no permit.
                let lead = door.lead.load_full();
                let socket = Severed::unless_told(socket);
                if !lead.lets_in(&peer) {
                    continue;
                }
                // The client waits in its socket, those behind it in the kernel's queue.
                let Some(permit) = shared.budget.admit(&door.addr).await else { return };
                let passed = match lead.may_keep_waiting() {
                    false => pass(&door, &lead, &peer),
                    true => Err(lead),
                };
                let passed = match passed {
                    Ok(passed) => passed,
                    // In a box, as all that a listener needs room for but seldom: there can be ten thousand.
                    Err(lead) => Box::pin(pass_in_turn(&door, lead, &peer)).await,
                };
                let Some((lead, pass)) = passed else { continue };
                let reads_first = lead.reads_first(&peer);
                let ledger = Ledger::open(&shared, lead.front(), (&door.addr, peer), &socket.socket);
                let (open, owner) = (ledger.opened(), lead.clone());
                let there = seat.worker().clone();
                let _there = there.enter();
                let stay = Box::new(Stay { permit, pass, seat });
                let client = Client { socket, stay, ledger, heard: None };
                open.runs_as(match reads_first {
                    false => owner.connections.spawn(connection::serve(client, lead)),
                    true => owner.connections.spawn(ingress::serve(client, lead)),
                });
            }
            Err(error) if of_one_client(&error) => {
                aborted = aborted.wrapping_add(1);
                if aborted.is_multiple_of(IN_A_ROW) {
                    pause().await;
                }
            }
            Err(error) => {
                if door.failing.goes_on() {
                    warn!(listener = %door.addr, %error, "cannot accept: trying again until it works");
                }
                pause().await;
            }
        }
    }
}

/// A client's socket on the thread that will serve it.
fn seated(accepted: Accepted, crew: &Crew, near: &Arc<Worker>) -> io::Result<(Seat, Socket, Peer)> {
    let seat = crew.seat(near);
    let (socket, peer) = {
        let _there = seat.worker().enter();
        accepted.here()?
    };
    Ok((seat, socket, peer))
}

async fn pause() {
    Box::pin(sleep(PAUSE)).await;
}

/// Where a client is led, and its place there. `None`: it does not come in.
type Passed = Option<(Arc<Lead>, Option<Pass>)>;

/// Where the door leads now, and a client's place there. Fails where the client is to wait for one.
fn pass(door: &Door, asked: &Arc<Lead>, client: &Peer) -> Result<Passed, Arc<Lead>> {
    let lead = door.lead.load_full();
    // An edit may have come while it waited.
    if !Arc::ptr_eq(&lead, asked) && !lead.lets_in(client) {
        return Ok(None);
    }
    if lead.fork.is_some() {
        return Ok(Some((lead, None)));
    }
    // Of whom a header will tell, more is counted when it has come.
    let known = lead.reads_header_of(client).is_none().then_some(client);
    match lead.gate.enter(&lead.route.policy.clients, known) {
        Ok(pass) => Ok(Some((lead, Some(pass)))),
        Err(Refusal::Route) if lead.may_keep_waiting() => Err(lead),
        Err(refusal) => {
            lead.gate.refused(refusal, client);
            Ok(None)
        }
    }
}

/// The same when there is a place, one client after the other: those who take connections are several.
async fn pass_in_turn(door: &Door, asked: Arc<Lead>, client: &Peer) -> Passed {
    // Nobody closes it.
    let _turn = door.turn.acquire().await;
    let mut asked = asked;
    loop {
        match pass(door, &asked, client) {
            Ok(passed) => return passed,
            Err(lead) => {
                lead.gate.wait(&lead, door, client).await;
                asked = lead;
            }
        }
    }
}

/// Errors that concern the one connection that was to be accepted (accept(2): "treat like EAGAIN by retrying").
fn of_one_client(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        errno,
        Some(
            Errno::CONNABORTED
                | Errno::PROTO
                | Errno::INTR
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::OPNOTSUPP
                | Errno::NETUNREACH
                | Errno::PERM
        )
    )
}
