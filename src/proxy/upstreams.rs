//! The upstreams of the running proxy: what is known of each address, of each name and by each check, shared by all
//! routes, and kept while edits come and go.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;
use tokio::time::Instant;

use super::checks::{self, Check};
use super::keyring::{LiveConnector, TlsKey};
use super::live::Live;
use super::names::{LookUps, Name};
use crate::model::{HealthCheck, UpstreamAddr};
use crate::tasks::Scope;

/// An upstream, and what it is beside its address.
type AddressKey = (UpstreamAddr, Option<TlsKey>);

/// Every upstream that a route leads to.
#[derive(Debug)]
pub struct Upstreams {
    addresses: Mutex<HashMap<AddressKey, Arc<Live>>>,
    names: Mutex<HashMap<String, Weak<Name>>>,
    checks: Mutex<HashMap<(AddressKey, HealthCheck), Weak<Check>>>,
    look_ups: LookUps,
    check_turns: checks::Turns,
    news: NewsOfUpstreams,
    /// Above the tasks of names and checks.
    scope: Scope,
}

/// Tells that an upstream went down or came back, or that a name has other addresses. Rare, and so one for all.
#[derive(Clone, Debug, Default)]
pub struct NewsOfUpstreams(watch::Sender<()>);

impl NewsOfUpstreams {
    pub(super) fn tell(&self) {
        self.0.send_replace(());
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}

impl Upstreams {
    /// None yet. Their tasks are `scope`'s.
    pub fn new(scope: Scope) -> Arc<Self> {
        Arc::new(Upstreams {
            addresses: Mutex::default(),
            names: Mutex::default(),
            checks: Mutex::default(),
            look_ups: LookUps::default(),
            check_turns: checks::Turns::default(),
            news: NewsOfUpstreams::default(),
            scope,
        })
    }

    /// The upstream at this address, as it is known, or new; with the TLS that is spoken to it.
    pub(super) fn address(&self, addr: UpstreamAddr, tls: Option<(TlsKey, Arc<LiveConnector>)>) -> Arc<Live> {
        let mut addresses = locked(&self.addresses);
        let (key, connector) = tls.unzip();
        let to = key.as_ref().zip(connector).map(|(key, connector)| key.with(connector));
        let new = |key: &AddressKey| Arc::new(Live::new(key.0.clone(), to, self.news.clone()));
        addresses.entry((addr, key)).or_insert_with_key(new).clone()
    }

    /// The name, as it is known, or new.
    pub(super) fn name(self: &Arc<Self>, host: &str) -> Arc<Name> {
        shared(&self.names, host.to_owned(), || Name::watched(host, self))
    }

    /// The check of this upstream, as it runs, or new.
    pub(super) fn check(
        self: &Arc<Self>,
        live: &Arc<Live>,
        tls: Option<TlsKey>,
        check: &HealthCheck,
    ) -> Arc<Check> {
        let key = ((live.state.addr().clone(), tls), check.clone());
        shared(&self.checks, key, || Check::begin(live.clone(), check.clone(), self))
    }

    /// Forgets the upstreams to which no route leads and that have no connection, and names and checks that nobody uses.
    pub fn forget_unused(&self) {
        let now = Instant::now().into_std();
        locked(&self.names).retain(|_, name| name.strong_count() > 0);
        locked(&self.checks).retain(|_, check| check.strong_count() > 0);
        let mut addresses = locked(&self.addresses);
        // What is known of an address that has left its name is of use when it comes back, for a time.
        addresses.retain(|_, live| Arc::strong_count(live) > 1 || !live.state.is_forgettable(now));
    }

    pub(super) fn look_ups(&self) -> &LookUps {
        &self.look_ups
    }

    pub(super) fn check_turns(&self) -> &checks::Turns {
        &self.check_turns
    }

    pub(super) fn news(&self) -> &NewsOfUpstreams {
        &self.news
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What somebody uses already, or a new one.
fn shared<K: Hash + Eq, T>(used: &Mutex<HashMap<K, Weak<T>>>, key: K, new: impl FnOnce() -> T) -> Arc<T> {
    let mut used = locked(used);
    if let Some(there) = used.get(&key).and_then(Weak::upgrade) {
        return there;
    }
    let new = Arc::new(new());
    used.insert(key, Arc::downgrade(&new));
    new
}
