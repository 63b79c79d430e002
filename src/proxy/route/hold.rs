//! Those who wait for an upstream of a route to come back (`when_down = "hold 10s"`).

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until};

use crate::state::lock;

/// Clients that wait, of one listener. Those above it are reset.
const PLACES: usize = 1024;
/// When an upstream is back, so many clients go to it at a time: a server that has just started has a short queue (128
/// is usual), and what does not fit into it is connected for us and unknown to the server.
const BATCH: u32 = 64;
/// How soon after a batch the next one goes.
const BATCH_INTERVAL: Duration = Duration::from_millis(25);

/// The places of those who wait, and who of them tries.
#[derive(Debug)]
pub struct HoldQueue {
    /// One place per client that waits.
    pub places: Semaphore,
    /// Whoever has it tries; the others wait for news.
    pub scout: Semaphore,
    served: watch::Sender<()>,
    batch: Mutex<Batch>,
}

/// The clients that go at the same time.
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
    /// An upstream was connected: all who wait may try.
    pub fn wake(&self) {
        if self.served.receiver_count() > 0 {
            self.served.send_replace(());
        }
    }

    /// Hears of [`HoldQueue::wake`]. What happens from now on is not missed.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.served.subscribe()
    }

    /// Waits until one more client may go.
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
