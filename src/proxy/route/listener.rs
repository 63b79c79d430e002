//! A listening address of the running proxy.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, Semaphore};

use super::frontend::Frontend;
use crate::model::ListenAddr;
use crate::state::LogOnce;

/// A listening address, and what it serves. It stays while edits change that.
#[derive(Debug)]
pub struct Listener {
    /// The address.
    pub addr: Arc<ListenAddr>,
    frontend: ArcSwap<Frontend>,
    /// Wakes those who wait for a place of the route: another route may have one.
    pub changed: Notify,
    /// Accepting fails.
    pub failing: LogOnce,
    /// Whose turn it is to come in, where clients wait: several tasks accept.
    pub turn: Semaphore,
}

impl Listener {
    /// A listener that serves this.
    pub fn new(addr: ListenAddr, frontend: Frontend) -> Self {
        Listener {
            addr: Arc::new(addr),
            frontend: ArcSwap::from_pointee(frontend),
            changed: Notify::new(),
            failing: LogOnce::default(),
            turn: Semaphore::new(1),
        }
    }

    /// What it serves now.
    pub fn frontend(&self) -> Arc<Frontend> {
        self.frontend.load_full()
    }

    /// Whether it still serves this.
    pub fn serves(&self, frontend: &Arc<Frontend>) -> bool {
        Arc::ptr_eq(&self.frontend.load(), frontend)
    }

    /// Serves the next connections by something else.
    pub fn serve(&self, frontend: Frontend) {
        self.frontend.swap(Arc::new(frontend)).retire();
        self.changed.notify_waiters();
    }

    /// It serves nobody any more.
    pub fn close(&self) {
        self.frontend.load().retire();
    }
}
