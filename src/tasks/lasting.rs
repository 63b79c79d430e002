//! Tasks that run as long as their scope does. One that panics is started again: nobody else would notice that an address is
//! deaf, or that a check has ended.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Scope, Task};

/// How long a task that has panicked is not started again, at first. Twice as long after each panic that follows.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(5);
/// Whoever has run for so long begins anew with [`SHORTEST`].
const CALM: Duration = Duration::from_secs(60);

static RESTARTS: AtomicU64 = AtomicU64::new(0);

/// How often tasks of this process were started again after a panic. The hook of the log has shown why.
pub fn restarts() -> u64 {
    RESTARTS.load(Ordering::Relaxed)
}

impl Scope {
    /// Runs a task until it returns, or until the scope is killed. `begin` makes it now, and anew if it panics: what it
    /// shares with others must still be of use then, which holds for values behind [`crate::state::lock`].
    pub fn keep<F>(&self, mut begin: impl FnMut() -> F + Send + 'static) -> Task
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let first = Box::pin(begin());
        self.spawn(async move {
            if !returns(first).await {
                // Boxed, for it is rare: each of ten thousand listeners has such a task.
                Box::pin(start_again(begin)).await;
            }
        })
    }
}

/// Runs a task that has panicked again and again until it returns.
async fn start_again<F: Future<Output = ()>>(mut begin: impl FnMut() -> F) {
    let mut pause = SHORTEST;
    loop {
        RESTARTS.fetch_add(1, Ordering::Relaxed);
        sleep(pause).await;
        let begun = Instant::now();
        let task = catch_unwind(AssertUnwindSafe(|| Box::pin(begin())));
        if let Ok(task) = task
            && returns(task).await
        {
            return;
        }
        pause = if begun.elapsed() >= CALM { SHORTEST } else { (pause * 2).min(LONGEST) };
    }
}

/// Runs a task until it returns (`true`) or panics (`false`).
async fn returns(mut task: Pin<Box<impl Future<Output = ()>>>) -> bool {
    let ended = poll_fn(|cx| {
        let poll = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx)));
        poll.map_or(Poll::Ready(false), |poll| poll.map(|()| true))
    });
    let returned = ended.await;
    // What it holds may panic as well.
    catch_unwind(AssertUnwindSafe(|| drop(task))).is_ok() && returned
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn s12_a_task_that_panics_is_started_again_and_counted_until_its_scope_ends() {
        struct PanicsAsItEnds;
        impl Drop for PanicsAsItEnds {
            fn drop(&mut self) {
                if !std::thread::panicking() {
                    panic!("as it ends");
                }
            }
        }
        let (scope, before) = (Scope::new(), restarts());
        let (runs, ready) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let (counted, told) = (runs.clone(), ready.clone());
        scope.keep(move || {
            let run = counted.fetch_add(1, Ordering::Relaxed);
            assert!(run != 2, "before it runs");
            let told = told.clone();
            async move {
                sleep(Duration::from_millis(1)).await;
                assert!(run != 0, "while it runs");
                let held = PanicsAsItEnds;
                if run == 1 {
                    return drop(held);
                }
                std::mem::forget(held);
                told.notify_one();
                std::future::pending().await
            }
        });
        ready.notified().await;
        assert_eq!((runs.load(Ordering::Relaxed), scope.len()), (4, 1));
        // Other tests have tasks that panic as well.
        assert!(restarts() - before >= 3);
        scope.kill();
        scope.finished().await;
        // One that returns is over.
        let scope = Scope::new();
        scope.keep(|| async {});
        scope.finished().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_at_once_is_not_started_again_all_the_time() {
        let (scope, runs, begun) = (Scope::new(), Arc::new(AtomicU64::new(0)), Instant::now());
        let counted = runs.clone();
        scope.keep(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async { panic!("at once") }
        });
        sleep(Duration::from_secs(60)).await;
        let runs = runs.load(Ordering::Relaxed);
        assert!((15..25).contains(&runs), "{runs} in {:?}", begun.elapsed());
        scope.kill();
    }
}
