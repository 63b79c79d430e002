//! A client's permit for a route.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::refusal::Refusal;
use super::state::RouteState;
use crate::model::{ClientLimits, Peer};
use crate::state::{ClientKey, lock};

/// The permit of one connection, returned on drop.
#[derive(Debug)]
pub struct Admission(ClientPermit);

/// Counts one connection or UDP session of a client until dropped.
#[derive(Debug)]
pub struct ClientPermit {
    state: Arc<RouteState>,
    /// The client that it counts for. `None`: it is not counted per client.
    client: Option<ClientKey>,
}

impl Admission {
    /// Takes a permit within the limits of the route and, if the client is known already, within its own limits.
    pub fn admit(
        state: &Arc<RouteState>,
        limits: &ClientLimits,
        client: Option<&Peer>,
    ) -> Result<Self, Refusal> {
        let most = limits.max_connections.unwrap_or(u32::MAX);
        let more = |open: u32| (open < most).then_some(open + 1);
        if state.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return Err(Refusal::Route);
        }
        let mut admission = Admission(ClientPermit { state: state.clone(), client: None });
        if let Some(client) = client {
            // A gateway does not hide a client that a header names.
            state.note_origin(client);
            admission.identify(limits, client)?;
        }
        Ok(admission)
    }

    /// The permit of a connection that another process has admitted. Nothing is too much.
    pub fn resume(state: &Arc<RouteState>, limits: &ClientLimits, client: &Peer) -> Self {
        state.open.fetch_add(1, Ordering::Relaxed);
        Admission(ClientPermit::resume(state, limits, client))
    }

    /// Counts the connection for this client, within the limits per client.
    pub fn identify(&mut self, limits: &ClientLimits, client: &Peer) -> Result<(), Refusal> {
        self.0.identify(limits, client)
    }
}

impl ClientPermit {
    /// Takes a permit for one more UDP session of this client, within its limits.
    pub fn take(state: &Arc<RouteState>, limits: &ClientLimits, client: &Peer) -> Result<Self, Refusal> {
        state.note_origin(client);
        let mut permit = ClientPermit { state: state.clone(), client: None };
        permit.identify(limits, client)?;
        Ok(permit)
    }

    /// The permit of a session that another process has opened. Nothing is too much.
    pub fn resume(state: &Arc<RouteState>, limits: &ClientLimits, client: &Peer) -> Self {
        let client = client.ip().filter(|_| limits.max_connections_per_client.is_some()).map(ClientKey::of);
        if let Some(client) = client {
            // Below this limit it always enters.
            lock(&state.crowd).enter(client, u32::MAX);
        }
        ClientPermit { state: state.clone(), client }
    }

    /// A client of a Unix socket has no address, and no limits of its own.
    fn identify(&mut self, limits: &ClientLimits, client: &Peer) -> Result<(), Refusal> {
        let Some(ip) = client.ip() else { return Ok(()) };
        if let Some(most) = limits.max_connections_per_client {
            let client = ClientKey::of(ip);
            if !lock(&self.state.crowd).enter(client, most) {
                return Err(Refusal::Client);
            }
            self.client = Some(client);
        }
        match limits.rate_per_client {
            Some(rate) if !self.state.rates.enter(self.state.number, ip, rate) => Err(Refusal::Rate),
            _ => Ok(()),
        }
    }
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        if let Some(client) = self.client {
            lock(&self.state.crowd).leave(client);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.state.open.fetch_sub(1, Ordering::Relaxed);
        self.0.state.freed.notify_waiters();
    }
}
