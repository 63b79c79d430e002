//! A connection that has paused, on its way to another process.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::net::Socket;
use crate::net::relay::Halfway;

/// What has become of a connection that was offered.
#[derive(Debug)]
pub enum Verdict {
    /// It goes on in this process.
    GoOn(Box<Halfway>),
    /// It has moved, and goes on in the other.
    Moved,
    /// The other process has moved bytes of it, and has died.
    Lost,
}

/// A connection between two turns of its relay. Dropping it lets it go on in this process.
#[derive(Debug)]
pub struct Offer {
    /// The id of its entry in the open table.
    pub id: u64,
    /// The sockets of the client and of the upstream.
    pub sockets: [Arc<Socket>; 2],
    halfway: Option<Box<Halfway>>,
    reply: Option<oneshot::Sender<Verdict>>,
}

impl Offer {
    /// Offers the connection with this id, and the verdict on it.
    pub fn new(
        id: u64,
        sockets: [&Arc<Socket>; 2],
        halfway: Box<Halfway>,
    ) -> (Offer, oneshot::Receiver<Verdict>) {
        let (reply, verdict) = oneshot::channel();
        let sockets = sockets.map(Arc::clone);
        (Offer { id, sockets, halfway: Some(halfway), reply: Some(reply) }, verdict)
    }

    /// What its relay needs to go on.
    pub fn halfway(&self) -> Option<&Halfway> {
        self.halfway.as_deref()
    }

    /// It has moved.
    pub fn moved(self) {
        self.is(Verdict::Moved);
    }

    /// The other process has moved bytes of it, and has died.
    pub fn lost(self) {
        self.is(Verdict::Lost);
    }

    fn is(mut self, verdict: Verdict) {
        if let Some(reply) = self.reply.take() {
            // Its task may have been killed meanwhile.
            drop(reply.send(verdict));
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if let Some((reply, halfway)) = self.reply.take().zip(self.halfway.take()) {
            drop(reply.send(Verdict::GoOn(halfway)));
        }
    }
}
