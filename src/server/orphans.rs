//! Orphans: the first process of a container becomes the parent of every process there whose own parent has ended, such
//! as what a health check or `docker exec` leaves behind. Until it waits for them, they stay as zombies (wait(2)), and
//! the container runs out of process ids.

use std::convert::Infallible;
use std::io;

use rustix::process::{WaitOptions, wait};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Takes orphans away as they end. Portway starts no process itself but the one that takes over from it, and while it waits for
/// that one it takes nobody away.
#[derive(Debug)]
pub struct Orphans(Signal);

impl Orphans {
    /// Listens for `SIGCHLD` from now on. Needs a runtime.
    pub fn listen() -> io::Result<Orphans> {
        let ended = signal(SignalKind::child())?;
        // A shell that became this process by `exec` may have left some.
        take_away();
        Ok(Orphans(ended))
    }

    /// Takes orphans away, without end. Dropping the future loses none.
    pub async fn reap(&mut self) -> Infallible {
        loop {
            self.0.recv().await;
            take_away();
        }
    }
}

/// Signals are merged, so one may stand for several children. Fails once there is no child left.
fn take_away() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}
