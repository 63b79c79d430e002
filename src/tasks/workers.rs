//! The threads that serve connections, each with a runtime of its own: what a connection does, it does on one thread, and
//! waits for no lock of another. `server::run` says what that gains.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, EnterGuard, Handle};
use tokio_util::sync::CancellationToken;

/// So many threads take connections from one listening socket: each of them is woken by each new connection of an idle
/// proxy, and all but one in vain.
const ACCEPTORS: usize = 2;
/// With more listeners than this they spread the work by themselves, and each is one thread's.
const MANY: usize = 256;

/// How many threads take connections from each of so many listening sockets, at most.
pub fn most_acceptors(listeners: usize) -> usize {
    if listeners > MANY { 1 } else { ACCEPTORS }
}

/// One thread that serves connections.
#[derive(Debug)]
pub struct Worker {
    runtime: Handle,
    /// Connections that it has.
    open: AtomicUsize,
}

impl Worker {
    fn of(runtime: Handle) -> Arc<Self> {
        Arc::new(Worker { runtime, open: AtomicUsize::new(0) })
    }

    /// What is spawned while the guard lives runs there, and sockets that are made wake that thread.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// A connection's place on a thread.
#[derive(Debug)]
pub struct WorkerSlot(Arc<Worker>);

impl WorkerSlot {
    /// The thread.
    pub fn worker(&self) -> &Arc<Worker> {
        &self.0
    }
}

impl Drop for WorkerSlot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The workers.
#[derive(Debug)]
pub struct WorkerPool {
    workers: Box<[Arc<Worker>]>,
    next: AtomicUsize,
}

impl WorkerPool {
    /// One thread for each core that this process may use. They work until [`WorkerThreads::stop`].
    pub fn start() -> io::Result<(WorkerPool, WorkerThreads)> {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let mut threads = WorkerThreads { stop: CancellationToken::new(), threads: Vec::new() };
        let mut workers = Vec::new();
        for number in 0..cores {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            workers.push(Worker::of(runtime.handle().clone()));
            let stop = threads.stop.clone();
            let work = move || {
                runtime.block_on(stop.cancelled());
                runtime.shutdown_timeout(Duration::ZERO);
            };
            threads.threads.push(thread::Builder::new().name(format!("portway-{number}")).spawn(work)?);
        }
        Ok((WorkerPool { workers: workers.into(), next: AtomicUsize::new(0) }, threads))
    }

    /// The worker whose turn it is to have another listener.
    pub fn next(&self) -> Arc<Worker> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.workers[turn % self.workers.len()].clone()
    }

    /// Those who take the connections of one more listener, where there are so many.
    pub fn acceptors(&self, listeners: usize) -> impl Iterator<Item = Arc<Worker>> {
        (0..most_acceptors(listeners).min(self.workers.len())).map(|_| self.next())
    }

    /// A place for a connection that `near` has accepted: there, unless another has clearly fewer. To hand it on costs a
    /// wake-up; a few connections can be all the work there is, so of few each counts.
    pub fn slot(&self, near: &Arc<Worker>) -> WorkerSlot {
        let least = self.workers.iter().min_by_key(|worker| worker.open());
        let worker = match least {
            Some(least) if near.open() > least.open() + least.open() / 8 => least,
            _ => near,
        };
        worker.open.fetch_add(1, Ordering::Relaxed);
        WorkerSlot(worker.clone())
    }
}

/// The threads of a workers.
#[derive(Debug)]
pub struct WorkerThreads {
    stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
}

impl WorkerThreads {
    /// Ends them, and what still runs there.
    pub fn stop(self) {
        self.stop.cancel();
        for thread in self.threads {
            // It can only fail by a panic of its own, which has been shown.
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
        // Who is not clearly ahead keeps what it accepts.
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
