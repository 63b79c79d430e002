//! The registry of upstreams: what is known about each address, each name and by each check. All routes share it, and
//! edits keep it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, Weak};

use tokio::time::Instant;

use super::checks::{How, RunningCheck};
use super::context::Context;
use super::endpoint::{Endpoint, EndpointKey};
use super::names::Name;
use super::news::UpstreamNews;
use super::own_header::OwnHeader;
use super::tls::LiveConnector;
use crate::model::HealthCheck;
use crate::state::lock;
use crate::tasks::Scope;

/// What sets a check apart from others: routes that check an endpoint alike share one.
type CheckKey = (EndpointKey, HealthCheck, OwnHeader);

/// Every upstream that a route uses.
#[derive(Debug)]
pub struct Upstreams {
    endpoints: Mutex<HashMap<EndpointKey, Arc<Endpoint>>>,
    names: Mutex<HashMap<String, Weak<Name>>>,
    checks: Mutex<HashMap<CheckKey, Weak<RunningCheck>>>,
    context: Arc<Context>,
}

impl Upstreams {
    /// An empty registry. `scope` owns its tasks.
    pub fn new(scope: Scope) -> Arc<Self> {
        let context = Arc::new(Context::new(scope));
        let upstreams = Arc::new(Upstreams {
            endpoints: Mutex::default(),
            names: Mutex::default(),
            checks: Mutex::default(),
            context: context.clone(),
        });
        context.scope.spawn(sweep(Arc::downgrade(&upstreams), context.clone()));
        upstreams
    }

    /// The endpoint of this key. Created if it is not known yet. `connector`: how its TLS is spoken, if it has any.
    pub fn endpoint(&self, key: EndpointKey, connector: Option<Arc<LiveConnector>>) -> Arc<Endpoint> {
        let mut endpoints = lock(&self.endpoints);
        let new = |key: &EndpointKey| {
            let tls = key.tls.as_ref().zip(connector).map(|(tls, connector)| tls.with(connector));
            Arc::new(Endpoint::new(key.clone(), tls, self.context.news.clone()))
        };
        endpoints.entry(key).or_insert_with_key(new).clone()
    }

    /// The name. Its look-ups begin if nobody uses it yet.
    pub fn name(&self, host: &str) -> Arc<Name> {
        shared(&self.names, host.to_owned(), || Name::watched(host, &self.context))
    }

    /// The check of this upstream, whose connections begin with this header. Begins if it does not run yet.
    pub fn check(
        &self,
        endpoint: &Arc<Endpoint>,
        check: &HealthCheck,
        header: OwnHeader,
    ) -> Arc<RunningCheck> {
        let key = (endpoint.key().clone(), check.clone(), header);
        let how = How { check: check.clone(), header };
        shared(&self.checks, key, || RunningCheck::begin(endpoint.clone(), how, &self.context))
    }

    /// Forgets upstreams that no route uses and that have no connection, and names and checks that nobody uses.
    pub fn forget_unused(&self) {
        let now = Instant::now().into_std();
        lock(&self.names).retain(|_, name| name.strong_count() > 0);
        lock(&self.checks).retain(|_, check| check.strong_count() > 0);
        let mut endpoints = lock(&self.endpoints);
        // Keep for a while what is known about an address that has left its name: it may come back.
        endpoints
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
