//! The limit of open connections, by the descriptors and by the file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::model::{ListenAddr, ProcessLimits};
use crate::state::LogOnce;

/// Few are left when it is one part in so many of all.
const LAST_PART: usize = 10;
/// Of fewer connections in all there is nothing to share out.
const LEAST_SHARED: usize = 100;

/// The permits for connections, one for each.
#[derive(Debug)]
pub struct ConnectionLimit {
    permits: Arc<Semaphore>,
    total: AtomicUsize,
    /// What descriptors and file allow.
    allowed: AtomicUsize,
    /// What the memory allows.
    held: AtomicUsize,
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
            allowed: total.into(),
            held: AtomicUsize::new(usize::MAX),
            set: AtomicBool::new(false),
            exhausted: LogOnce::default(),
        }
    }

    /// Changes the limit to what the descriptors allow, and no more than the file says. Open connections keep their
    /// permits.
    pub fn resize(&self, descriptors: usize, limits: ProcessLimits) {
        let most = limits.max_connections.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        self.set.store(most < descriptors, Ordering::Relaxed);
        self.allowed.store(descriptors.min(most), Ordering::Relaxed);
        self.fit();
    }

    /// While memory is short: no more connections than are open now, and at least `least`. Returns how many that is.
    pub fn hold(&self, least: usize) -> usize {
        let held = self.used().0.max(least);
        self.held.store(held, Ordering::Relaxed);
        self.fit();
        held
    }

    /// Ends [`ConnectionLimit::hold`].
    pub fn let_go(&self) {
        self.held.store(usize::MAX, Ordering::Relaxed);
        self.fit();
    }

    fn fit(&self) {
        let (wanted, total) = (self.wanted(), self.total.load(Ordering::Relaxed));
        if let Some(more) = wanted.checked_sub(total) {
            self.total.fetch_add(more, Ordering::Relaxed);
            self.permits.add_permits(more);
        }
        while self.permits.clone().try_acquire_owned().is_ok_and(|permit| self.within(permit).is_none()) {}
    }

    /// How many permits there shall be.
    fn wanted(&self) -> usize {
        self.allowed().min(self.held.load(Ordering::Relaxed)).min(Semaphore::MAX_PERMITS)
    }

    /// A permit that is free again, unless there are more than shall be: then one less is there, and the next has to be waited
    /// for.
    fn within(&self, permit: OwnedSemaphorePermit) -> Option<OwnedSemaphorePermit> {
        let wanted = self.wanted();
        let one_less = |total: usize| (total > wanted).then(|| total - 1);
        match self.total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) {
            Ok(_) => {
                permit.forget();
                None
            }
            Err(_) => Some(permit),
        }
    }

    /// How many connections are open, and how many may be.
    pub fn used(&self) -> (usize, usize) {
        let open = self.total.load(Ordering::Relaxed).saturating_sub(self.permits.available_permits());
        (open, self.wanted())
    }

    /// How many are left of those that descriptors and file allow, if that is less than a tenth.
    pub fn few_left(&self) -> Option<usize> {
        let allowed = self.allowed();
        let left = allowed.saturating_sub(self.used().0);
        (left < allowed / LAST_PART && allowed >= LEAST_SHARED).then_some(left)
    }

    /// How many descriptors and file allow.
    pub fn allowed(&self) -> usize {
        self.allowed.load(Ordering::Relaxed)
    }

    /// A permit, if one is left.
    pub fn try_admit(&self, listener: &ListenAddr) -> Option<OwnedSemaphorePermit> {
        let permit = loop {
            let permit = self.permits.clone().try_acquire_owned().ok()?;
            if let Some(permit) = self.within(permit) {
                break permit;
            }
        };
        if self.exhausted.ends(|| Instant::now().into_std()) {
            info!(%listener, "connections have ended: accepting without a pause");
        }
        Some(permit)
    }

    /// A permit for a connection that another process has admitted: where none is left, beyond the limit, as after an edit that
    /// has lowered it. `None`: somebody who waits was faster.
    pub fn keep(&self, listener: &ListenAddr) -> Option<OwnedSemaphorePermit> {
        self.try_admit(listener).or_else(|| {
            self.total.fetch_add(1, Ordering::Relaxed);
            self.permits.add_permits(1);
            self.permits.clone().try_acquire_owned().ok()
        })
    }

    /// Waits for a permit. `None` never happens: nobody closes the semaphore.
    pub async fn admit(&self, listener: &ListenAddr) -> Option<OwnedSemaphorePermit> {
        if let Some(permit) = self.try_admit(listener) {
            return Some(permit);
        }
        // That memory is short was said when it became so.
        let held = self.held.load(Ordering::Relaxed) < self.allowed.load(Ordering::Relaxed);
        if !held && self.exhausted.begins(Instant::now().into_std()) {
            let connections = self.wanted();
            if self.set.load(Ordering::Relaxed) {
                warn!(%listener, connections, "all connections of `[limits] max_connections` are open: more wait");
            } else {
                warn!(
                    %listener,
                    connections,
                    "no descriptor is left for another connection: accepting goes on as connections end; \
                     raise the limit (`ulimit -n`, LimitNOFILE=, --ulimit nofile) if this is too few"
                );
            }
        }
        loop {
            let permit = self.permits.clone().acquire_owned().await.ok()?;
            if let Some(permit) = self.within(permit) {
                return Some(permit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::task::yield_now;

    use super::*;

    #[test]
    fn what_is_kept_is_beyond_the_limit_until_it_ends() {
        let (limit, listener) = (ConnectionLimit::new(1), ListenAddr::Any(80));
        let kept: Vec<_> = (0..3).map(|_| limit.keep(&listener).unwrap()).collect();
        assert_eq!(limit.used(), (3, 1));
        assert!(limit.try_admit(&listener).is_none());
        drop(kept);
        let _one = limit.try_admit(&listener).unwrap();
        assert!(limit.try_admit(&listener).is_none());
        assert_eq!(limit.used(), (1, 1));
    }

    #[test]
    fn few_are_left_when_less_than_a_tenth_is_free_of_a_hundred_or_more() {
        let listener = ListenAddr::Any(80);
        for (allowed, open, left) in
            [(200, 0, None), (200, 180, None), (200, 181, Some(19)), (200, 200, Some(0)), (99, 99, None)]
        {
            let limit = ConnectionLimit::new(allowed);
            let _open: Vec<_> = (0..open).map(|_| limit.try_admit(&listener).unwrap()).collect();
            assert_eq!(limit.few_left(), left, "{open} of {allowed}");
        }
    }

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
        assert_eq!(limit.used(), (3, 1));
        // What the edit could not take back goes as it is free again, until as many are open as may be.
        let taken = Cell::new(false);
        let waits = async {
            let permit = limit.admit(&listener).await.unwrap();
            taken.set(true);
            permit
        };
        let ends = async {
            for left in [2, 1, 0] {
                yield_now().await;
                assert!(!taken.get());
                assert_eq!(open.pop().is_some().then_some(open.len()), Some(left));
                yield_now().await;
                assert_eq!(taken.get(), left == 0);
            }
        };
        let (permit, ()) = tokio::join!(waits, ends);
        assert_eq!((limit.used(), limit.try_admit(&listener).is_none()), ((1, 1), true));
        drop(permit);
        limit.resize(5, none);
        assert_eq!((limit.used(), limit.permits.available_permits()), ((0, 5), 5));
        // The smaller of what the descriptors allow and what the file says.
        for (most, total) in [(3, 3), (9, 5)] {
            limit.resize(5, ProcessLimits { max_connections: Some(most), ..none });
            assert_eq!(limit.permits.available_permits(), total);
        }
    }
}
