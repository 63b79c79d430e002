//! A listening address of the running proxy.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, Semaphore};

use super::frontend::Frontend;
use crate::model::ListenAddr;
use crate::state::LogOnce;

/// A listening address and its frontend. Edits replace the frontend; the listener stays.
#[derive(Debug)]
pub struct Listener {
    /// The address it listens on. Records name it.
    pub addr: Arc<ListenAddr>,
    frontend: ArcSwap<Frontend>,
    /// Wakes clients that wait for a permit of the route: a new frontend may have one.
    pub changed: Notify,
    /// Tracks failing accepts, which are logged once.
    pub failing: LogOnce,
    /// Held by the client whose turn it is while others wait: several tasks accept.
    pub turn: Semaphore,
}

impl Listener {
    /// A listener that serves this frontend.
    pub fn new(addr: ListenAddr, frontend: Frontend) -> Self {
        Listener {
            addr: Arc::new(addr),
            frontend: ArcSwap::from_pointee(frontend),
            changed: Notify::new(),
            failing: LogOnce::default(),
            turn: Semaphore::new(1),
        }
    }

    /// The frontend it serves now.
    pub fn frontend(&self) -> Arc<Frontend> {
        self.frontend.load_full()
    }

    /// Whether it still serves this frontend.
    pub fn serves(&self, frontend: &Arc<Frontend>) -> bool {
        Arc::ptr_eq(&self.frontend.load(), frontend)
    }

    /// Serves later connections with another frontend, and retires the old one.
    pub fn serve(&self, frontend: Frontend) {
        self.frontend.swap(Arc::new(frontend)).retire();
        self.changed.notify_waiters();
    }

    /// Retires its frontend: the listener is closed.
    pub fn close(&self) {
        self.frontend.load().retire();
    }
}
