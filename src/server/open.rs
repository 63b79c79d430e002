//! Opens the new TCP and Unix sockets of a plan.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use super::beside::breathe;
use super::leaving::Leaving;
use super::running::Server;
use crate::config::Plan;
use crate::model::{Fault, ListenAddr, Protocol};
use crate::net::{StreamListener, bind, bind_fault};
use crate::proxy::listener::Acceptors;

/// New listening sockets, each with its acceptors.
pub(super) type NewListeners = BTreeMap<ListenAddr, (StreamListener, Acceptors)>;

/// Addresses by port: a plan may close ten thousand, and open as many.
pub(super) struct ByPort<'p>(HashMap<Option<u16>, Vec<&'p ListenAddr>>);

impl<'p> ByPort<'p> {
    pub fn of(addrs: impl Iterator<Item = &'p ListenAddr>) -> Self {
        let mut by_port: HashMap<Option<u16>, Vec<&ListenAddr>> = HashMap::new();
        for addr in addrs {
            by_port.entry(addr.port()).or_default().push(addr);
        }
        ByPort(by_port)
    }

    /// Those that overlap this address.
    pub fn covering(&self, addr: &ListenAddr) -> impl Iterator<Item = &'p ListenAddr> {
        let same_port = self.0.get(&addr.port()).map(Vec::as_slice).unwrap_or_default();
        same_port.iter().copied().filter(move |old| old.overlaps(addr))
    }

    /// Whether one of them overlaps this address.
    pub fn cover(&self, addr: &ListenAddr) -> bool {
        self.covering(addr).next().is_some()
    }
}

/// The open sockets that a plan closes and that cover an address that it opens.
pub(super) fn leaving(server: &Server, plan: &Plan, leavers: &ByPort<'_>) -> Vec<Arc<StreamListener>> {
    let covers: BTreeSet<&ListenAddr> =
        plan.listeners.added.keys().flat_map(|new| leavers.covering(new)).collect();
    covers.into_iter().filter_map(|old| server.listeners.get(old)?.socket()).collect()
}

/// After so many addresses that cannot be had the rest is not tried.
const ENOUGH: usize = 1000;

/// Opens every new socket, or says for each that fails why it does. Changes nothing. `others_fail`: some other part of the
/// edit is refused, so no socket may listen, which clients would notice.
pub(super) async fn open_all(
    server: &Server,
    plan: &Plan,
    others_fail: bool,
) -> Result<NewListeners, Vec<(ListenAddr, Fault)>> {
    let leavers = ByPort::of(plan.listeners.removed.keys());
    let leaving = leaving(server, plan, &leavers);
    let _shared = Leaving::sharing(|on| leaving.iter().for_each(|socket| drop(socket.share_port(on))));
    let (inherited, wanted) = (&server.inherited, &plan.listeners.added);
    let mut faults: Vec<(ListenAddr, Fault)> = Vec::new();
    let or_fault = |faults: &mut Vec<(ListenAddr, Fault)>, addr: &ListenAddr, error: io::Error| {
        let fault = bind_fault(addr, &error, Protocol::Tcp, inherited.in_the_way(addr));
        faults.push((addr.clone(), fault));
    };
    let mut opened = BTreeMap::new();
    let mut bound = Vec::new();
    for (done, (addr, binding)) in wanted.iter().enumerate() {
        breathe(done).await;
        if faults.len() >= ENOUGH {
            break;
        }
        let passed = inherited.listen(addr, binding.route.policy.socket_options());
        let beside = leavers.cover(addr);
        match passed.map_or_else(|| bind(addr, beside, binding.access()).map(Ok), |passed| passed.map(Err)) {
            Ok(Ok(socket)) => bound.push((addr, binding, socket)),
            Ok(Err(listener)) => drop(opened.insert(addr.clone(), listener)),
            Err(error) => or_fault(&mut faults, addr, error),
        }
    }
    if bound.len() + opened.len() < wanted.len() || others_fail {
        return Err(faults);
    }
    for (done, (addr, binding, socket)) in bound.into_iter().enumerate() {
        breathe(done).await;
        match socket.listen(binding.route.policy.socket_options()) {
            Ok(listener) => drop(opened.insert(addr.clone(), listener)),
            Err(error) => or_fault(&mut faults, addr, error),
        }
    }
    let listeners = server.listeners() + wanted.len();
    let mut ready = BTreeMap::new();
    for (done, (addr, socket)) in opened.into_iter().enumerate() {
        breathe(done).await;
        match Acceptors::at(&socket, &server.shared.workers, listeners) {
            Ok(acceptors) => drop(ready.insert(addr, (socket, acceptors))),
            Err(error) => or_fault(&mut faults, &addr, error),
        }
    }
    if faults.is_empty() { Ok(ready) } else { Err(faults) }
}
