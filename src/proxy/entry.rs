//! Who comes in at a door: whom its routes let in, who must be heard first, and to which route a client is led.

use std::sync::Arc;

use super::gate::{Gate, Refusal};
use super::{Account, Lead};
use crate::model::{AcceptProxy, Peer, Route, Selector, Untrusted};
use crate::state::ServedNames;

/// The routes of one address, to one of which a client is led by what it asks for.
#[derive(Debug)]
pub struct Fork {
    pub(super) names: ServedNames,
    pub(super) leads: Vec<Arc<Lead>>,
    /// Whose a client is that is led to none.
    nobody: Arc<Account>,
}

impl Fork {
    /// Between these; of what leads nowhere `nobody` keeps count.
    pub fn new(leads: Vec<Arc<Lead>>, nobody: Arc<Gate>, generation: u64) -> Self {
        let route = Route {
            name: NOBODY.to_owned(),
            listen: Vec::new(),
            upstream: Vec::new(),
            selector: Selector::default(),
            policy: Arc::default(),
        };
        Fork {
            names: ServedNames::new(leads.iter().map(|lead| &lead.route.selector)),
            leads,
            nobody: Arc::new(Account { route: Arc::new(route), gate: nobody, generation }),
        }
    }
}

/// What records call the route of a client that is led to none.
pub const NOBODY: &str = "-";

impl Lead {
    /// Whose a client is as long as it is not known where it is led.
    pub(super) fn front(&self) -> Arc<Account> {
        self.fork.as_ref().map_or_else(|| self.account(), |fork| fork.nobody.clone())
    }

    /// Whether a client may come in, or be heard. One that may not is counted.
    pub(super) fn lets_in(&self, client: &Peer) -> bool {
        match self.route.policy.clients.proxy_protocol.accept.as_deref() {
            Some(accept) if accept.trusted.includes(client) => true,
            Some(accept) if accept.untrusted == Untrusted::Refuse => {
                self.gate.refused(Refusal::Untrusted, client);
                false
            }
            _ => match &self.fork {
                None => self.admits(client),
                // Somewhere it may come in, perhaps.
                Some(fork) if fork.leads.iter().any(|lead| lead.access.admits(client)) => true,
                Some(_) => {
                    self.gate.refused(Refusal::Denied, client);
                    false
                }
            },
        }
    }

    /// Whether the lists let a client in. One that they do not is counted.
    pub(super) fn admits(&self, client: &Peer) -> bool {
        let admitted = self.access.admits(client);
        if !admitted {
            self.gate.refused(Refusal::Denied, client);
        }
        admitted
    }

    /// How the header of this sender is read, if it sends one.
    pub(super) fn reads_header_of(&self, sender: &Peer) -> Option<&AcceptProxy> {
        let accept = self.route.policy.clients.proxy_protocol.accept.as_deref();
        accept.filter(|accept| accept.trusted.includes(sender))
    }

    /// Whether something of this client is read before it is known where it is led.
    pub(super) fn reads_first(&self, client: &Peer) -> bool {
        let tls = self.route.policy.clients.tls.clients.is_some();
        tls || self.fork.is_some() || self.reads_header_of(client).is_some()
    }
}
