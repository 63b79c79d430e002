//! One upstream address of the running proxy, and attempts at it.

use std::borrow::Cow;
use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use super::news::UpstreamNews;
use super::own_header::OwnHeader;
use super::tls::{TlsKey, TlsTo};
use crate::model::{HealthCheck, Peer, Protocol, Source, UpstreamAddr, units};
use crate::net::check::Opening;
use crate::net::dial::{DialOptions, DialTls, Reach, dial_by};
use crate::net::tls::TlsConnector;
use crate::net::{Deadline, DialError, Finding, OfClient, PARTING, Stream, check, is_gone, is_local};
use crate::state::health::{Change, Evidence, Standing};
use crate::state::{Attempt, Failure, Load, LogOnce, Upstream};

/// How many attempts at one upstream run at once. A storm of clients waits here, and costs a dead upstream no more than
/// this.
const AT_ONCE: usize = 1024;
/// The same for an upstream that is down and is tried because no other is left.
const AT_ONCE_DOWN: usize = 8;

/// What sets an upstream apart from others: one that refuses TCP may answer datagrams at the same address, and an attempt
/// that fails with the TLS of one route may work with that of another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointKey {
    /// What it is reached by.
    pub protocol: Protocol,
    /// Its address, never a name.
    pub addr: UpstreamAddr,
    /// The TLS that is spoken to it. `None`: without TLS.
    pub tls: Option<TlsKey>,
    /// From where it is reached: another way there may be broken. `None`: as the system says.
    pub source: Option<Arc<Source>>,
    /// Its address is the first of a range of ports, of which each client has one ([`OfClient::offset`]).
    pub range: bool,
}

/// One upstream address of the running proxy.
#[derive(Debug)]
pub struct Endpoint {
    key: EndpointKey,
    /// Its address, load and health.
    pub state: Arc<Upstream>,
    /// How TLS is spoken to it. `None`: without TLS.
    tls: Option<TlsTo>,
    wide: Semaphore,
    narrow: Semaphore,
    /// How often it was found gone. Receivers learn of the next time.
    losses: watch::Sender<u64>,
    news: UpstreamNews,
    starving: LogOnce,
    /// Attempts that have failed since the last log message.
    untold: AtomicU64,
}

/// Why an attempt did not become a connection.
#[derive(Debug)]
pub enum AttemptError {
    /// The dial failed.
    Dial(DialError),
    /// It waited so long behind other attempts that too little time was left for it.
    Queue,
    /// Another address of its name was tried later, and connected first.
    Overtaken,
}

/// The turn of an attempt: the next may begin once it is dropped.
struct Turn<'e> {
    /// `None`: this upstream takes no turns.
    _permit: Option<SemaphorePermit<'e>>,
    /// How long it has waited for it.
    waited: Duration,
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

impl AttemptError {
    /// What it says about the upstream.
    fn evidence(&self) -> Evidence {
        match self {
            AttemptError::Dial(DialError::Connect(_, error)) if is_gone(error) => Evidence::Gone,
            AttemptError::Dial(_) | AttemptError::Queue | AttemptError::Overtaken => Evidence::Unclear,
        }
    }
}

impl Endpoint {
    pub(super) fn new(key: EndpointKey, tls: Option<TlsTo>, news: UpstreamNews) -> Self {
        Endpoint {
            state: Arc::new(Upstream::new(key.addr.clone())),
            key,
            tls,
            wide: Semaphore::new(AT_ONCE),
            narrow: Semaphore::new(AT_ONCE_DOWN),
            losses: watch::Sender::new(0),
            news,
            starving: LogOnce::default(),
            untold: AtomicU64::new(0),
        }
    }

    /// What sets it apart from others.
    pub fn key(&self) -> &EndpointKey {
        &self.key
    }

    /// How often failed connects have found it gone ([`Upstream::losses`]). Changes with the next time.
    pub fn losses(&self) -> watch::Receiver<u64> {
        self.losses.subscribe()
    }

    /// Makes an attempt, and updates the health by its result. Dropping the future changes nothing. `begun`: now.
    pub async fn attempt(
        &self,
        attempt: Attempt,
        options: &DialOptions<'_>,
        begun: Instant,
    ) -> Result<(Stream, Peer, Load), AttemptError> {
        match self.dial(attempt.is_trial(), options, begun).await {
            Ok((stream, peer)) => Ok((stream, peer, self.succeeded(attempt))),
            Err(error) => {
                self.failed(attempt, &error);
                Err(error)
            }
        }
    }

