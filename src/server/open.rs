//! Opens the new TCP and Unix sockets of a plan.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::bind_fault::bind_fault;
use super::leaving::Leaving;
use super::running::Server;
use crate::config::Plan;
use crate::model::{Fault, ListenAddr, Protocol};
use crate::net::{StreamListener, bind};
use crate::proxy::listener::Acceptors;

/// New listening sockets, each with its acceptors.
pub(super) type NewListeners = BTreeMap<ListenAddr, (StreamListener, Acceptors)>;

/// The open sockets that a plan closes and that cover an address that it opens.
pub(super) fn leaving(server: &Server, plan: &Plan) -> Vec<Arc<StreamListener>> {
    let (added, removed) = (&plan.listeners.added, plan.listeners.removed.keys());
    let covers = removed.filter(|old| added.keys().any(|new| old.overlaps(new)));
    covers.filter_map(|old| server.listeners.get(old)?.socket()).collect()
}

/// Whether a plan closes a socket that covers this address.
pub(super) fn is_beside_leaving(plan: &Plan, addr: &ListenAddr) -> bool {
    plan.listeners.removed.keys().any(|old| old.overlaps(addr))
}

/// Opens every new socket, or says for each that fails why it does. Changes nothing.
pub(super) fn open_all(server: &Server, plan: &Plan) -> Result<NewListeners, Vec<(ListenAddr, Fault)>> {
    let leaving = leaving(server, plan);
    let _shared = Leaving::sharing(|on| leaving.iter().for_each(|socket| drop(socket.share_port(on))));
    let (inherited, wanted) = (&server.inherited, &plan.listeners.added);
    let mut faults = Vec::new();
    let mut or_fault = |addr: &ListenAddr, error: io::Error| {
        let fault = bind_fault(addr, &error, Protocol::Tcp, inherited.in_the_way(addr));
        faults.push((addr.clone(), fault));
    };
    let mut opened = BTreeMap::new();
    let mut bound = Vec::new();
    for (addr, binding) in wanted {
        let passed = inherited.listen(addr, binding.route.policy.timeouts.keepalive);
        let beside = is_beside_leaving(plan, addr);
        match passed.map_or_else(|| bind(addr, beside).map(Ok), |passed| passed.map(Err)) {
            Ok(Ok(socket)) => bound.push((addr, binding, socket)),
            Ok(Err(listener)) => drop(opened.insert(addr.clone(), listener)),
            Err(error) => or_fault(addr, error),
        }
    }
    if bound.len() + opened.len() < wanted.len() {
        return Err(faults);
    }
    for (addr, binding, socket) in bound {
        match socket.listen(binding.route.policy.timeouts.keepalive) {
            Ok(listener) => drop(opened.insert(addr.clone(), listener)),
            Err(error) => or_fault(addr, error),
        }
    }
    let listeners = server.listeners() + wanted.len();
    let mut ready = BTreeMap::new();
    for (addr, socket) in opened {
        match Acceptors::at(&socket, &server.shared.workers, listeners) {
            Ok(acceptors) => drop(ready.insert(addr, (socket, acceptors))),
            Err(error) => or_fault(&addr, error),
        }
    }
    if faults.is_empty() { Ok(ready) } else { Err(faults) }
}
