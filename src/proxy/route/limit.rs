//! The limit of open connections, by the descriptors and by the file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::model::{ListenAddr, ProcessLimits};
use crate::state::LogOnce;

/// The permits for connections, one for each.
#[derive(Debug)]
pub struct ConnectionLimit {
    permits: Arc<Semaphore>,
    total: AtomicUsize,
    /// Whether the limit comes from the file rather than from the descriptors.
    set: AtomicBool,
    exhausted: LogOnce,
}

impl ConnectionLimit {
    /// Allows this many connections at once.
    pub fn new(connections: usize) -> Self {
        let total = connections.min(Semaphore::MAX_PERMITS);
        ConnectionLimit {
            permits: Arc::new(Semaphore::new(total)),
            total: total.into(),
            set: AtomicBool::new(false),
            exhausted: LogOnce::default(),
        }
    }

    /// Changes the limit to what the descriptors allow, and no more than the file says. Open connections keep their
    /// permits.
    pub fn resize(&self, descriptors: usize, limits: ProcessLimits) {
        let most = limits.max_connections.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        self.set.store(most < descriptors, Ordering::Relaxed);
        let connections = descriptors.min(most);
        let (wanted, total) = (connections.min(Semaphore::MAX_PERMITS), self.total.load(Ordering::Relaxed));
        let total = match wanted.checked_sub(total) {
            Some(more) => {
                self.permits.add_permits(more);
                wanted
            }
            None => total - self.permits.forget_permits(total - wanted),
        };
        self.total.store(total, Ordering::Relaxed);
    }

    /// How many connections are open, and how many may be.
    pub fn used(&self) -> (usize, usize) {
        let total = self.total.load(Ordering::Relaxed);
        (total.saturating_sub(self.permits.available_permits()), total)
    }

    /// Waits for a permit. `None` never happens: nobody closes the semaphore.
    pub async fn admit(&self, listener: &ListenAddr) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            if self.exhausted.ends(Instant::now().into_std()) {
                info!(%listener, "connections have ended: accepting without a pause");
            }
            return Some(permit);
        }
        // Boxed: the accept loop rarely needs this.
        Box::pin(self.wait(listener)).await
    }

    async fn wait(&self, listener: &ListenAddr) -> Option<OwnedSemaphorePermit> {
        if self.exhausted.begins(Instant::now().into_std()) {
            let connections = self.total.load(Ordering::Relaxed);
            if self.set.load(Ordering::Relaxed) {
                warn!(%listener, connections, "all connections of `[limits] max_connections` are open: more wait");
                return self.permits.clone().acquire_owned().await.ok();
            }
            warn!(
                %listener,
                connections,
                "no descriptor is left for another connection: accepting goes on as connections end; \
                 raise the limit (`ulimit -n`, LimitNOFILE=, --ulimit nofile) if this is too few"
            );
        }
        self.permits.clone().acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_resize_takes_nothing_from_open_connections() {
        let limit = ConnectionLimit::new(3);
        let listener = ListenAddr::Any(80);
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(limit.admit(&listener).await.unwrap());
        }
        let none = ProcessLimits::default();
        limit.resize(1, none);
        assert_eq!((limit.total.load(Ordering::Relaxed), limit.permits.available_permits()), (3, 0));
        open.clear();
        // The next edit takes back what the last could not.
        limit.resize(1, none);
        assert_eq!((limit.total.load(Ordering::Relaxed), limit.permits.available_permits()), (1, 1));
        limit.resize(5, none);
        assert_eq!((limit.total.load(Ordering::Relaxed), limit.permits.available_permits()), (5, 5));
        // The smaller of what the descriptors allow and what the file says.
        for (most, total) in [(3, 3), (9, 5)] {
            limit.resize(5, ProcessLimits { max_connections: Some(most) });
            assert_eq!(limit.permits.available_permits(), total);
        }
    }
}
