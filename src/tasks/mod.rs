//! Layer 3: the only place that spawns. Every task belongs to a [`Scope`], and every scope can be drained.
//!
//! Killing a scope kills its children. The same drain serves a stop signal, a removed route and a changed one.

#[cfg(test)]
pub mod faults;
mod lasting;
mod tick;
mod workers;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::task::AbortHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

pub use lasting::restarts;
pub use workers::{Worker, WorkerPool, WorkerSlot, WorkerThreads, most_acceptors};

/// Owns tasks, to wait for them or to kill them. Clones share the tasks.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    kill: CancellationToken,
    tracker: TaskTracker,
}

impl Scope {
    /// A scope without a parent.
    pub fn new() -> Self {
        Self::default()
    }

    /// A scope that is killed with its parent. Its tasks are its own: the parent does not count them.
    pub fn child(&self) -> Scope {
        Scope { kill: self.kill.child_token(), tracker: TaskTracker::new() }
    }

    /// Runs a task until it ends, or until the scope is killed, which drops it where it stands.
    pub fn spawn<F>(&self, task: F) -> Task
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = self.tracker.track_future(Scoped { kill: self.kill.clone().cancelled_owned(), task });
        #[allow(clippy::disallowed_methods, reason = "the one place")]
        let task = tokio::spawn(task);
        Task(task.abort_handle())
    }

    /// Ends every task of the scope where it stands.
    pub fn kill(&self) {
        self.kill.cancel();
    }

    /// Ends every task of the scope when it is dropped.
    pub fn kill_on_drop(self) -> KillOnDrop {
        KillOnDrop(self)
    }

    /// Resolves once no task is running.
    pub async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Resolves once the scope is killed. For what belongs to the scope without being a task.
    pub fn killed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.kill.clone().cancelled_owned()
    }

    /// A token that counts as a task of the scope until it is dropped: a drain waits for it.
    pub fn hold(&self) -> ScopeToken {
        ScopeToken(self.tracker.token())
    }

    /// Whether both own the same tasks.
    pub fn is(&self, other: &Scope) -> bool {
        TaskTracker::ptr_eq(&self.tracker, &other.tracker)
    }

    /// How many tasks are running, including tokens from [`Scope::hold`].
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Whether no task is running and no token is held.
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// Waits until every task has ended or `late` resolves, and kills the rest. Returns how many it killed.
    pub async fn drain(&self, late: impl Future<Output = ()>) -> usize {
        self.tracker.close();
        tokio::select! {
            biased;
            () = self.tracker.wait() => return 0,
            () = late => {}
        }
        let left = self.tracker.len();
        self.kill();
        self.tracker.wait().await;
        left
    }
}

/// A handle that can kill one task of a scope. Dropping it ends nothing.
#[derive(Debug)]
pub struct Task(AbortHandle);

impl Task {
    /// Ends it where it stands.
    pub fn kill(&self) {
        self.0.abort();
    }
}

/// Kills its scope when dropped.
#[derive(Debug)]
pub struct KillOnDrop(Scope);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.kill();
    }
}

/// Counts as a task of its scope until dropped.
#[derive(Debug)]
pub struct ScopeToken(#[expect(dead_code, reason = "it is its drop that counts")] TaskTrackerToken);

pin_project! {
    /// A task that ends with its scope. Written by hand: an async block stores `task` twice, as it is captured and as
    /// it is awaited, and each connection has one (1.3 KiB).
    struct Scoped<F> {
        #[pin]
        kill: WaitForCancellationFutureOwned,
        #[pin]
        task: F,
    }
}

impl<F: Future<Output = ()>> Future for Scoped<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.kill.poll(cx).is_ready() { Poll::Ready(()) } else { this.task.poll(cx) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;
    use tokio::sync::{Notify, Semaphore};

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_gives_back_what_it_holds_and_disturbs_no_other() {
        let scope = Scope::new();
        let (permits, go_on) = (Arc::new(Semaphore::new(2)), Arc::new(Notify::new()));
        let (held, mut peer) = UnixStream::pair().unwrap();
        let permit = permits.clone().acquire_owned().await.unwrap();
        let (finished, wait) = (permits.clone().acquire_owned().await.unwrap(), go_on.clone());
        scope.spawn(async move {
            wait.notified().await;
            drop(finished);
        });
        scope.spawn(async move {
            let _held = (held, permit);
            panic!("a fault in one connection");
        });

        // Its socket is closed, its permit is back, and the other task still runs.
        assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
        drop(permits.acquire().await.unwrap());
        assert_eq!(scope.len(), 1);
        go_on.notify_one();
        scope.finished().await;
        assert_eq!(permits.available_permits(), 2);
    }
}
