//! The upstreams of the running proxy: what is known of each, kept while edits come and go, and one attempt at one.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use super::budget::Episode;
use crate::model::{Peer, UpstreamAddr};
use crate::net::dial::DialOptions;
use crate::net::{DialError, Socket, dial};
use crate::state::health::{Change, Standing};
use crate::state::{Attempt, Load, Upstream};

/// Attempts at one upstream at the same time. A storm of clients waits here, and costs a dead upstream no more than this.
const AT_ONCE: usize = 1024;
/// The same for one that is down and is tried for want of another.
const AT_ONCE_DOWN: usize = 8;

/// One upstream address of the running proxy.
#[derive(Debug)]
pub struct Live {
    /// What is known of it.
    pub state: Arc<Upstream>,
    wide: Semaphore,
    narrow: Semaphore,
    /// Wakes those who want to know that it went down.
    went_down: Notify,
    starving: Episode,
}

/// Why an attempt did not become a connection.
#[derive(Debug)]
pub(super) enum Miss {
    /// It was dialled.
    Dial(DialError),
    /// So many attempts were under way that its turn did not come.
    Queue,
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Miss::Dial(error) => error.fmt(f),
            Miss::Queue => f.write_str("too many attempts under way"),
        }
    }
}

impl Live {
    fn new(addr: UpstreamAddr) -> Self {
        Live {
            state: Arc::new(Upstream::new(addr)),
            wide: Semaphore::new(AT_ONCE),
            narrow: Semaphore::new(AT_ONCE_DOWN),
            went_down: Notify::new(),
            starving: Episode::default(),
        }
    }

    /// Resolves when it goes down.
    pub(super) async fn down(&self) {
        self.went_down.notified().await;
    }

    /// Makes an attempt, and learns from it. Dropping the future ends it without a lesson.
    pub(super) async fn attempt(
        &self,
        attempt: Attempt,
        options: DialOptions,
    ) -> Result<(Socket, Peer, Load), Miss> {
        let permit = self.turn(&attempt, options.timeout).await?;
        let dialled = dial(self.state.addr(), options).await;
        drop(permit);
        let now = Instant::now().into_std();
        match dialled {
            Ok((socket, peer)) => {
                let (load, change) = attempt.connected(now);
                self.tell(change, &"");
                Ok((socket, peer, load))
            }
            Err(error) => {
                if is_local(&error) {
                    self.starves(&error);
                } else {
                    self.tell(attempt.failed(now, fastrand::u64(..)), &error);
                }
                Err(Miss::Dial(error))
            }
        }
    }

    /// A datagram of an attempt was answered.
    pub(super) fn answered(&self, attempt: Attempt) -> Load {
        let (load, change) = attempt.connected(Instant::now().into_std());
        self.tell(change, &"");
        load
    }

    /// No datagram of an attempt could be delivered; `why` says how that was found.
    pub(super) fn refused(&self, attempt: Attempt, why: &str) {
        self.tell(attempt.failed(Instant::now().into_std(), fastrand::u64(..)), &why);
    }

    /// It refuses datagrams of a session that it had answered.
    pub(super) fn lost(&self, error: &io::Error) {
        let now = Instant::now().into_std();
        if let Some(attempt) = self.state.begin(None, now) {
            self.tell(attempt.failed(now, fastrand::u64(..)), error);
        }
    }

    /// Waits for its turn, as long as an attempt may take.
    async fn turn(&self, attempt: &Attempt, patience: Duration) -> Result<SemaphorePermit<'_>, Miss> {
        let down = !attempt.is_trial() && self.state.standing(attempt.begun()) == Standing::Down;
        let gate = if down { &self.narrow } else { &self.wide };
        if let Ok(permit) = gate.try_acquire() {
            return Ok(permit);
        }
        match timeout(patience, gate.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            // Nobody closes it.
            Ok(Err(_)) | Err(_) => Err(Miss::Queue),
        }
    }

    /// Says once that it went down, and once that it is back.
    fn tell(&self, change: Change, error: &dyn fmt::Display) {
        let upstream = self.state.addr();
        let shown = |time: Duration| {
            humantime::format_duration(Duration::from_millis(
                u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            ))
        };
        match change {
            Change::None => {}
            Change::Down(time) => {
                warn!(%upstream, %error, again_in = %shown(time), "upstream is down: it does not connect");
                self.went_down.notify_waiters();
            }
            Change::StillDown(time) => {
                debug!(%upstream, %error, again_in = %shown(time), "upstream is still down")
            }
            Change::Up(time) => info!(%upstream, down_for = %shown(time), "upstream is up again"),
        }
    }

    fn starves(&self, error: &DialError) {
        let _ = self.starving.ends();
        if self.starving.goes_on() {
            warn!(
                upstream = %self.state.addr(), %error,
                "this system has no socket or port left for another connection to the upstream"
            );
        }
    }
}

/// Whether this system denied the attempt, so that it says nothing about the upstream.
fn is_local(error: &DialError) -> bool {
    let local = |error: &io::Error| {
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        matches!(
            errno,
            Some(
                Errno::ADDRNOTAVAIL
                    | Errno::MFILE
                    | Errno::NFILE
                    | Errno::NOBUFS
                    | Errno::NOMEM
                    | Errno::AGAIN
            )
        )
    };
    match error {
        DialError::Resolve(_) => false,
        DialError::Connect(failed) => failed.iter().any(|(_, error)| local(error)),
    }
}

/// Every upstream that a route leads to.
#[derive(Debug, Default)]
pub struct Upstreams {
    known: HashMap<UpstreamAddr, Arc<Live>>,
}

impl Upstreams {
    /// The upstream of this address, as it is known, or new.
    pub fn get(&mut self, addr: UpstreamAddr) -> Arc<Live> {
        self.known.entry(addr).or_insert_with_key(|addr| Arc::new(Live::new(addr.clone()))).clone()
    }

    /// Forgets the upstreams to which no route leads and that have no connection.
    pub fn forget_unused(&mut self) {
        self.known.retain(|_, live| Arc::strong_count(live) > 1);
    }
}
