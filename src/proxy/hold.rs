//! `when_down = "hold 10s"`: clients wait for an upstream to come back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::Lead;
use super::egress::{Asker, Egress, walk};
use super::record::Ledger;
use crate::model::Outcome;

/// Clients that wait, of one listener. Those above it are reset.
const PLACES: usize = 1024;
/// One of them tries so often, for all.
const PACE: Duration = Duration::from_millis(100);
/// When one is back, so many go to it at a time, and so soon the next: a server that has just started has a short queue
/// (128 is usual), and what does not fit into it is connected for us and unknown to the server.
const BATCH: (u32, Duration) = (64, Duration::from_millis(25));

/// Those who wait.
#[derive(Debug)]
pub(super) struct WaitingRoom {
    places: Semaphore,
    /// Whoever has it tries; the others wait for the news.
    scout: Semaphore,
    served: watch::Sender<()>,
    /// When the last batch began to go, and how many of it have gone.
    batch: Mutex<(Option<Instant>, u32)>,
}

impl Default for WaitingRoom {
    fn default() -> Self {
        WaitingRoom {
            places: Semaphore::new(PLACES),
            scout: Semaphore::new(1),
            served: watch::Sender::new(()),
            batch: Mutex::default(),
        }
    }
}

impl WaitingRoom {
    /// An upstream was connected.
    pub fn is_served(&self) {
        if self.served.receiver_count() > 0 {
            self.served.send_replace(());
        }
    }

    /// Waits until one more may go.
    async fn turn(&self) {
        while let Err(later) = self.may_go(Instant::now()) {
            sleep_until(later).await;
        }
    }

    fn may_go(&self, now: Instant) -> Result<(), Instant> {
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        match *batch {
            (Some(begun), gone) if now < begun + BATCH.1 => {
                if gone >= BATCH.0 {
                    return Err(begun + BATCH.1);
                }
                batch.1 += 1;
            }
            _ => *batch = (Some(now), 1),
        }
        Ok(())
    }
}

/// Waits until an upstream is connected, for so long. `failed`: why that did not go at once.
pub(super) async fn until_back(
    (client, lead): (Asker<'_>, &Lead),
    time: Duration,
    failed: Outcome,
    ledger: &mut Ledger,
) -> Result<Egress, Outcome> {
    let ends = Instant::now() + time;
    // Before the first try: what comes meanwhile is not missed.
    let (mut served, mut news) = (lead.room.served.subscribe(), lead.news());
    let Ok(_place) = lead.room.places.try_acquire() else {
        ledger.missed("too many clients wait for an upstream");
        return Err(failed);
    };
    let mut came_back = async || {
        loop {
            tokio::select! {
                _ = served.changed() => return,
                _ = news.changed() => if lead.is_any_up() { return },
            }
        }
    };
    let connected = async {
        loop {
            let scout = tokio::select! {
                biased;
                () = came_back() => None,
                scout = lead.room.scout.acquire() => scout.ok(),
            };
            if scout.is_some() {
                tokio::select! {
                    () = came_back() => {}
                    () = sleep(PACE) => {}
                }
            }
            lead.room.turn().await;
            match walk(client, lead, ledger).await {
                Err(Outcome::ConnectFailed | Outcome::Limited) => {}
                ended => return ended,
            }
        }
    };
    timeout_at(ends, connected).await.unwrap_or(Err(failed))
}
