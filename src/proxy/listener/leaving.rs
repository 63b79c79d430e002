//! A listening socket that an edit replaces by others: whoever has reached it is served by them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::accept::{arrive, pause};
use crate::net::{Acceptor, StreamListener, within};
use crate::proxy::connection;
use crate::proxy::record::Shared;
use crate::proxy::route::Listener;
use crate::tasks::Worker;

/// How long clients have for a handshake that they have begun with the old socket: a lost segment of it is sent again after a
/// second (RFC 6298, 2.1).
const HANDSHAKES: Duration = Duration::from_secs(2);

/// The old socket, with its acceptor on this worker.
pub(super) struct Leaving {
    pub socket: Arc<StreamListener>,
    pub acceptor: Acceptor,
    pub worker: Arc<Worker>,
}

/// Accepts for the listeners in the socket's place, for a moment, and closes it. No client notices: who comes now reaches the
/// others, and who came before is accepted.
pub(super) async fn see_off(leaving: Leaving, successors: Vec<Arc<Listener>>, shared: Arc<Shared>) {
    leaving.socket.step_back();
    drop(within(HANDSHAKES, accept(&leaving, &successors, &shared)).await);
}

async fn accept(leaving: &Leaving, successors: &[Arc<Listener>], shared: &Arc<Shared>) {
    loop {
        let accepted = leaving.acceptor.accept().await;
        match accepted.and_then(|accepted| arrive(accepted, &shared.workers, &leaving.worker)) {
            Ok(arrival) => {
                let to = arrival.socket.local_ip();
                let receives =
                    |listener: &&Arc<Listener>| to.is_some_and(|ip: IpAddr| listener.addr.receives(ip));
                // Without one it is reset: nobody listens at its address any more.
                let Some(listener) = successors.iter().find(receives) else { continue };
                // Clients behind one that waits for a permit of the route would be reset at the close. What bounds them is the
                // limit of the process.
                if let Some(wait) =
                    connection::serve(arrival, listener, shared).filter(|wait| !wait.is_counted)
                {
                    wait.decided().await;
                }
            }
            Err(_) => pause().await,
        }
    }
}
