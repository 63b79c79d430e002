//! The certificates of the running proxy, as their files are now.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::model::{ProxyVersion, ServeTls, Tls, UpstreamAddr, UpstreamTls};
use crate::net::tls::{TlsAcceptor, TlsConnector};
use crate::wire::proxy::{self, Addresses, Header};

/// How clients are served TLS, as the files are now. Loaded once per connection.
pub type LiveAcceptor = ArcSwap<TlsAcceptor>;

/// How TLS begins with an upstream, as the files are now.
pub type LiveConnector = ArcSwap<TlsConnector>;

/// What stands in files, by what the routes' file says of them. Everything was read before its route came to run.
#[derive(Debug, Default)]
pub struct TlsStore {
    /// Towards clients.
    pub acceptors: BTreeMap<Arc<ServeTls>, Arc<LiveAcceptor>>,
    /// Towards upstreams.
    pub connectors: BTreeMap<Arc<UpstreamTls>, Arc<LiveConnector>>,
}

impl TlsStore {
    /// Of a route at which TLS ends.
    pub fn acceptor(&self, tls: &Tls) -> Option<Arc<LiveAcceptor>> {
        self.acceptors.get(tls.clients.as_ref()?).cloned()
    }

    /// Of a route at which it begins.
    pub fn connector(&self, tls: &Tls) -> Option<Arc<LiveConnector>> {
        self.connectors.get(tls.upstream.as_ref()?).cloned()
    }
}

/// What makes an upstream with TLS another one than its address alone: what one route cannot have of it, another may.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsKey {
    tls: Arc<UpstreamTls>,
    /// The name that it must have.
    name: String,
    /// The header that it wants before TLS.
    send: Option<ProxyVersion>,
}

/// The TLS that is spoken to one upstream.
#[derive(Debug)]
pub(super) struct TlsTo {
    pub connector: Arc<LiveConnector>,
    /// The name that it must have.
    pub name: String,
    /// What is sent before TLS where no client is meant.
    pub own_header: Vec<u8>,
}

impl TlsKey {
    /// Of an upstream as it is written.
    pub fn new(tls: &Arc<UpstreamTls>, written: &UpstreamAddr, send: Option<ProxyVersion>) -> Self {
        let of_address = || match written {
            UpstreamAddr::Name(name, _) => name.clone(),
            UpstreamAddr::Ip(addr) => addr.ip().to_string(),
            // Has a `server_name`.
            UpstreamAddr::Unix(_) => String::new(),
        };
        let name = tls.server_name.clone().unwrap_or_else(of_address);
        TlsKey { tls: tls.clone(), name, send }
    }

    pub(super) fn with(&self, connector: Arc<LiveConnector>) -> TlsTo {
        let header = Header { addresses: Addresses::Own, ..Header::default() };
        let own_header = match self.send {
            None => Vec::new(),
            Some(ProxyVersion::V1) => proxy::write_v1(&header.addresses),
            Some(ProxyVersion::V2) => proxy::write_v2(&header, false),
        };
        TlsTo { connector, name: self.name.clone(), own_header }
    }
}
