//! The addresses of upstreams, without waiting for a resolver: what is known is used, and looked up anew beside it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::model::UpstreamAddr;
use crate::net::resolve::resolve;
use crate::tasks::Scope;

/// Addresses older than this are looked up again when somebody needs them.
const FRESH: Duration = Duration::from_secs(5);
/// A look-up that failed is not repeated sooner.
const RETRY: Duration = Duration::from_secs(1);
/// Answers on their way to the desk; the look-ups wait.
const ANSWERS: usize = 16;

/// What a look-up has found.
#[derive(Debug)]
pub(super) struct Found {
    pub upstream: UpstreamAddr,
    answer: io::Result<Vec<SocketAddr>>,
}

/// What is known of an upstream's addresses.
#[derive(Debug)]
pub(super) enum Known {
    /// In the order to be tried.
    Addresses(Vec<SocketAddr>),
    /// It is being looked up for the first time.
    Pending,
    /// It has none.
    Failed(String),
}

#[derive(Debug, Default)]
struct Name {
    addrs: Vec<SocketAddr>,
    error: Option<String>,
    /// When to look it up again.
    stale: Option<Instant>,
    looking: bool,
}

/// The names of one listener's upstreams.
#[derive(Debug)]
pub(super) struct Names {
    known: HashMap<UpstreamAddr, Name>,
    scope: Scope,
    to: Sender<Found>,
}

impl Names {
    /// Look-ups belong to `scope`; what they find is received.
    pub(super) fn new(scope: Scope) -> (Names, Receiver<Found>) {
        let (to, found) = channel(ANSWERS);
        (Names { known: HashMap::new(), scope, to }, found)
    }

    /// The addresses of an upstream. `patience`: how long a look-up may take, if it needs one.
    pub(super) fn look(&mut self, upstream: &UpstreamAddr, patience: Duration, now: Instant) -> Known {
        let (name, port) = match upstream {
            UpstreamAddr::Ip(addr) => return Known::Addresses(vec![*addr]),
            // No file leads there by UDP.
            UpstreamAddr::Unix(_) => return Known::Failed("a Unix socket".to_owned()),
            UpstreamAddr::Name(name, port) => (name.clone(), *port),
        };
        let known = self.known.entry(upstream.clone()).or_default();
        if !known.looking && known.stale.is_none_or(|stale| stale <= now) {
            known.looking = true;
            let (to, upstream) = (self.to.clone(), upstream.clone());
            self.scope.spawn(async move {
                let answer = resolve(&name, port, patience).await;
                // Fails when its door has ended.
                drop(to.send(Found { upstream, answer }).await);
            });
        }
        match &known.error {
            _ if !known.addrs.is_empty() => Known::Addresses(known.addrs.clone()),
            Some(error) if !known.looking => Known::Failed(error.clone()),
            _ => Known::Pending,
        }
    }

    /// Takes in what a look-up has found. Where it failed, the last good answer stays.
    pub(super) fn learn(&mut self, found: Found, now: Instant) {
        let Some(known) = self.known.get_mut(&found.upstream) else { return };
        known.looking = false;
        match found.answer {
            Ok(addrs) => *known = Name { addrs, stale: Some(now + FRESH), ..Name::default() },
            Err(error) => {
                known.error = Some(format!("the name does not resolve: {error}"));
                known.stale = Some(now + RETRY);
            }
        }
    }

    /// Forgets the names of which this does not hold.
    pub(super) fn retain(&mut self, holds: impl Fn(&UpstreamAddr) -> bool) {
        self.known.retain(|upstream, name| name.looking || holds(upstream));
    }
}
