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
use crate::model::fleet::MOST_REPLICAS;
use crate::model::{HealthCheck, Replicas};
use crate::state::said_health::SaidUpstreams;
use crate::state::{Checked, lock};
use crate::tasks::Scope;

/// What sets a check apart from others: routes that check an endpoint alike share one.
type CheckKey = (EndpointKey, HealthCheck, OwnHeader);

/// A check that runs, or has run a moment ago.
#[derive(Debug)]
struct KnownCheck {
    running: Weak<RunningCheck>,
    found: Arc<Checked>,
}

impl KnownCheck {
    /// Whether nobody uses it, and what it has found says nothing any more.
    fn is_forgettable(&self, check: &HealthCheck, now: std::time::Instant) -> bool {
        self.running.strong_count() == 0 && self.found.is_forgettable(check.interval, now)
    }
}

/// Every upstream that a route uses.
#[derive(Debug)]
pub struct Upstreams {
    endpoints: Mutex<HashMap<EndpointKey, Arc<Endpoint>>>,
    names: Mutex<HashMap<String, Weak<Name>>>,
    checks: Mutex<HashMap<CheckKey, KnownCheck>>,
    /// What another process knew of them. Each is taken once.
    said: Mutex<SaidUpstreams>,
    /// Who shares the checks, and the task that counts them if they are the addresses of a name.
    fleet: Mutex<(Replicas, Option<Scope>)>,
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
            said: Mutex::default(),
            fleet: Mutex::default(),
            context: context.clone(),
        });
        let (swept, of) = (Arc::downgrade(&upstreams), context.clone());
        context.scope.keep(move || sweep(swept.clone(), of.clone()));
        upstreams
    }

    /// The endpoint of this key. Created if it is not known yet. `connector`: how its TLS is spoken, if it has any.
    pub fn endpoint(&self, key: EndpointKey, connector: Option<Arc<LiveConnector>>) -> Arc<Endpoint> {
        let mut endpoints = lock(&self.endpoints);
        let new = |key: &EndpointKey| {
            let tls = key.tls.as_ref().zip(connector).map(|(tls, connector)| tls.with(connector));
            let endpoint = Endpoint::new(key.clone(), tls, self.context.news.clone());
            if let Some(said) = lock(&self.said).connects.remove(&format!("{key:?}")) {
                endpoint.state.go_on_from(&said, Instant::now().into_std());
            }
            Arc::new(endpoint)
        };
        endpoints.entry(key).or_insert_with_key(new).clone()
    }

    /// The name. Its look-ups begin if nobody uses it yet.
    pub fn name(&self, host: &str) -> Arc<Name> {
        let said = || lock(&self.said).names.remove(host);
        shared(&self.names, host.to_owned(), || Name::watched(host, said(), &self.context))
    }

    /// The check of this upstream, whose connections begin with this header. Begins if it does not run yet, with what it had found
    /// if that was a moment ago: the route may have been taken out by hand, or by an edit.
    pub fn check(
        &self,
        endpoint: &Arc<Endpoint>,
        check: &HealthCheck,
        header: OwnHeader,
    ) -> Arc<RunningCheck> {
        let key = (endpoint.key().clone(), check.clone(), header);
        let now = Instant::now().into_std();
        let mut checks = lock(&self.checks);
        let known = checks.get(&key).filter(|known| !known.is_forgettable(check, now));
        if let Some(running) = known.and_then(|known| known.running.upgrade()) {
            return running;
        }
        let found = known.map(|known| known.found.clone()).unwrap_or_else(|| {
            let found = Checked::new(check.rise, check.fall);
            let said = lock(&self.said).checks.remove(&format!("{key:?}"));
            said.iter().for_each(|said| found.go_on_from(said, now));
            Arc::new(found)
        });
        let how = How { check: check.clone(), header };
        let running = Arc::new(RunningCheck::begin(endpoint.clone(), how, found.clone(), &self.context));
        checks.insert(key, KnownCheck { running: Arc::downgrade(&running), found });
        running
    }

    /// Sets among how many nodes the checks are shared, this one counted. The addresses of a name count as they change; until it
    /// has some there is one node.
    pub fn share_checks(&self, among: &Replicas) {
        let mut fleet = lock(&self.fleet);
        if fleet.0 == *among {
            return;
        }
        fleet.1.take().iter().for_each(Scope::kill);
        let counts = match among {
            Replicas::Count(nodes) => {
                set(&self.context, *nodes);
                None
            }
            Replicas::Name(host) => {
                let (scope, name, context) =
                    (self.context.scope.child(), self.name(host), self.context.clone());
                scope.keep(move || count(name.clone(), context.clone()));
                Some(scope)
            }
        };
        *fleet = (among.clone(), counts);
    }

    /// Among how many nodes the checks are shared, this one counted.
    pub fn nodes(&self) -> u32 {
        *self.context.nodes.borrow()
    }

    /// Forgets upstreams that no route uses and that have no connection, names that nobody uses, and what checks have found that
    /// nobody has used for a while.
    pub fn forget_unused(&self) {
        let now = Instant::now().into_std();
        lock(&self.names).retain(|_, name| name.strong_count() > 0);
        lock(&self.checks).retain(|(_, check, _), known| !known.is_forgettable(check, now));
        let mut endpoints = lock(&self.endpoints);
        // Keep for a while what is known about an address that has left its name: it may come back. So may a check.
        endpoints
            .retain(|_, endpoint| Arc::strong_count(endpoint) > 1 || !endpoint.state.is_forgettable(now));
    }

    /// What is known, to be said now to a process that takes over.
    pub fn said(&self) -> SaidUpstreams {
        let now = Instant::now().into_std();
        let names = lock(&self.names);
        let names = names.iter().filter_map(|(host, name)| Some((host.clone(), name.upgrade()?.addrs())));
        let names = names.filter(|(_, addrs)| !addrs.is_empty()).map(|(host, addrs)| (host, addrs.to_vec()));
        let connects = lock(&self.endpoints);
        let connects = connects.iter().map(|(key, endpoint)| (format!("{key:?}"), endpoint.state.said(now)));
        let checks = lock(&self.checks);
        let checks = checks.iter().filter_map(|(key, check)| {
            Some((format!("{key:?}"), check.running.upgrade()?.found().state.said(now)))
        });
        SaidUpstreams {
            names: names.collect(),
            connects: connects.filter(|(_, said)| !said.is_new()).collect(),
            checks: checks.filter(|(_, said)| !said.is_new()).collect(),
        }
    }

    /// Goes on from what another process has said, of whatever is used from now on.
    pub fn go_on_from(&self, said: SaidUpstreams) {
        *lock(&self.said) = said;
    }

    /// Lets everybody who waits for an upstream look again: what is decided about upstreams has changed.
    pub fn announce(&self) {
        self.context.news.send();
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

/// Counts the addresses of the name of a fleet.
async fn count(name: Arc<Name>, context: Arc<Context>) {
    let mut addrs = name.subscribe();
    loop {
        let nodes = addrs.borrow_and_update().len().clamp(1, MOST_REPLICAS as usize);
        set(&context, u32::try_from(nodes).unwrap_or(MOST_REPLICAS));
        // The name lives as long as this task.
        if addrs.changed().await.is_err() {
            return;
        }
    }
}

fn set(context: &Context, nodes: u32) {
    context.nodes.send_if_modified(|known| std::mem::replace(known, nodes) != nodes);
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
