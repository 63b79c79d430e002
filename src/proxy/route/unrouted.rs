//! The limit of connections per client (`max_connections_per_client`) on an address that several routes share, until the
//! hello has chosen one: a client has no more than the route allows that allows most.

use std::sync::{Arc, Mutex};

use super::live::LiveRoute;
use super::refusal::Refusal;
use crate::model::Peer;
use crate::state::{ClientConnections, ClientKey, lock};

/// The clients of an address whose route is not known yet.
#[derive(Debug, Default)]
pub struct UnroutedClients {
    /// `None`: some route of the address has no limit.
    crowd: Option<Arc<Mutex<ClientConnections>>>,
}

/// Counts one of them until dropped. Boxed: most connections have none.
#[derive(Debug)]
pub struct UnroutedPermit {
    crowd: Arc<Mutex<ClientConnections>>,
    client: ClientKey,
}

impl UnroutedClients {
    /// Of an address that these routes share.
    pub fn of(routes: &[Arc<LiveRoute>]) -> Self {
        let is_limited =
            |live: &Arc<LiveRoute>| live.route.policy.limits.max_connections_per_client.is_some();
        UnroutedClients { crowd: routes.iter().all(is_limited).then(Arc::default) }
    }

    /// Takes a permit, if any of the routes would take one connection more of this client than it has there, and without
    /// a route. `Ok(None)`: none is needed.
    pub fn take(
        &self,
        routes: &[Arc<LiveRoute>],
        client: &Peer,
    ) -> Result<Option<Box<UnroutedPermit>>, Refusal> {
        // A client of a Unix socket has no address, and no limits of its own.
        let (Some(crowd), Some(ip)) = (&self.crowd, client.ip()) else { return Ok(None) };
        let key = ClientKey::of(ip);
        let mut unrouted = lock(crowd);
        let waiting = unrouted.of(key);
        let takes = |live: &Arc<LiveRoute>| {
            let most = live.route.policy.limits.max_connections_per_client.unwrap_or(u32::MAX);
            live.access.admits(client) && waiting < most.saturating_sub(live.state.open_of(key))
        };
        if !routes.iter().any(takes) || !unrouted.enter(key, u32::MAX) {
            return Err(Refusal::Client);
        }
        Ok(Some(Box::new(UnroutedPermit { crowd: crowd.clone(), client: key })))
    }
}

impl Drop for UnroutedPermit {
    fn drop(&mut self) {
        lock(&self.crowd).leave(self.client);
    }
}
