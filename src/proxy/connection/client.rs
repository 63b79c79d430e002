//! A client that was let in, and what it takes up.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::reset::ResetOnDrop;
use crate::proxy::record::RecordGuard;
use crate::proxy::route::{Admission, Frontend};
use crate::tasks::WorkerSlot;

/// A client's connection. Dropped in this order: closed, its places given back, recorded.
#[derive(Debug)]
pub(super) struct Client {
    pub socket: ResetOnDrop,
    /// What its listener served when it was accepted: an edit does not reach into it.
    pub frontend: Arc<Frontend>,
    /// In a box: a task would keep room for it wherever it is moved.
    pub permits: Box<Permits>,
    pub guard: RecordGuard,
}

/// What a connection takes up, given back when it has ended.
#[derive(Debug)]
pub(super) struct Permits {
    /// Its share of the descriptors.
    pub _descriptors: OwnedSemaphorePermit,
    /// Its place among the connections of its route, once that is known.
    pub admission: Option<Admission>,
    /// Its place on the thread that serves it.
    pub slot: WorkerSlot,
}
