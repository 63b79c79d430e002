//! An admitted client, and the permits it holds.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::reset::ResetOnDrop;
use crate::proxy::record::{PrereadPlace, RecordGuard};
use crate::proxy::route::{Admission, Frontend, UnroutedPermit};
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

impl Client {
    /// Notes that all was read that precedes the upstream: its place among those that are read is free for others. If it has
    /// sent much, of which so many bytes are `kept`, it has the place until the upstream has them.
    pub fn heard(&mut self, kept: usize) {
        self.permits.preread = self.permits.preread.take().and_then(|place| place.heard(kept));
    }
}

/// What a connection holds until it ends.
#[derive(Debug)]
pub(super) struct Permits {
    /// Its permit from the limit of the process's connections.
    pub _descriptors: Option<OwnedSemaphorePermit>,
    /// Its permit among the connections of its route. `None` until that route is known.
    pub admission: Option<Admission>,
    /// Its permit among the clients of its address whose route is not known. `None`: it is known, or none is needed.
    pub unrouted: Option<Box<UnroutedPermit>>,
    /// Its place among those that are read before they have an upstream. `None`: it is not one of them.
    pub preread: Option<Box<PrereadPlace>>,
    /// Its slot on the worker that serves it.
    pub slot: WorkerSlot,
}
