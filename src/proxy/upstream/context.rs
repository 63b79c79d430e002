//! What the checks and look-ups of all upstreams share.

use tokio::sync::{Notify, Semaphore, watch};

use super::news::UpstreamNews;
use super::resolver::Resolver;
use crate::tasks::Scope;

/// How many checks run at once, of all upstreams. Each takes one descriptor.
const CHECKS_AT_ONCE: usize = 64;

/// Made once per process.
#[derive(Debug)]
pub(super) struct Context {
    /// Owns the tasks of all names and checks.
    pub scope: Scope,
    /// Notifies subscribers of changes.
    pub news: UpstreamNews,
    /// Notified when a name has other addresses. Its old ones may be forgotten.
    pub names_changed: Notify,
    /// Bounds the look-ups in progress.
    pub resolver: Resolver,
    /// Bounds the checks in progress.
    pub check_slots: Semaphore,
    /// How many nodes share the checks, this one counted: at least 1.
    pub nodes: watch::Sender<u32>,
}

impl Context {
    pub fn new(scope: Scope) -> Self {
        Context {
            scope,
            news: UpstreamNews::default(),
            names_changed: Notify::new(),
            resolver: Resolver::default(),
            check_slots: Semaphore::new(CHECKS_AT_ONCE),
            nodes: watch::Sender::new(1),
        }
    }
}
