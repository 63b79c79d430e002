//! Layer 3: the only place that spawns. Every task belongs to a [`Scope`], and every scope can be drained.
//!
//! Killing a scope kills its children. The same drain serves a stop signal, a removed route and a changed one.

#[cfg(test)]
pub mod faults;
mod lasting;
mod tick;
mod workers;

use std::future::{Future, Pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

pub use lasting::restarts;
pub use workers::{Worker, WorkerPool, WorkerSlot, WorkerThreads, most_acceptors};

/// Owns tasks, to wait for them or to kill them. Clones share the tasks.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    kill: CancellationToken,
    killed: Arc<Killed>,
    tracker: TaskTracker,
}

/// Whether a scope was killed, for a task to read at each turn: the token of tokio-util takes two mutexes for its answer, which
/// all tasks of a scope would share, on all threads.
#[derive(Debug, Default)]
struct Killed {
    itself: AtomicBool,
    parent: Option<Arc<Killed>>,
}

impl Killed {
    fn is(&self) -> bool {
        self.itself.load(Ordering::Acquire) || self.parent.as_ref().is_some_and(|parent| parent.is())
    }
}

impl Scope {
    /// A scope without a parent.
    pub fn new() -> Self {
        Self::default()
    }

    /// A scope that is killed with its parent. Its tasks are its own: the parent does not count them.
    pub fn child(&self) -> Scope {
        let killed = Killed { itself: AtomicBool::new(false), parent: Some(self.killed.clone()) };
        Scope { kill: self.kill.child_token(), killed: Arc::new(killed), tracker: TaskTracker::new() }
    }

