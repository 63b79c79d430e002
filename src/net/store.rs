//! The client that fetches a route table and its signature: one request at a time, on a thread that may block.
//!
//! It speaks HTTP/1.1 through ureq, which follows redirects, proxies (`HTTPS_PROXY`, `NO_PROXY`) and time limits. What comes
//! of a request is a value: whoever asks decides what it means.

mod access;
mod etcd;
mod http;
mod loopback;
mod why;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ureq::Agent;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, DefaultConnector};

use crate::model::{EtcdKey, StoreUrl};
use crate::state::lock;
use crate::state::pull::{Fetch, Fetched};
use access::AT_MOST;
use loopback::LoopbackOnly;

pub use access::StoreAccess;

/// How long a name, and then a connection with its handshake, may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How many redirects are followed, never from https to http.
const REDIRECTS: u32 = 5;

/// A client of one store.
#[derive(Debug)]
pub struct StoreClient {
    access: StoreAccess,
    /// Shared with who cuts its requests off.
    agent: Arc<Mutex<Agent>>,
    /// The endpoint of etcd that has answered last.
    endpoint: usize,
}

/// Ends a request of a [`StoreClient`] from another thread.
#[derive(Clone, Debug)]
pub struct StoreCutter(Arc<Mutex<Agent>>);

impl StoreCutter {
    /// Ends the request that runs, and each one after it until [`StoreClient::renew`].
    pub fn cut(&self) {
        self.cut_if(|| true);
    }

    /// The same, if this returns true. Whoever hears of it may call [`StoreClient::renew`] at once: that comes after the cut.
    pub fn cut_if(&self, told: impl FnOnce() -> bool) {
        let agent = lock(&self.0);
        if told() {
            agent.clone().shutdown();
        }
    }
}

impl StoreClient {
    /// A client that has not connected yet. `chance`: with which endpoint it begins.
    pub fn new(access: StoreAccess, chance: u64) -> StoreClient {
        let agent = Arc::new(Mutex::new(StoreClient::agent(&access)));
        let endpoint = usize::try_from(chance % 1024).unwrap_or_default();
        StoreClient { access, agent, endpoint }
    }

    /// Makes requests again after [`StoreCutter::cut`].
    pub fn renew(&mut self) {
        *lock(&self.agent) = StoreClient::agent(&self.access);
    }

    fn agent(access: &StoreAccess) -> Agent {
        let config = Agent::config_builder()
            .tls_config(access.tls.clone())
            .https_only(access.url.is_tls())
            .http_status_as_error(false)
            .max_redirects(REDIRECTS)
            // "The same host" of the other choice may be another port, or plain text.
            .redirect_auth_headers(ureq::config::RedirectAuthHeaders::Never)
            .user_agent(concat!("portway/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(AT_MOST))
            .max_idle_connections(1)
            .build();
        let private = !access.signed && !access.url.is_tls();
        let connector = LoopbackOnly { on: private }.chain(DefaultConnector::default());
        Agent::with_parts(config, connector, DefaultResolver::default())
    }

    /// What ends its requests.
    pub fn cutter(&self) -> StoreCutter {
        StoreCutter(self.agent.clone())
    }

    /// Carries out a request. Blocks, for as long as the request allows and some seconds more.
    pub fn fetch(&mut self, fetch: &Fetch) -> Fetched {
        let agent = lock(&self.agent).clone();
        match self.access.url.clone() {
            StoreUrl::Http(url) => http::fetch(&agent, &self.access, &url, fetch),
            StoreUrl::Etcd(key) => self.fetch_of_etcd(&agent, &key, fetch),
        }
    }

    /// From the endpoint that has answered last, or else from the next ones.
    fn fetch_of_etcd(&mut self, agent: &Agent, key: &EtcdKey, fetch: &Fetch) -> Fetched {
        let mut fetched = Fetched::Failed(String::new());
        for _ in 0..key.endpoints.len() {
            let endpoint = &key.endpoints[self.endpoint % key.endpoints.len()];
            let call = etcd::Call { agent, key, endpoint, largest: self.access.largest };
            fetched = call.fetch(fetch);
            if !matches!(fetched, Fetched::Failed(_)) {
                return fetched;
            }
            self.endpoint += 1;
        }
        fetched
    }
}