    /// Waits for a permit and dials, both within the timeout of one attempt. Does not update the health. `begun`: now, which the
    /// caller knows already.
    pub async fn dial(
        &self,
        trial: bool,
        options: &DialOptions<'_>,
        begun: Instant,
    ) -> Result<(Stream, Peer), AttemptError> {
        let mut limit = pin!(Deadline::begun_at(begun, options.timeout));
        let Turn { _permit, waited } = self.turn(trial, begun, limit.as_mut()).await?;
        let connector = self.tls.as_ref().map(|tls| tls.connector.load_full());
        let reach = self.reach(connector.as_deref());
        match dial_by(limit, &self.addr_for(options.client), options, reach).await {
            Ok(connected) => Ok(connected),
            // An attempt that had less than its full time says nothing about the upstream.
            Err(_) if waited > options.timeout / 8 && begun.elapsed() >= options.timeout => {
                Err(AttemptError::Queue)
            }
            Err(error) => Err(AttemptError::Dial(error)),
        }
    }

    fn reach<'t>(&'t self, connector: Option<&'t TlsConnector>) -> Reach<'t> {
        let tls = self.tls.as_ref().zip(connector);
        let tls = tls.map(|(tls, connector)| DialTls { connector, name: &tls.name });
        Reach { source: self.key.source.as_deref(), tls }
    }

    /// Makes an attempt for no client, and updates the health by its result. Its connection begins as one that serves a
    /// client (`options` have the header), and ends at once. Returns whether it connected.
    pub async fn try_out(&self, attempt: Attempt, options: &DialOptions<'_>) -> bool {
        match self.dial(attempt.is_trial(), options, Instant::now()).await {
            Ok((stream, _)) => {
                // First: the news of the result may end whoever waits for this.
                stream.part(PARTING).await;
                drop(self.succeeded(attempt));
                true
            }
            Err(error) => {
                self.failed(attempt, &error);
                false
            }
        }
    }

    /// Runs one health check, whose connection begins with this header.
    pub async fn check(&self, how: &HealthCheck, header: OwnHeader) -> Finding {
        let connector = self.tls.as_ref().map(|tls| tls.connector.load_full());
        let bytes = header.bytes(self.key.protocol);
        let reach = self.reach(connector.as_deref());
        let opening = Opening { header: &bytes, on: header.on, reach };
        check(self.state.addr(), self.key.protocol, how, opening).await
    }

