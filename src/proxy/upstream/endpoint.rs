//! One upstream address of the running proxy, and attempts at it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::news::UpstreamNews;
use super::tls::TlsTo;
use crate::model::{HealthCheck, Peer, UpstreamAddr, units};
use crate::net::dial::{DialOptions, DialTls};
use crate::net::tls::TlsConnector;
use crate::net::{CheckError, DialError, Stream, check, dial, is_local};
use crate::state::health::{Change, Standing};
use crate::state::{Attempt, Load, LogOnce, Upstream};

/// Attempts at one upstream at the same time. A storm of clients waits here, and costs a dead upstream no more than this.
const AT_ONCE: usize = 1024;
/// The same for one that is down and is tried for want of another.
const AT_ONCE_DOWN: usize = 8;

/// One upstream address of the running proxy.
#[derive(Debug)]
pub struct Endpoint {
    /// What is known of it.
    pub state: Arc<Upstream>,
    /// The TLS that is spoken to it.
    tls: Option<TlsTo>,
    wide: Semaphore,
    narrow: Semaphore,
    /// How often it went down, for those who want to know of the next time.
    downs: watch::Sender<u64>,
    news: UpstreamNews,
    starving: LogOnce,
    /// Attempts that have failed since something was said about it.
    untold: AtomicU64,
}

/// Why an attempt did not become a connection.
#[derive(Debug)]
pub enum AttemptError {
    /// It was dialled.
    Dial(DialError),
    /// So many attempts were under way that there was no time left for it.
    Queue,
    /// Another address of its name was asked later, and was there first.
    Overtaken,
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttemptError::Dial(error) => error.fmt(f),
            AttemptError::Queue => f.write_str("too many attempts under way"),
            AttemptError::Overtaken => f.write_str("no answer before another address of its name gave one"),
        }
    }
}

impl Endpoint {
    pub(super) fn new(addr: UpstreamAddr, tls: Option<TlsTo>, news: UpstreamNews) -> Self {
        Endpoint {
            state: Arc::new(Upstream::new(addr)),
            tls,
            wide: Semaphore::new(AT_ONCE),
            narrow: Semaphore::new(AT_ONCE_DOWN),
            downs: watch::Sender::new(0),
            news,
            starving: LogOnce::default(),
            untold: AtomicU64::new(0),
        }
    }

    /// How often it went down.
    pub fn downs(&self) -> watch::Receiver<u64> {
        self.downs.subscribe()
    }

    /// Makes an attempt, and learns from it. Dropping the future ends it without a lesson.
    pub async fn attempt(
        &self,
        attempt: Attempt,
        options: DialOptions<'_>,
    ) -> Result<(Stream, Peer, Load), AttemptError> {
        match self.dial(attempt.is_trial(), options).await {
            Ok((stream, peer)) => Ok((stream, peer, self.succeeded(attempt))),
            Err(error) => {
                self.failed(attempt, &error);
                Err(error)
            }
        }
    }

    /// Dials when it is its turn; both together take no longer than an attempt may. Learns nothing.
    pub async fn dial(&self, trial: bool, options: DialOptions<'_>) -> Result<(Stream, Peer), AttemptError> {
        let begun = Instant::now();
        let ends = begun + options.timeout;
        let _permit = self.turn(trial, ends).await?;
        let waited = begun.elapsed();
        let timeout = ends.saturating_duration_since(Instant::now());
        let connector = self.tls.as_ref().map(|tls| tls.connector.load_full());
        let tls = self.tls(connector.as_deref());
        match dial(self.state.addr(), DialOptions { timeout, ..options }, tls).await {
            Ok(connected) => Ok(connected),
            // What had less than its time says nothing about the upstream.
            Err(_) if waited > options.timeout / 8 && begun.elapsed() >= options.timeout => {
                Err(AttemptError::Queue)
            }
            Err(error) => Err(AttemptError::Dial(error)),
        }
    }

    fn tls<'t>(&'t self, connector: Option<&'t TlsConnector>) -> Option<DialTls<'t>> {
        let (tls, connector) = self.tls.as_ref().zip(connector)?;
        Some(DialTls { connector, name: &tls.name })
    }

    /// What is sent before TLS where no client is meant.
    pub fn own_header(&self) -> &[u8] {
        self.tls.as_ref().map_or(&[], |tls| &tls.own_header)
    }

    /// Checks it once.
    pub async fn check(&self, how: &HealthCheck) -> Result<(), CheckError> {
        let connector = self.tls.as_ref().map(|tls| tls.connector.load_full());
        check(self.state.addr(), how, self.tls(connector.as_deref()), self.own_header()).await
    }

    async fn turn(&self, trial: bool, ends: Instant) -> Result<SemaphorePermit<'_>, AttemptError> {
        let down = !trial && self.state.standing(Instant::now().into_std()) == Standing::Down;
        let slots = if down { &self.narrow } else { &self.wide };
        if let Ok(permit) = slots.try_acquire() {
            return Ok(permit);
        }
        match timeout_at(ends, slots.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            // Nobody closes it.
            Ok(Err(_)) | Err(_) => Err(AttemptError::Queue),
        }
    }

    /// An attempt has become a connection.
    pub fn succeeded(&self, attempt: Attempt) -> Load {
        let (load, change) = attempt.connected(Instant::now().into_std());
        self.tell(change, &"");
        load
    }

    /// An attempt has failed.
    pub fn failed(&self, attempt: Attempt, error: &AttemptError) {
        match error {
            AttemptError::Queue => {}
            AttemptError::Dial(error) if error.error().is_some_and(is_local) => self.starves(error),
            error => self.refused(attempt, error),
        }
    }

    /// No datagram of an attempt could be delivered; `why` says how that was found.
    pub fn refused(&self, attempt: Attempt, why: &dyn fmt::Display) {
        self.untold.fetch_add(1, Ordering::Relaxed);
        let change = attempt.failed(Instant::now().into_std(), why, fastrand::u64(..));
        self.tell(change, why);
    }

    /// It refuses datagrams of a session that it had answered.
    pub fn lost(&self, error: &std::io::Error) {
        if let Some(attempt) = self.state.begin(None, Instant::now().into_std()) {
            self.refused(attempt, error);
        }
    }

    /// A check has connected to it.
    pub fn passed(&self) {
        self.tell(self.state.passed(Instant::now().into_std()), &"");
    }

    /// Says that it went down, and that it is back; between, now and then, how many attempts have failed.
    fn tell(&self, change: Change, error: &dyn fmt::Display) {
        let upstream = self.state.addr();
        let failed = |change| match change {
            Change::None => 0,
            _ => self.untold.swap(0, Ordering::Relaxed),
        };
        let failed = failed(change);
        match change {
            Change::None => return,
            Change::Down(time) => {
                warn!(%upstream, %error, again_in = %units::show_millis(time), "upstream is down: it does not connect");
                self.downs.send_modify(|known| *known = (*known).max(self.state.downs()));
            }
            Change::StillDown(time) => {
                info!(%upstream, %error, failed, again_in = %units::show_millis(time), "upstream is still down");
                return;
            }
            Change::Up(time) => {
                info!(%upstream, failed, down_for = %units::show_millis(time), "upstream is up again")
            }
        }
        self.news.send();
    }

    fn starves(&self, error: &DialError) {
        let now = Instant::now().into_std();
        let _ = self.starving.ends(now);
        if self.starving.begins(now) {
            warn!(
                upstream = %self.state.addr(), %error,
                "this system has no socket or port left for another connection to the upstream"
            );
        }
    }
}
