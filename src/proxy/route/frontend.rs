//! What a listener serves: one route, or several of which the client's TLS hello chooses one.

use std::sync::Arc;

use super::live::LiveRoute;
use super::refusal::Refusal;
use crate::model::{AcceptProxy, Peer, Policy, Untrusted};
use crate::state::ServedNames;
use crate::tasks::Scope;

/// The name in records and metrics of a client that no route serves.
pub const NO_ROUTE: &str = "-";

/// What a listener serves. Loaded once per connection.
#[derive(Debug)]
pub enum Frontend {
    /// One route.
    Route(Arc<LiveRoute>),
    /// A choice of route by server name and protocol (SNI, ALPN).
    Sni(Box<SniRouter>),
}

/// Several routes at one address.
#[derive(Debug)]
pub struct SniRouter {
    names: ServedNames,
    /// The first says how clients are heard. At least one.
    routes: Vec<Arc<LiveRoute>>,
    /// Whose a client is until it is known which route serves it, and after that if none does.
    unrouted: Arc<LiveRoute>,
}

impl SniRouter {
    /// Between these routes, at least one; `unrouted` keeps count of clients that none serves. `None`: there is no route.
    pub fn new(routes: Vec<Arc<LiveRoute>>, unrouted: Arc<LiveRoute>) -> Option<Self> {
        let names = ServedNames::new(routes.iter().map(|live| &live.route.selector));
        (!routes.is_empty()).then_some(SniRouter { names, routes, unrouted })
    }

    /// The route of a client that asks for this server name and these protocols.
    pub fn route(&self, server_name: Option<&str>, alpn: &[Vec<u8>]) -> Option<&Arc<LiveRoute>> {
        self.names.route(server_name, alpn).and_then(|index| self.routes.get(index))
    }

    /// The route of a client that asks for none.
    pub fn rest(&self) -> Option<&Arc<LiveRoute>> {
        self.names.rest().and_then(|index| self.routes.get(index))
    }
}

impl Frontend {
    /// The route that says how clients are heard: the only one, or the first of several.
    pub fn first(&self) -> &Arc<LiveRoute> {
        match self {
            Frontend::Route(live) => live,
            Frontend::Sni(router) => router.routes.first().unwrap_or(&router.unrouted),
        }
    }

    /// Its policy.
    pub fn policy(&self) -> &Policy {
        &self.first().route.policy
    }

    /// Each route.
    pub fn routes(&self) -> &[Arc<LiveRoute>] {
        match self {
            Frontend::Route(live) => std::slice::from_ref(live),
            Frontend::Sni(router) => &router.routes,
        }
    }

    /// Whose a client is that was just accepted.
    pub fn owner(&self) -> &Arc<LiveRoute> {
        match self {
            Frontend::Route(live) => live,
            Frontend::Sni(router) => &router.unrouted,
        }
    }

    /// The owner of the tasks of clients that were just accepted.
    pub fn scope(&self) -> &Scope {
        &self.first().connections
    }

    /// Whether a client may come in, or at least send its header or hello. One that may not is counted.
    pub fn lets_in(&self, client: &Peer) -> bool {
        let first = self.first();
        match first.route.policy.proxy_protocol.accept.as_deref() {
            Some(accept) if accept.trusted.includes(client) => true,
            Some(accept) if accept.untrusted == Untrusted::Refuse => {
                first.state.refused(Refusal::Untrusted, client);
                false
            }
            _ => match self {
                Frontend::Route(live) => live.admits(client),
                // A route of the address may let it in.
                Frontend::Sni(router) if router.routes.iter().any(|live| live.access.admits(client)) => true,
                Frontend::Sni(_) => {
                    first.state.refused(Refusal::Denied, client);
                    false
                }
            },
        }
    }

    /// How the PROXY header of this sender is read, if it sends one.
    pub fn reads_header_of(&self, sender: &Peer) -> Option<&AcceptProxy> {
        self.first().reads_header_of(sender)
    }

    /// Whether something of this client is read before it is known who it is, or which route serves it.
    pub fn reads_first(&self, client: &Peer) -> bool {
        let tls = self.policy().tls.clients.is_some();
        tls || matches!(self, Frontend::Sni(_)) || self.reads_header_of(client).is_some()
    }

    /// No listener serves it any more.
    pub fn retire(&self) {
        self.routes().iter().for_each(|live| live.retire());
    }
}
