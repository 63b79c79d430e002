//! What the checks and look-ups of all upstreams share.

use tokio::sync::{Notify, Semaphore};

use super::news::UpstreamNews;
use super::resolver::Resolver;
use crate::tasks::Scope;

/// Checks at the same time, of all upstreams: one descriptor each.
const CHECKS_AT_ONCE: usize = 64;

/// Made once per process.
#[derive(Debug)]
pub(super) struct Context {
    /// The owner of every task of a name or a check.
    pub scope: Scope,
    /// Who wants to hear of changes.
    pub news: UpstreamNews,
    /// A name has other addresses: those that it had may be forgotten.
    pub names_changed: Notify,
    /// Bounds the look-ups.
    pub resolver: Resolver,
    /// Bounds the checks.
    pub check_slots: Semaphore,
}

impl Context {
    pub fn new(scope: Scope) -> Self {
        Context {
            scope,
            news: UpstreamNews::default(),
            names_changed: Notify::new(),
            resolver: Resolver::default(),
            check_slots: Semaphore::new(CHECKS_AT_ONCE),
        }
    }
}
