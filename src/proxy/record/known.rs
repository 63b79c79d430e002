//! What is learned about a connection while it is open.

use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::mpsc;

use super::local::LocalEnd;
use super::paused::Offer;
use crate::model::{Outcome, Peer, UpstreamAddr};
use crate::net::Socket;
use crate::proxy::route::LiveRoute;
use crate::state::Tally;
use crate::tasks::Task;

/// How many failed attempts a record names. The others are only counted.
pub(super) const ERRORS_SHOWN: u32 = 8;

/// The upstream of a connection.
#[derive(Clone, Debug)]
pub struct Connected {
    /// As written in the file.
    pub written: Arc<UpstreamAddr>,
    /// The address that was connected.
    pub peer: Peer,
}

/// What is learned about a connection while it is open.
#[derive(Debug)]
pub struct Known {
    /// The route that serves it.
    pub owner: Arc<LiveRoute>,
    /// The peer that connected, or the client that its PROXY header named.
    pub client: Peer,
    /// Its upstream. `None` until one is connected.
    pub upstream: Option<Connected>,
    /// From the first attempt to a connected upstream, in microseconds.
    pub(super) connect: Option<u32>,
    /// The counters of that upstream. `None` until they include this connection.
    pub(in crate::proxy) tally: Option<Arc<Tally>>,
    /// Whether the counters of its route include it as opened.
    pub(super) counted: bool,
    pub(super) outcome: Outcome,
    /// Boxed: few connections have any.
    pub(super) rare: Option<Box<Rare>>,
    pub(super) quiet: bool,
    /// Wakes its task, as long as its relay may pause.
    pub(super) relay: Option<Waker>,
    /// The sockets of the client and of the upstream. Weak, so that this does not keep them open.
    pub(super) sockets: [Weak<Socket>; 2],
    /// Our own end towards the upstream. `None`: nobody has asked the kernel.
    pub(super) local: Option<LocalEnd>,
    pub(super) task: Option<Task>,
}

/// What few connections have.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// What a record says beside the outcome.
    pub text: String,
    /// How many attempts have failed.
    pub errors: u32,
    /// Who waits until the relay has paused.
    pub paused_to: Option<mpsc::Sender<Offer>>,
}

impl Rare {
    /// What the record says beside the outcome.
    pub fn detail(&self) -> Option<String> {
        let more = match self.errors.checked_sub(ERRORS_SHOWN) {
            Some(more @ 1..) => format!("; and {more} more"),
            _ => String::new(),
        };
        Some(self.text.clone() + &more).filter(|text| !text.is_empty())
    }
}

impl Known {
    /// Time from the first attempt to a connected upstream. `None`: none is connected yet, or it is a UDP session.
    pub fn connect(&self) -> Option<Duration> {
        self.connect.map(|micros| Duration::from_micros(micros.into()))
    }

    /// Sets the time from the first attempt to a connected upstream. More than 71 minutes count as 71 minutes.
    pub(super) fn connected_after(&mut self, time: Duration) {
        self.connect = Some(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    /// The socket of its upstream. `None`: closed, or not connected yet.
    pub(super) fn upstream_socket(&self) -> Option<Arc<Socket>> {
        self.sockets[1].upgrade()
    }

    pub(super) fn set_upstream_socket(&mut self, upstream: &Arc<Socket>) {
        self.sockets[1] = Arc::downgrade(upstream);
    }

    /// The counters of its upstream. `None` until they include this connection.
    pub fn tally(&self) -> Option<&Tally> {
        self.tally.as_deref()
    }
}
