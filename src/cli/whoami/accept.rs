//! Accepts connections, a bounded number at once. No error ends the loop.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;

use super::bind::Listener;
use super::options::Options;
use super::talk::{self, Ends};
use crate::model::Peer;
use crate::tasks::Scope;

/// Most connections at once; later ones wait in the kernel's queue.
const CONNECTIONS_MAX: u64 = 1000;

/// Descriptors left to everything else.
const DESCRIPTORS_KEPT: u64 = 32;

/// How long accepting rests after an error such as EMFILE, which stays until some descriptor is closed.
const REST: Duration = Duration::from_millis(100);

enum Caller {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Accepts until its task is ended, each connection in a task of the scope.
pub(super) async fn accept(listener: Listener, options: Arc<Options>, scope: Scope) {
    let slots = Arc::new(Semaphore::new(slots()));
    let mut resting = false;
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await;
        match (slot, next(&listener).await) {
            (slot, Ok(caller)) => {
                resting = false;
                let options = Arc::clone(&options);
                scope.spawn(async move {
                    let _slot = slot;
                    // A client that went away is the end of its connection and nobody's fault.
                    serve(caller, &options).await.ok();
                });
            }
            // This one client left while it was queued (accept(2)).
            (_, Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            (_, Err(error)) => {
                if !resting {
                    let text = "accepting rests and goes on by itself";
                    writeln!(io::stderr().lock(), "warning: cannot accept: {error}: {text}").ok();
                }
                resting = true;
                tokio::time::sleep(REST).await;
            }
        }
    }
}

fn slots() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let room = limit.unwrap_or(u64::MAX).saturating_sub(DESCRIPTORS_KEPT);
    usize::try_from(room.clamp(1, CONNECTIONS_MAX)).unwrap_or(1)
}

async fn next(listener: &Listener) -> io::Result<Caller> {
    match listener {
        Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| Caller::Tcp(stream)),
        Listener::Unix(unix) => unix.listener.accept().await.map(|(stream, _)| Caller::Unix(stream)),
    }
}

async fn serve(caller: Caller, options: &Options) -> io::Result<()> {
    match caller {
        Caller::Tcp(stream) => {
            stream.set_nodelay(true)?;
            let peer = Peer::from_ip(stream.peer_addr()?);
            let local = Peer::from_ip(stream.local_addr()?);
            talk::serve(stream, Ends { peer, local, told: None }, options).await
        }
        Caller::Unix(stream) => {
            let path = |addr: tokio::net::unix::SocketAddr| addr.as_pathname().map(ToOwned::to_owned);
            let peer = Peer::Unix(path(stream.peer_addr()?));
            let local = Peer::Unix(path(stream.local_addr()?));
            talk::serve(stream, Ends { peer, local, told: None }, options).await
        }
    }
}
