//! The listening socket of a door, and `when_down = "refuse"`: it is closed while no upstream can be had.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::accept;
use super::budget::Episode;
use super::{Door, Lead, Shared};
use crate::model::WhenDown;
use crate::net::dial::DialOptions;
use crate::net::{Listener, bind};
use crate::state::Walk;

/// How often the upstreams of a closed door are tried, where no check does it.
const PACE: Duration = Duration::from_secs(1);
/// How often an address is asked for again that another program has taken meanwhile.
const AGAIN: Duration = Duration::from_millis(500);

/// The listening socket of a door.
#[derive(Debug)]
pub struct Front {
    listener: ArcSwapOption<Listener>,
    /// It is ours alone: closing it makes clients see a closed port. One that systemd holds as well stays open.
    closable: bool,
    edited: Notify,
}

impl Front {
    /// Of a socket that listens.
    pub fn new(listener: Listener, closable: bool) -> Self {
        Front { listener: ArcSwapOption::from_pointee(listener), closable, edited: Notify::new() }
    }

    /// The socket, while it is open.
    pub fn listener(&self) -> Option<Arc<Listener>> {
        self.listener.load_full()
    }

    /// The door leads elsewhere.
    pub fn edited(&self) {
        self.edited.notify_one();
    }

    /// Takes connections, and closes and opens the socket as the route wants it, until its task is ended.
    pub async fn serve(self: Arc<Self>, door: Arc<Door>, shared: Arc<Shared>) {
        let mut told = false;
        loop {
            let Some(listener) = self.listener() else { return };
            tokio::select! {
                () = accept::serve(listener, door.clone(), shared.clone()) => return,
                () = self.must_close(&door, &mut told) => {}
            }
            // In a box: few doors close, and the task of each would be larger by it.
            Box::pin(self.stay_closed(&door)).await;
        }
    }

    /// Closes the socket until an upstream is back.
    async fn stay_closed(&self, door: &Door) {
        self.listener.store(None);
        warn!(listener = %door.addr, "no upstream can be had: the listening socket is closed until one is back");
        let closed = Instant::now();
        self.may_open(door).await;
        self.listener.store(Some(Arc::new(open(door).await)));
        let time = Duration::from_millis(u64::try_from(closed.elapsed().as_millis()).unwrap_or(u64::MAX));
        info!(listener = %door.addr, closed_for = %humantime::format_duration(time), "listening again");
    }

    /// Resolves when the route says so, and no upstream can be had.
    async fn must_close(&self, door: &Door, told: &mut bool) {
        loop {
            let lead = door.lead.load_full();
            if lead.route.policy.when_down != WhenDown::Refuse {
                // Not to be kept from its end by who waits for another.
                drop(lead);
                self.edited.notified().await;
            } else if Box::pin(self.is_deserted(&lead, door, told)).await {
                return;
            }
        }
    }

    /// Resolves when no upstream can be had, or with `false` when the door may lead elsewhere.
    async fn is_deserted(&self, lead: &Lead, door: &Door, told: &mut bool) -> bool {
        let mut news = lead.news();
        loop {
            if !lead.is_any_up() {
                if self.closable {
                    return true;
                }
                if !std::mem::replace(told, true) {
                    warn!(
                        listener = %door.addr,
                        "no upstream can be had, but this socket comes from outside and stays open: clients are reset"
                    );
                }
            }
            tokio::select! {
                _ = news.changed() => {}
                () = self.edited.notified() => return false,
            }
        }
    }

    /// Resolves when an upstream is back, or an edit has the door open whatever happens.
    async fn may_open(&self, door: &Door) {
        loop {
            let lead = door.lead.load_full();
            let mut news = lead.news();
            if lead.route.policy.when_down != WhenDown::Refuse || lead.is_any_up() {
                return;
            }
            let tried = async {
                if lead.route.policy.health.is_some() {
                    // The checks find it out.
                    pending::<()>().await;
                }
                sleep(PACE).await;
                try_all(&lead).await;
            };
            tokio::select! {
                _ = news.changed() => {}
                () = self.edited.notified() => {}
                () = tried => {}
            }
        }
    }
}

/// Connects once to each candidate until one answers, as a client would, and closes again.
async fn try_all(lead: &Lead) {
    let candidates = lead.candidates();
    let policy = &lead.route.policy;
    let options = DialOptions { timeout: policy.connect_timeout, keepalive: None, before: &[] };
    let mut walk = Walk::new(None, fastrand::u64(..));
    while let Some(step) = candidates.pool.next(&mut walk, Instant::now().into_std()) {
        let Some(candidate) = candidates.get(step.index) else { return };
        if candidate
            .live
            .attempt(step.attempt, DialOptions { before: candidate.live.own_header(), ..options })
            .await
            .is_ok()
        {
            return;
        }
    }
}

/// Opens the socket of a door again. Another program may have taken its address meanwhile: then until it gives it back.
async fn open(door: &Door) -> Listener {
    let failing = Episode::default();
    loop {
        let keepalive = door.lead.load().route.policy.keepalive;
        match bind(&door.addr, false).and_then(|bound| bound.listen(keepalive)) {
            Ok(listener) => return listener,
            Err(error) => {
                if failing.goes_on() {
                    warn!(listener = %door.addr, %error, "cannot listen again: trying until it works");
                }
                sleep(AGAIN).await;
            }
        }
    }
}