    /// Runs a task until it ends, or until the scope is killed, which drops it where it stands.
    pub fn spawn<F>(&self, task: F) -> Task
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.run::<Pending<_>, _>(Part::Second { task })
    }

    /// Like [`Scope::spawn`], for a task whose second part belongs to the scope that the first one names: from there on that
    /// scope kills it and waits for it.
    pub fn spawn_in_turn<A, B>(&self, first: A) -> Task
    where
        A: Future<Output = Option<(Scope, B)>> + Send + 'static,
        B: Future<Output = ()> + Send + 'static,
    {
        self.run(Part::First { task: first })
    }

    fn run<A, B>(&self, part: Part<A, B>) -> Task
    where
        A: Future<Output = Option<(Scope, B)>> + Send + 'static,
        B: Future<Output = ()> + Send + 'static,
    {
        #[allow(clippy::disallowed_methods, reason = "the one place")]
        let task = tokio::spawn(InTurn { part, owned: Owned::by(self) });
        Task(task)
    }

    /// Ends every task of the scope where it stands.
    pub fn kill(&self) {
        // First what its tasks read, then what wakes them.
        self.killed.itself.store(true, Ordering::Release);
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
pub struct Task(JoinHandle<()>);

impl Task {
    /// Ends it where it stands.
    pub fn kill(&self) {
        self.0.abort();
    }

    /// Whether it has ended: nothing of it is left. Once it has, it must not be asked again.
    pub fn poll_ended(&mut self, cx: &mut Context<'_>) -> bool {
        Pin::new(&mut self.0).poll(cx).is_ready()
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
    /// A task, of two parts or only the second. It ends with the scope that it belongs to, which counts it until its parts are
    /// dropped: their order here is that of drops. Written by hand: an async block stores `task` twice, as it is captured and
    /// as it is awaited, and each connection has one.
    struct InTurn<A, B> {
        #[pin]
        part: Part<A, B>,
        #[pin]
        owned: Owned,
    }
}

pin_project! {
    #[project = Parts]
    enum Part<A, B> {
        First { #[pin] task: A },
        Second { #[pin] task: B },
    }
}

pin_project! {
    /// What a task has of its scope.
    struct Owned {
        #[pin]
        kill: WaitForCancellationFutureOwned,
        // Whether `kill` wakes the task. Once is enough: a task that was spawned has one waker for its life.
        is_woken: bool,
        killed: Arc<Killed>,
        token: TaskTrackerToken,
    }
}

impl Owned {
    fn by(scope: &Scope) -> Owned {
        let kill = scope.kill.clone().cancelled_owned();
        Owned { kill, is_woken: false, killed: scope.killed.clone(), token: scope.tracker.token() }
    }

    /// Whether its scope was killed. If not, the task is woken when it is.
    fn is_killed(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let this = self.project();
        if std::mem::replace(this.is_woken, true) { this.killed.is() } else { this.kill.poll(cx).is_ready() }
    }

    fn is_by(&self, scope: &Scope) -> bool {
        TaskTracker::ptr_eq(self.token.task_tracker(), &scope.tracker)
    }
}

impl<A, B> Future for InTurn<A, B>
where
    A: Future<Output = Option<(Scope, B)>>,
    B: Future<Output = ()>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            if this.owned.as_mut().is_killed(cx) {
                return Poll::Ready(());
            }
            let first = match this.part.as_mut().project() {
                Parts::First { task } => task.poll(cx),
                Parts::Second { task } => return task.poll(cx),
            };
            match first {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Ready(Some((scope, task))) => {
                    if !this.owned.is_by(&scope) {
                        this.owned.set(Owned::by(&scope));
                    }
                    this.part.set(Part::Second { task });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

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

    #[tokio::test]
    async fn a_task_that_has_had_several_turns_ends_with_its_scope_or_one_above() {
        for kills_above in [false, true] {
            let above = Scope::new();
            let scope = above.child().child();
            let (go_on, turns) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
            let (wait, counts) = (go_on.clone(), turns.clone());
            scope.spawn(async move {
                loop {
                    wait.notified().await;
                    counts.fetch_add(1, Ordering::SeqCst);
                }
            });
            for turn in 1..=3 {
                go_on.notify_one();
                while turns.load(Ordering::SeqCst) < turn {
                    tokio::task::yield_now().await;
                }
            }
            assert_eq!(scope.len(), 1);
            if kills_above { &above } else { &scope }.kill();
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert_eq!(scope.len(), 0);
        }
    }

    /// Notes how many tasks the scope had when it was dropped.
    struct Counts(Scope, Arc<AtomicUsize>);

    impl Drop for Counts {
        fn drop(&mut self) {
            self.1.store(self.0.len(), Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn the_second_part_of_a_task_is_of_the_scope_that_the_first_has_named() {
        let (first, second) = (Scope::new(), Scope::new());
        let (go_on, left) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(usize::MAX)));
        let (wait, named) = (go_on.clone(), second.clone());
        let holds = Counts(second.clone(), left.clone());
        let mut task = first.spawn_in_turn(async move {
            wait.notified().await;
            Some((named, async move {
                let _holds = holds;
                std::future::pending::<()>().await;
            }))
        });
        assert_eq!((first.len(), second.len()), (1, 0));
        go_on.notify_one();
        first.finished().await;
        assert_eq!((first.len(), second.len()), (0, 1));
        first.kill();
        tokio::task::yield_now().await;
        assert_eq!(left.load(Ordering::SeqCst), usize::MAX, "the scope that it has left has ended it");
        second.kill();
        second.finished().await;
        assert_eq!(left.load(Ordering::SeqCst), 1, "its scope has finished before what it holds was dropped");
        std::future::poll_fn(|cx| if task.poll_ended(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    #[tokio::test]
    async fn a_task_without_a_second_part_or_of_a_scope_that_is_killed_ends() {
        let (first, second) = (Scope::new(), Scope::new());
        first.spawn_in_turn(async { None::<(Scope, std::future::Ready<()>)> });
        first.finished().await;
        second.kill();
        let (named, ran) = (second.clone(), Arc::new(AtomicUsize::new(0)));
        let runs = ran.clone();
        first.spawn_in_turn(async move {
            Some((named, async move {
                runs.fetch_add(1, Ordering::SeqCst);
            }))
        });
        first.finished().await;
        second.finished().await;
        assert_eq!(ran.load(Ordering::SeqCst), 0);
    }
}
