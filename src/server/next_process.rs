//! The process that takes over from this one, where somebody else starts it.

use std::future::pending;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::warn;

use crate::net::carrier::Carrier;
use crate::net::handover::HandoverSocket;
use crate::tasks::Scope;

/// Waits for it at this path. `owner`: of the task that does. `None`: nobody can come.
pub(super) fn wait_for_next(path: Option<&Path>, owner: &Scope) -> Option<mpsc::Receiver<Carrier>> {
    let path = path?;
    let socket = match HandoverSocket::wait_at(path) {
        Ok(socket) => Arc::new(socket),
        Err(error) => {
            warn!(path = %path.display(), %error, "nobody can take over there: the socket cannot be made");
            return None;
        }
    };
    let (to, comes) = mpsc::channel(1);
    owner.keep(move || {
        let (socket, to) = (socket.clone(), to.clone());
        async move {
            while let Ok(pair) = socket.accept().await {
                let Ok(carrier) = Carrier::over(pair) else { continue };
                if to.send(carrier).await.is_err() {
                    return;
                }
            }
        }
    });
    Some(comes)
}

/// The process that comes next. Never resolves if nobody can.
pub(super) async fn next(comes: &mut Option<mpsc::Receiver<Carrier>>) -> Carrier {
    match comes {
        Some(comes) => match comes.recv().await {
            Some(carrier) => carrier,
            None => pending().await,
        },
        None => pending().await,
    }
}
