//! A timer of each thread that is due before those of its connections.
//!
//! tokio wakes its own thread, by a write to an eventfd and one more epoll_wait(2), for each timer that is due before the
//! time at which the thread is to wake up anyway. A connection sets two timers and soon drops them, so without a tick
//! most connections cost both calls.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

/// Time between two ticks: less than the first part of a usual connect timeout (`net::deadline`).
const PERIOD: Duration = Duration::from_millis(100);

/// No tick is due.
const QUIET: u8 = 0;
/// One is due, and no connection has come since the last one.
const LAST: u8 = 1;
/// One is due, and so is the next: each tick counts down.
const BUSY: u8 = LAST + 1;

/// Ticks while connections come. An idle thread sleeps.
#[derive(Debug, Default)]
pub(super) struct Tick {
    state: AtomicU8,
    begins: Notify,
}

impl Tick {
    /// A connection has come.
    pub(super) fn go_on(&self) {
        // Most calls repeat what is known already: skip the write then.
        if self.state.load(Ordering::Relaxed) != BUSY && self.state.swap(BUSY, Ordering::Relaxed) == QUIET {
            self.begins.notify_one();
        }
    }

    /// Never returns.
    pub(super) async fn run(&self) {
        loop {
            self.begins.notified().await;
            while self.is_wanted() {
                sleep(PERIOD).await;
            }
        }
    }

    /// Whether a connection has come since the last call.
    fn is_wanted(&self) -> bool {
        // LAST becomes QUIET here and in no other place, so the next connection calls `begins`.
        self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| state.checked_sub(1))
            == Ok(BUSY)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::yield_now;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ticks_while_connections_come_and_then_rests() {
        let tick = Arc::new(Tick::default());
        let state = |expected: u8| assert_eq!(tick.state.load(Ordering::Relaxed), expected);
        let runs = {
            let tick = tick.clone();
            async move { tick.run().await }
        };
        let mut runs = std::pin::pin!(runs);
        let mut poll = async || {
            tokio::select! { biased; () = runs.as_mut() => {}, () = yield_now() => {} }
        };
        for _ in 0..2 {
            poll().await;
            state(QUIET);
            tick.go_on();
            poll().await;
            state(LAST);
            tick.go_on();
            state(BUSY);
            advance(PERIOD).await;
            poll().await;
            state(LAST);
            advance(PERIOD).await;
            poll().await;
            state(QUIET);
        }
    }
}
