//! The certificates of the running proxy, as their files are now.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::model::{ProxyVersion, ServeTls, Tls, UpstreamAddr, UpstreamTls};
use crate::net::tls::{TlsAcceptor, TlsConnector};

/// The TLS acceptor for clients, as its files are now. Loaded once per connection.
pub type LiveAcceptor = ArcSwap<TlsAcceptor>;

/// The TLS connector to an upstream, as its files are now.
pub type LiveConnector = ArcSwap<TlsConnector>;

/// The connectors of a table, by the part of the routes' file that names them.
pub type Connectors = BTreeMap<Arc<UpstreamTls>, Arc<LiveConnector>>;

/// TLS material from files, by the part of the routes' file that names it. Everything was read before its route
/// started.
#[derive(Debug, Default)]
pub struct TlsStore {
    /// Acceptors, towards clients.
    pub acceptors: BTreeMap<Arc<ServeTls>, Arc<LiveAcceptor>>,
    /// Connectors, towards upstreams.
    pub connectors: Connectors,
}

impl TlsStore {
    /// The acceptor of a route. `None`: the route does not terminate TLS.
    pub fn acceptor(&self, tls: &Tls) -> Option<Arc<LiveAcceptor>> {
        self.acceptors.get(tls.clients.as_ref()?).cloned()
    }

    /// The connector of a route. `None`: the route speaks no TLS to upstreams.
    pub fn connector(&self, tls: &Tls) -> Option<Arc<LiveConnector>> {
        self.connectors.get(tls.upstream.as_ref()?).cloned()
    }
}

/// Sets an upstream with TLS apart from others at its address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsKey {
    tls: Arc<UpstreamTls>,
    /// The name that it must have.
    name: String,
    /// The version of the PROXY header to send before TLS. `None`: no header.
    send: Option<ProxyVersion>,
}

/// How TLS is spoken to one upstream.
#[derive(Debug)]
pub(super) struct TlsTo {
    pub connector: Arc<LiveConnector>,
    /// The name that it must have.
    pub name: String,
}

impl TlsKey {
    /// The key of an upstream as it is written. Its name is `server_name`, or else the host.
    pub fn new(tls: &Arc<UpstreamTls>, written: &UpstreamAddr, send: Option<ProxyVersion>) -> Self {
        let of_address = || match written {
            UpstreamAddr::Name(name, _) => name.clone(),
            UpstreamAddr::Ip(addr) => addr.ip().to_string(),
            // Has a `server_name`.
            UpstreamAddr::Unix(_) | UpstreamAddr::Original => String::new(),
        };
        let name = tls.server_name.clone().unwrap_or_else(of_address);
        TlsKey { tls: tls.clone(), name, send }
    }

    /// The name that the upstream must have.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn with(&self, connector: Arc<LiveConnector>) -> TlsTo {
        TlsTo { connector, name: self.name.clone() }
    }
}
