//! The workers: threads that serve connections, each with its own runtime. A connection stays on one thread, and waits
//! for no lock of another. `server::run` says what that gains.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, EnterGuard, Handle};
use tokio_util::sync::CancellationToken;

use super::tick::Tick;

/// How many workers accept from one listening socket. Each new connection of an idle proxy wakes all of them, and all
/// but one in vain.
const ACCEPTORS: usize = 2;
/// With more listeners than this they spread the work by themselves, and each has one acceptor.
const MANY: usize = 256;

/// How many workers accept from each listening socket, at most, if there are this many.
pub fn most_acceptors(listeners: usize) -> usize {
    if listeners > MANY { 1 } else { ACCEPTORS }
}

/// One thread that serves connections.
#[derive(Debug)]
pub struct Worker {
    runtime: Handle,
    /// How many connections it serves.
    open: AtomicUsize,
    tick: Tick,
}

impl Worker {
    fn of(runtime: Handle) -> Arc<Self> {
        Arc::new(Worker { runtime, open: AtomicUsize::new(0), tick: Tick::default() })
    }

    /// While the guard lives, tasks are spawned on this worker, and new sockets wake it.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// Counts a connection on its worker until dropped.
#[derive(Debug)]
pub struct WorkerSlot(Arc<Worker>);

impl WorkerSlot {
    /// The worker that serves the connection.
    pub fn worker(&self) -> &Arc<Worker> {
        &self.0
    }
}

impl Drop for WorkerSlot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All workers of the process.
#[derive(Debug)]
pub struct WorkerPool {
    workers: Box<[Arc<Worker>]>,
    next: AtomicUsize,
}

impl WorkerPool {
    /// Starts one thread for each core that this process may use. They run until [`WorkerThreads::stop`].
    pub fn start() -> io::Result<(WorkerPool, WorkerThreads)> {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let mut threads = WorkerThreads { stop: CancellationToken::new(), threads: Vec::new() };
        let mut workers = Vec::new();
        for number in 0..cores {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let worker = Worker::of(runtime.handle().clone());
            workers.push(worker.clone());
            let stop = threads.stop.clone();
            let work = move || {
                runtime.block_on(stop.run_until_cancelled(worker.tick.run()));
                runtime.shutdown_timeout(Duration::ZERO);
            };
            threads.threads.push(thread::Builder::new().name(format!("portway-{number}")).spawn(work)?);
        }
        Ok((WorkerPool { workers: workers.into(), next: AtomicUsize::new(0) }, threads))
    }

    /// The next worker in turn, for another listener.
    pub fn next(&self) -> Arc<Worker> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.workers[turn % self.workers.len()].clone()
    }

    /// The workers that accept for one more listener. `listeners`: the number of all.
    pub fn acceptors(&self, listeners: usize) -> impl Iterator<Item = Arc<Worker>> {
        (0..most_acceptors(listeners).min(self.workers.len())).map(|_| self.next())
    }

    /// A slot for a connection that `near` has accepted: on `near`, unless another worker has clearly fewer. Handing it
    /// on costs a wake-up. A few connections can be all the work there is, so with few of them each one counts.
    pub fn slot(&self, near: &Arc<Worker>) -> WorkerSlot {
        let least = self.workers.iter().min_by_key(|worker| worker.open());
        let worker = match least {
            Some(least) if near.open() > least.open() + least.open() / 8 => least,
            _ => near,
        };
        worker.open.fetch_add(1, Ordering::Relaxed);
        worker.tick.go_on();
        WorkerSlot(worker.clone())
    }
}

/// The threads of a [`WorkerPool`].
#[derive(Debug)]
pub struct WorkerThreads {
    stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
}

impl WorkerThreads {
    /// Ends the threads and what still runs on them, and waits until they have ended.
    pub fn stop(self) {
        self.stop.cancel();
        for thread in self.threads {
            // A join fails only if the thread has panicked, and that was shown.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(workers: usize) -> WorkerPool {
        let workers = (0..workers).map(|_| Worker::of(Handle::current())).collect();
        WorkerPool { workers, next: AtomicUsize::new(0) }
    }

    #[tokio::test]
    async fn what_one_worker_accepts_is_shared_out_and_few_are_handed_on_that_need_not() {
        let workers = workers(4);
        let near = workers.next();
        let mut slots: Vec<WorkerSlot> = (0..400).map(|_| workers.slot(&near)).collect();
        let open = || workers.workers.iter().map(|worker| worker.open()).collect::<Vec<_>>();
        let (least, most) = (open().into_iter().min().unwrap(), open().into_iter().max().unwrap());
        assert!(most <= least + least / 8 + 1, "{:?}", open());
        // A worker that is not clearly ahead keeps what it accepts.
        slots.retain(|slot| !Arc::ptr_eq(slot.worker(), &near));
        for _ in 0..90 {
            slots.push(workers.slot(&near));
            assert!(Arc::ptr_eq(slots.last().unwrap().worker(), &near), "{:?}", open());
        }
        drop(slots);
        assert_eq!(open(), [0; 4]);
    }

    #[tokio::test]
    async fn listeners_take_turns_and_many_have_one_acceptor_each() {
        let workers = workers(3);
        let acceptors = |listeners| workers.acceptors(listeners).collect::<Vec<_>>();
        assert_eq!(acceptors(1).len(), 2);
        assert!(!Arc::ptr_eq(&acceptors(1)[0], &acceptors(1)[0]));
        assert_eq!(acceptors(MANY + 1).len(), 1);
        assert_eq!(
            WorkerPool { workers: workers.workers[..1].into(), next: AtomicUsize::new(0) }
                .acceptors(1)
                .count(),
            1
        );
    }
}
