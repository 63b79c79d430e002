//! Clients that wait for an upstream of a route to come back (`when_down = "hold 10s"`).

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until};

use crate::state::lock;

/// How many clients of one listener may wait. More are reset.
const PLACES: usize = 1024;
/// How many clients go to an upstream at a time once it is back. A server that has just started has a short accept
/// queue (128 is usual): a connection that does not fit is connected for us and unknown to the server.
const BATCH: u32 = 64;
/// Time from the start of a batch to the next one.
const BATCH_INTERVAL: Duration = Duration::from_millis(25);

/// The clients that wait, and the one that tries for all.
#[derive(Debug)]
pub struct HoldQueue {
    /// One permit per client that waits.
    pub places: Semaphore,
    /// Has one permit. Its holder tries the upstreams; the others wait for news.
    pub scout: Semaphore,
    served: watch::Sender<()>,
    batch: Mutex<Batch>,
}

/// The clients that go at the same time: when the first one went, and how many.
#[derive(Debug, Default)]
struct Batch {
    begun: Option<Instant>,
    gone: u32,
}

impl Default for HoldQueue {
    fn default() -> Self {
        HoldQueue {
            places: Semaphore::new(PLACES),
            scout: Semaphore::new(1),
            served: watch::Sender::new(()),
            batch: Mutex::default(),
        }
    }
}

impl HoldQueue {
    /// Wakes all clients that wait: an upstream was connected.
    pub fn wake(&self) {
        if self.served.receiver_count() > 0 {
            self.served.send_replace(());
        }
    }

    /// Subscribes to [`HoldQueue::wake`]. Nothing after this call is missed.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.served.subscribe()
    }

    /// Waits until the batch takes one more client.
    pub async fn turn(&self) {
        while let Err(later) = self.may_go(Instant::now()) {
            sleep_until(later).await;
        }
    }

    fn may_go(&self, now: Instant) -> Result<(), Instant> {
        let mut batch = lock(&self.batch);
        match batch.begun {
            Some(begun) if now < begun + BATCH_INTERVAL => {
                if batch.gone >= BATCH {
                    return Err(begun + BATCH_INTERVAL);
                }
                batch.gone += 1;
            }
            _ => *batch = Batch { begun: Some(now), gone: 1 },
        }
        Ok(())
    }
}
