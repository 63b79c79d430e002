//! An admitted client, and the permits it holds.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::reset::ResetOnDrop;
use crate::proxy::record::RecordGuard;
use crate::proxy::route::{Admission, Frontend};
use crate::tasks::WorkerSlot;

/// A client's connection. Dropped in this order: the socket closes, the permits return, the record is written.
#[derive(Debug)]
pub(super) struct Client {
    pub socket: ResetOnDrop,
    /// What its listener served when it was accepted. Later edits do not change it.
    pub frontend: Arc<Frontend>,
    /// Boxed: a task reserves space for it wherever it is moved.
    pub permits: Box<Permits>,
    pub guard: RecordGuard,
}

/// What a connection holds until it ends.
#[derive(Debug)]
pub(super) struct Permits {
    /// Its permit from the limit of the process's connections.
    pub _descriptors: OwnedSemaphorePermit,
    /// Its permit among the connections of its route. `None` until that route is known.
    pub admission: Option<Admission>,
    /// Its slot on the worker that serves it.
    pub slot: WorkerSlot,
}
