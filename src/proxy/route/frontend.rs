//! What a listener serves: one route, or several, of which the client's TLS hello chooses one.

use std::sync::Arc;

use super::live::LiveRoute;
use super::refusal::Refusal;
use super::unrouted::{UnroutedClients, UnroutedPermit};
use crate::model::{AcceptProxy, Peer, Policy, Untrusted};
use crate::state::ServedNames;
use crate::tasks::Scope;

/// The route name in records and metrics for clients that no route serves.
pub const NO_ROUTE: &str = "-";

/// What a listener serves. Loaded once per connection.
#[derive(Debug)]
pub enum Frontend {
    /// One route for all clients.
    Route(Arc<LiveRoute>),
    /// A choice of route by server name and protocol (SNI, ALPN).
    Sni(Box<SniRouter>),
}

/// Several routes that share one address.
#[derive(Debug)]
pub struct SniRouter {
    names: ServedNames,
    /// At least one. The policy of the first applies until the client's route is known.
    routes: Vec<Arc<LiveRoute>>,
    /// Owns clients until their route is known, and those that no route serves.
    unrouted: Arc<LiveRoute>,
    clients: UnroutedClients,
}

impl SniRouter {
    /// Chooses between these routes. `unrouted` counts the clients that none of them serves. `None`: there is no route.
    pub fn new(routes: Vec<Arc<LiveRoute>>, unrouted: Arc<LiveRoute>) -> Option<Self> {
        let names = ServedNames::new(routes.iter().map(|live| &live.route.selector));
        let clients = UnroutedClients::of(&routes);
        (!routes.is_empty()).then_some(SniRouter { names, routes, unrouted, clients })
    }

    /// The route of a client that asks for this server name and these protocols.
    pub fn route(&self, server_name: Option<&str>, alpn: &[Vec<u8>]) -> Option<&Arc<LiveRoute>> {
        self.names.route(server_name, alpn).and_then(|index| self.routes.get(index))
    }

    /// The catch-all route, also for clients that do not begin TLS. `None`: there is none.
    pub fn rest(&self) -> Option<&Arc<LiveRoute>> {
        self.names.rest().and_then(|index| self.routes.get(index))
    }
}

impl Frontend {
    /// The only route, or the first of several. Its policy applies until the client's route is known.
    pub fn first(&self) -> &Arc<LiveRoute> {
        match self {
            Frontend::Route(live) => live,
            Frontend::Sni(router) => router.routes.first().unwrap_or(&router.unrouted),
        }
    }

    /// The policy of [`Frontend::first`].
    pub fn policy(&self) -> &Policy {
        &self.first().route.policy
    }

    /// All routes of the address.
    pub fn routes(&self) -> &[Arc<LiveRoute>] {
        match self {
            Frontend::Route(live) => std::slice::from_ref(live),
            Frontend::Sni(router) => &router.routes,
        }
    }

    /// The route that owns a client that was just accepted.
    pub fn owner(&self) -> &Arc<LiveRoute> {
        match self {
            Frontend::Route(live) => live,
            Frontend::Sni(router) => &router.unrouted,
        }
    }

    /// The scope that owns the tasks of clients that were just accepted.
    pub fn scope(&self) -> &Scope {
        &self.first().connections
    }

    /// Whether a client is admitted, or at least may send its header or hello. Counts a client that is not.
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
                // A route of the address may admit it.
                Frontend::Sni(router) if router.routes.iter().any(|live| live.access.admits(client)) => true,
                Frontend::Sni(_) => {
                    first.state.refused(Refusal::Denied, client);
                    false
                }
            },
        }
    }

    /// Takes a permit for a client whose route is not known yet, within the limit per client of the routes that it may
    /// have. `Ok(None)`: none is needed.
    pub fn take_unrouted(&self, client: &Peer) -> Result<Option<Box<UnroutedPermit>>, Refusal> {
        match self {
            Frontend::Route(_) => Ok(None),
            Frontend::Sni(router) => router.clients.take(&router.routes, client),
        }
    }

    /// How to read the PROXY header of this sender. `None`: it is not trusted to send one.
    pub fn reads_header_of(&self, sender: &Peer) -> Option<&AcceptProxy> {
        self.first().reads_header_of(sender)
    }

    /// Whether the client's first bytes are read before it has an upstream: for a PROXY header, a route or TLS.
    pub fn reads_first(&self, client: &Peer) -> bool {
        let tls = self.policy().tls.clients.is_some();
        tls || matches!(self, Frontend::Sni(_)) || self.reads_header_of(client).is_some()
    }

    /// Retires its routes: no listener serves them any more.
    pub fn retire(&self) {
        self.routes().iter().for_each(|live| live.retire());
    }
}
