//! Clients that wait for an upstream of a route to come back (`when_down = "hold 10s"`).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::model::Peer;
use crate::state::fair_share::{PlaceId, Standing};
use crate::state::{ClientKey, LogOnce, Places, lock};

/// How many clients of one listener may wait. When they are taken, one gives way to a newcomer.
const PLACES: usize = 1024;
/// How many of them may have sent FIN. Such a client may wait for an answer, or may be gone: nothing tells which until it is
/// sent a byte. An upstream that comes back is spared more connections of clients that are gone.
const ENDED: usize = PLACES / 8;
/// How many clients go to an upstream at a time once it is back. A server that has just started has a short accept
/// queue (128 is usual): a connection that does not fit is connected for us and unknown to the server.
const BATCH: u32 = 64;
/// Time from the start of a batch to the next one.
const BATCH_INTERVAL: Duration = Duration::from_millis(25);

/// The clients that wait, and the one that tries for all.
#[derive(Debug)]
pub struct HoldQueue {
    /// A place for each client that waits, with what is notified when the client must give it up.
    places: Mutex<Places<Arc<Notify>>>,
    full: LogOnce,
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
            places: Mutex::new(Places::new(PLACES)),
            full: LogOnce::default(),
            scout: Semaphore::new(1),
            served: watch::Sender::new(()),
            batch: Mutex::default(),
        }
    }
}

impl HoldQueue {
    /// Takes a place for a client. If all are taken, one gives way: of those who have sent FIN or else of all, the longest
    /// waiting one of the client that has most. `None` never happens.
    pub fn take(&self, route: &str, client: &Peer) -> Option<HoldPlace<'_>> {
        let (now, mut ended) = (Instant::now().into_std(), Vec::new());
        let gives_way = Arc::<Notify>::default();
        let id = {
            let mut places = lock(&self.places);
            let id = places.enter(client.ip().map(ClientKey::of), gives_way.clone(), now, &mut ended)?;
            places.stand(id, Standing::Resting, now);
            id
        };
        self.end(route, &ended);
        Some(HoldPlace { queue: self, id, gives_way })
    }

    fn end(&self, route: &str, ended: &[Arc<Notify>]) {
        let now = Instant::now().into_std();
        ended.iter().for_each(|gives_way| gives_way.notify_one());
        if !ended.is_empty() && self.full.begins(now) {
            warn!(
                route,
                "too many clients wait for an upstream: of the client that has most of them one gives way"
            );
        } else if ended.is_empty() && self.full.ends(|| now) {
            info!(route, "there are free places again for clients that wait for an upstream");
        }
    }

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

/// The place of one client that waits. Dropping it frees it.
#[derive(Debug)]
pub struct HoldPlace<'q> {
    queue: &'q HoldQueue,
    id: PlaceId,
    gives_way: Arc<Notify>,
}

impl HoldPlace<'_> {
    /// Notes that the client has sent FIN: it gives its place up before others.
    pub fn has_ended(&self, route: &str) {
        let ended = {
            let mut places = lock(&self.queue.places);
            places.stand(self.id, Standing::Unproven, Instant::now().into_std());
            let too_many = places.share().held_as(Standing::Unproven) > ENDED;
            if too_many { places.give_way() } else { None }
        };
        if let Some(ended) = ended {
            self.queue.end(route, &[ended]);
        }
    }

    /// Resolves when the client must give its place up.
    pub async fn gives_way(&self) {
        self.gives_way.notified().await;
    }
}

impl Drop for HoldPlace<'_> {
    fn drop(&mut self) {
        lock(&self.queue.places).leave(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_four_go_at_once_and_the_next_at_the_very_time_that_it_is_told() {
        let (queue, begun) = (HoldQueue::default(), Instant::now());
        let later = begun + Duration::from_millis(25);
        assert!((0..64).all(|_| queue.may_go(begun).is_ok()));
        assert_eq!(queue.may_go(begun), Err(later));
        assert_eq!(queue.may_go(later - Duration::from_nanos(1)), Err(later));
        assert!((0..64).all(|_| queue.may_go(later).is_ok()));
        assert_eq!(queue.may_go(later), Err(begun + Duration::from_millis(50)));
    }
}