    /// Its address for this client. Portway itself has that of the range's first port.
    fn addr_for(&self, client: Option<OfClient>) -> Cow<'_, UpstreamAddr> {
        match (self.state.addr(), client) {
            (UpstreamAddr::Ip(addr), Some(client)) if self.key.range => {
                let mut addr = *addr;
                addr.set_port(addr.port().saturating_add(client.offset));
                Cow::Owned(UpstreamAddr::Ip(addr))
            }
            (addr, _) => Cow::Borrowed(addr),
        }
    }

    /// Whether it is another for each client: by its own address, which is the source, or by where it wanted to go. What fails for
    /// one says nothing of the others, and nobody may take an upstream from them. (Checks begin at an address of this host.)
    fn is_of_each_client(&self) -> bool {
        let EndpointKey { addr, source, range, .. } = &self.key;
        *range || *addr == UpstreamAddr::Original || source.as_ref().is_some_and(|source| source.client)
    }

    async fn turn(
        &self,
        trial: bool,
        begun: Instant,
        limit: Pin<&mut Deadline>,
    ) -> Result<Turn<'_>, AttemptError> {
        // Who wants to go where nobody answers must not keep others waiting.
        if self.is_of_each_client() {
            return Ok(Turn { _permit: None, waited: Duration::ZERO });
        }
        let down = !trial && self.state.standing(begun.into_std()) == Standing::Down;
        let slots = if down { &self.narrow } else { &self.wide };
        if let Ok(permit) = slots.try_acquire() {
            return Ok(Turn { _permit: Some(permit), waited: Duration::ZERO });
        }
        match limit.bound(slots.acquire()).await {
            Ok(Ok(permit)) => Ok(Turn { _permit: Some(permit), waited: begun.elapsed() }),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(AttemptError::Queue),
        }
    }

    /// Notes that an attempt has connected. Returns the connection's part of the load.
    pub fn succeeded(&self, attempt: Attempt) -> Load {
        let (load, change) = attempt.connected(Instant::now().into_std());
        self.tell(change, &"");
        load
    }

    /// Notes that an attempt has failed. Only a failure of the upstream counts against it.
    pub fn failed(&self, attempt: Attempt, error: &AttemptError) {
        match error {
            AttemptError::Queue => {}
            AttemptError::Dial(error) if error.error().is_some_and(is_local) => self.starves(error),
            error => self.count(attempt, error.evidence(), error),
        }
    }

    /// Counts a failed attempt against the upstream, for the reason `why`. For UDP: none of its datagrams could be
    /// delivered.
    pub fn refused(&self, attempt: Attempt, why: &dyn fmt::Display) {
        self.count(attempt, Evidence::Gone, why);
    }

    fn count(&self, attempt: Attempt, evidence: Evidence, why: &dyn fmt::Display) {
        if self.is_of_each_client() {
            return;
        }
        self.untold.fetch_add(1, Ordering::Relaxed);
        let failure = Failure { evidence, why, chance: fastrand::u64(..) };
        let change = attempt.failed(Instant::now().into_std(), failure);
        self.tell(change, why);
        let losses = self.state.losses();
        self.losses.send_if_modified(|known| std::mem::replace(known, losses.max(*known)) < losses);
    }

    /// Counts a refusal against the upstream: it refuses datagrams of a session that it had answered.
    pub fn lost(&self, error: &str) {
        if let Some(attempt) = self.state.begin(None, Instant::now().into_std()) {
            self.refused(attempt, &error);
        }
    }

    /// Notes that a check has connected.
    pub fn passed(&self) {
        self.tell(self.state.passed(Instant::now().into_std()), &"");
    }

    /// Logs that it went down and that it is back. In between, logs now and then how many attempts have failed.
    fn tell(&self, change: Change, error: &dyn fmt::Display) {
        let (upstream, protocol) = (self.state.addr(), self.key.protocol.label());
        let failed = |change| match change {
            Change::None => 0,
            _ => self.untold.swap(0, Ordering::Relaxed),
        };
        let failed = failed(change);
        match change {
            Change::None => return,
            Change::Down(time) => {
                warn!(%upstream, protocol, %error, again_in = %units::show_millis(time), "upstream is down: it does not connect");
            }
            Change::StillDown(time) => {
                info!(%upstream, protocol, %error, failed, again_in = %units::show_millis(time), "upstream is still down");
                return;
            }
            Change::Up(time) => {
                info!(%upstream, protocol, failed, down_for = %units::show_millis(time), "upstream is up again")
            }
        }
        self.news.send();
    }

    fn starves(&self, error: &DialError) {
        let now = Instant::now().into_std();
        let _ = self.starving.ends(|| now);
        if self.starving.begins(now) {
            warn!(
                upstream = %self.state.addr(), %error,
                "this system has no socket or port left for another connection to the upstream"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpSocket, TcpStream};

    use super::*;
    use crate::net::within;

    /// A server with a full queue, which answers nobody.
    async fn mute() -> (tokio::net::TcpListener, Vec<std::io::Result<TcpStream>>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let (addr, mut queued) = (listener.local_addr().unwrap(), Vec::new());
        while let Ok(stream) = within(Duration::from_millis(500), TcpStream::connect(addr)).await {
            queued.push(stream);
        }
        (listener, queued)
    }

    #[tokio::test]
    async fn an_attempt_that_has_waited_long_for_its_turn_says_nothing_of_the_upstream() {
        let (server, _queued) = mute().await;
        let addr = UpstreamAddr::Ip(server.local_addr().unwrap());
        let key = EndpointKey { protocol: Protocol::Tcp, addr, tls: None, source: None, range: false };
        let endpoint = Endpoint::new(key, None, UpstreamNews::default());
        let options = DialOptions::for_no_client(Duration::from_millis(800), b"");
        let error = endpoint.dial(false, &options, Instant::now()).await.unwrap_err();
        assert!(matches!(error, AttemptError::Dial(_)), "{error}");

        let others = endpoint.wide.try_acquire_many(1024).unwrap();
        let frees = async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            drop(others);
        };
        let (found, ()) = tokio::join!(endpoint.dial(false, &options, Instant::now()), frees);
        let error = found.unwrap_err();
        assert!(matches!(error, AttemptError::Queue), "{error}");
    }
}
