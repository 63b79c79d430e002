//! The accept loop of one listener. It never waits for a peer, and no error ends it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::net::{Accepted, Acceptor};
use crate::proxy::connection::{self, Arrival};
use crate::proxy::record::Shared;
use crate::proxy::route::Listener;
use crate::tasks::{Worker, WorkerPool};

/// How long accepting pauses when the system has run out of resources.
const PAUSE: Duration = Duration::from_millis(200);
/// This many aborted connections in a row are a fault rather than clients. The loop then pauses, to spare the
/// processor.
const ABORTED_IN_A_ROW: u32 = 64;

/// Where connections are accepted, and by whom.
pub(super) struct Accepts {
    pub acceptor: Acceptor,
    pub worker: Arc<Worker>,
    pub listener: Arc<Listener>,
    pub shared: Arc<Shared>,
}

/// Accepts connections. Whoever has been accepted is served, even if this is dropped.
pub(super) async fn serve(accepts: Arc<Accepts>) {
    let mut aborted = 0_u32;
    loop {
        let accepted = accepts.acceptor.accept().await;
        let Accepts { worker, listener, shared, .. } = &*accepts;
        #[cfg(test)]
        crate::tasks::faults::here(&listener.addr.to_string());
        match accepted.and_then(|accepted| arrive(accepted, &shared.workers, worker)) {
            Ok(arrival) => {
                aborted = 0;
                if listener.failing.ends(|| Instant::now().into_std()) {
                    info!(listener = %listener.addr, "accepting again");
                }
                if let Some(wait) = connection::serve(arrival, listener, shared) {
                    wait.decided().await;
                }
            }
            Err(error) if of_one_client(&error) => {
                aborted = aborted.wrapping_add(1);
                if aborted.is_multiple_of(ABORTED_IN_A_ROW) {
                    pause().await;
                }
            }
            Err(error) => {
                if listener.failing.begins(Instant::now().into_std()) {
                    warn!(listener = %listener.addr, %error, "cannot accept: trying again until it works");
                }
                pause().await;
            }
        }
    }
}

/// Registers an accepted socket with the worker that will serve it.
pub(super) fn arrive(accepted: Accepted, workers: &WorkerPool, near: &Arc<Worker>) -> io::Result<Arrival> {
    let slot = workers.slot(near);
    let (socket, peer) = {
        let _on_its_thread = slot.worker().enter();
        accepted.here()?
    };
    Ok(Arrival { slot, socket, peer })
}

/// Waits until the system may have resources again.
pub(super) async fn pause() {
    Box::pin(sleep(PAUSE)).await;
}

/// Whether an error concerns only the one connection to be accepted (accept(2): "treat like EAGAIN by retrying").
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
