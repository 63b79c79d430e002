//! The registry of upstreams: what is known about each address, each name and by each check. All routes share it, and
//! edits keep it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, Weak};

use tokio::time::Instant;

use super::checks::Check;
use super::context::Context;
use super::endpoint::Endpoint;
use super::names::Name;
use super::news::UpstreamNews;
use super::tls::{LiveConnector, TlsKey};
use crate::model::{HealthCheck, UpstreamAddr};
use crate::state::lock;
use crate::tasks::Scope;

/// An address, and the TLS that sets the upstream apart from others at that address.
type AddressKey = (UpstreamAddr, Option<TlsKey>);

/// Every upstream that a route uses.
#[derive(Debug)]
pub struct Upstreams {
    addresses: Mutex<HashMap<AddressKey, Arc<Endpoint>>>,
    names: Mutex<HashMap<String, Weak<Name>>>,
    checks: Mutex<HashMap<(AddressKey, HealthCheck), Weak<Check>>>,
    context: Arc<Context>,
}

impl Upstreams {
    /// An empty registry. `scope` owns its tasks.
    pub fn new(scope: Scope) -> Arc<Self> {
        let context = Arc::new(Context::new(scope));
        let upstreams = Arc::new(Upstreams {
            addresses: Mutex::default(),
            names: Mutex::default(),
            checks: Mutex::default(),
            context: context.clone(),
        });
        context.scope.spawn(sweep(Arc::downgrade(&upstreams), context.clone()));
        upstreams
    }

    /// The endpoint at this address, with the TLS that is spoken to it. Created if it is not known yet.
    pub fn address(&self, addr: UpstreamAddr, tls: Option<(TlsKey, Arc<LiveConnector>)>) -> Arc<Endpoint> {
        let mut addresses = lock(&self.addresses);
        let (key, connector) = tls.unzip();
        let to = key.as_ref().zip(connector).map(|(key, connector)| key.with(connector));
        let new = |key: &AddressKey| Arc::new(Endpoint::new(key.0.clone(), to, self.context.news.clone()));
        addresses.entry((addr, key)).or_insert_with_key(new).clone()
    }

    /// The name. Its look-ups begin if nobody uses it yet.
    pub fn name(&self, host: &str) -> Arc<Name> {
        shared(&self.names, host.to_owned(), || Name::watched(host, &self.context))
    }

    /// The check of this upstream. Begins if it does not run yet.
    pub fn check(&self, endpoint: &Arc<Endpoint>, tls: Option<TlsKey>, check: &HealthCheck) -> Arc<Check> {
        let key = ((endpoint.state.addr().clone(), tls), check.clone());
        shared(&self.checks, key, || Check::begin(endpoint.clone(), check.clone(), &self.context))
    }

    /// Forgets upstreams that no route uses and that have no connection, and names and checks that nobody uses.
    pub fn forget_unused(&self) {
        let now = Instant::now().into_std();
        lock(&self.names).retain(|_, name| name.strong_count() > 0);
        lock(&self.checks).retain(|_, check| check.strong_count() > 0);
        let mut addresses = lock(&self.addresses);
        // Keep for a while what is known about an address that has left its name: it may come back.
        addresses
            .retain(|_, endpoint| Arc::strong_count(endpoint) > 1 || !endpoint.state.is_forgettable(now));
    }

    /// News of upstreams and names, to subscribe to.
    pub fn news(&self) -> &UpstreamNews {
        &self.context.news
    }

    /// The scope that owns the tasks of names and checks.
    pub fn scope(&self) -> &Scope {
        &self.context.scope
    }
}

/// Forgets addresses that have left their name.
async fn sweep(upstreams: Weak<Upstreams>, context: Arc<Context>) {
    loop {
        context.names_changed.notified().await;
        let Some(upstreams) = upstreams.upgrade() else { return };
        upstreams.forget_unused();
    }
}

/// The value that somebody uses already, or a new one.
fn shared<K: Hash + Eq, T>(used: &Mutex<HashMap<K, Weak<T>>>, key: K, new: impl FnOnce() -> T) -> Arc<T> {
    let mut used = lock(used);
    if let Some(there) = used.get(&key).and_then(Weak::upgrade) {
        return there;
    }
    let new = Arc::new(new());
    used.insert(key, Arc::downgrade(&new));
    new
}
