//! The accept loop of one listener. It awaits no peer, and no error ends it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;
use tracing::{info, warn};

use super::budget::Episode;
use super::{Door, Shared, connection};
use crate::model::Peer;
use crate::net::{Listener, Socket};

/// How long accepting pauses when the system has no more to give.
const PAUSE: Duration = Duration::from_millis(200);
/// So many aborted connections in a row are no clients any more, but a fault that must not cost a processor.
const IN_A_ROW: u32 = 64;

/// An accepted client, and the right to serve it.
#[derive(Debug)]
pub struct Client {
    /// Its socket.
    pub socket: Socket,
    /// Its address.
    pub peer: Peer,
    /// Its share of the descriptors, given back when the connection has ended.
    pub permit: OwnedSemaphorePermit,
}

/// Takes connections until its task is ended.
pub async fn serve(listener: Arc<Listener>, door: Arc<Door>, shared: Arc<Shared>) {
    let failing = Episode::default();
    let mut aborted = 0_u32;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                aborted = 0;
                if failing.ends() {
                    info!(listener = %door.addr, "accepting again");
                }
                if !door.lead.load().lets_in(&peer) {
                    socket.reset();
                    continue;
                }
                // The client waits in its socket, those behind it in the kernel's queue.
                let Some(permit) = shared.budget.admit(&door.addr).await else { return };
                let lead = door.lead.load_full();
                let client = Client { socket, peer, permit };
                let life = connection::serve(client, door.clone(), lead.clone(), shared.clone());
                lead.connections.spawn(life);
            }
            Err(error) if of_one_client(&error) => {
                aborted = aborted.wrapping_add(1);
                if aborted.is_multiple_of(IN_A_ROW) {
                    sleep(PAUSE).await;
                }
            }
            Err(error) => {
                if failing.goes_on() {
                    warn!(listener = %door.addr, %error, "cannot accept: trying again until it works");
                }
                sleep(PAUSE).await;
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
