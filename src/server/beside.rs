//! Steps that may take long, and what must not wait for them.

use std::future::pending;
use std::pin::pin;

use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::handle::Alive;
use super::systemd::ServiceManager;

/// After so many sockets the server's task lets others run: opening one takes some 20 µs.
const AT_ONCE: usize = 256;

/// Lets others run now and then in a long row of small steps. `done`: how many are done.
pub(super) async fn breathe(done: usize) {
    if done % AT_ONCE == AT_ONCE - 1 {
        yield_now().await;
    }
}

/// Those who ask, again and again, whether the server's task lives.
pub(super) struct Watchers<'a> {
    pub manager: &'a mut ServiceManager,
    pub alive: &'a mut mpsc::Receiver<Alive>,
}

impl Watchers<'_> {
    /// Takes a step, and answers meanwhile: neither the watchdog nor a probe waits for an edit, however large.
    pub async fn beside<T>(&mut self, step: impl Future<Output = T>) -> T {
        let mut step = pin!(step);
        loop {
            tokio::select! {
                done = &mut step => return done,
                () = answer(self.manager, self.alive) => {}
            }
        }
    }
}

/// Waits until then. `None`: for ever.
pub(super) async fn until(then: Option<std::time::Instant>) {
    match then {
        Some(then) => sleep_until(Instant::from_std(then)).await,
        None => pending().await,
    }
}

/// Answers the watchdog, or one probe. Never resolves if there are none.
pub(super) async fn answer(manager: &mut ServiceManager, alive: &mut mpsc::Receiver<Alive>) {
    tokio::select! {
        // If the probe has gone, nobody waits.
        Some(probe) = alive.recv() => drop(probe.send(false)),
        () = manager.watched() => {}
    }
}
