//! The UDP listeners that exist now. An edit treats them like the others: plan, prepare, commit.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::bind_fault::bind_fault;
use super::leaving::Leaving;
use crate::config::{Binding, Delta};
use crate::model::{Fault, ListenAddr, Protocol};
use crate::net::Inherited;
use crate::net::datagram::DatagramSocket;
use crate::proxy::record::Shared;
use crate::proxy::route::LiveRoute;
use crate::proxy::udp::{self, UdpListener};
use crate::tasks::{Scope, WorkerPool};

/// New listeners for the addresses of a plan, which nobody serves yet.
pub(super) type NewUdpListeners = BTreeMap<ListenAddr, Arc<UdpListener>>;

/// What the task of a listener is started with.
#[derive(Clone, Copy)]
pub(super) struct Serves<'a> {
    pub owner: &'a Scope,
    pub shared: &'a Arc<Shared>,
}

/// The UDP listeners, by address.
#[derive(Debug, Default)]
pub(super) struct UdpListeners {
    open: BTreeMap<ListenAddr, Arc<UdpListener>>,
    /// Closed listeners. They go on as long as they have sessions.
    closing: BTreeMap<ListenAddr, Weak<UdpListener>>,
    /// The owners of the tasks of open and closed listeners.
    tasks: BTreeMap<ListenAddr, Scope>,
}

impl UdpListeners {
    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// The open listeners.
    pub(super) fn open(&self) -> impl Iterator<Item = &Arc<UdpListener>> {
        self.open.values()
    }

    /// The addresses of the open listeners.
    pub(super) fn addrs(&self) -> impl Iterator<Item = &ListenAddr> {
        self.open.keys()
    }

    /// Opens every new socket. May fail; changes nothing.
    pub(super) fn prepare(
        &self,
        plan: &Delta<ListenAddr, Binding>,
        inherited: &Inherited,
        workers: &WorkerPool,
    ) -> Result<NewUdpListeners, Vec<(ListenAddr, Fault)>> {
        let added = |old: &ListenAddr| plan.added.keys().any(|new| old.overlaps(new));
        let removed = plan.removed.keys().filter_map(|old| self.open.get(old).cloned());
        let leaving = removed.chain(self.closing.values().filter_map(Weak::upgrade));
        let leaving: Vec<Arc<UdpListener>> = leaving.filter(|listener| added(&listener.addr)).collect();
        let _shared =
            Leaving::sharing(|on| leaving.iter().for_each(|listener| drop(listener.socket.share_port(on))));
        let mut opened = NewUdpListeners::new();
        let mut faults = Vec::new();
        for addr in plan.added.keys() {
            // A removed route's listener that still has sessions is reused.
            if let Some(listener) = self.closing.get(addr).and_then(Weak::upgrade) {
                opened.insert(addr.clone(), listener);
                continue;
            }
            let beside = leaving.iter().any(|listener| listener.addr.overlaps(addr));
            let socket = inherited.datagrams(addr);
            let socket = socket.unwrap_or_else(|| DatagramSocket::bind(addr, beside));
            match socket.and_then(|socket| UdpListener::new(addr.clone(), socket, workers.next())) {
                Ok(listener) => {
                    opened.insert(addr.clone(), Arc::new(listener));
                }
                Err(error) => {
                    let in_the_way = inherited.datagram_in_the_way(addr);
                    faults.push((addr.clone(), bind_fault(addr, &error, Protocol::Udp, in_the_way)));
                }
            }
        }
        if faults.is_empty() { Ok(opened) } else { Err(faults) }
    }

    /// Ends the sessions of a closed listener whose address a wider one has taken over: the kernel gives a datagram to
    /// the narrower socket, where nobody would serve a new client.
    async fn make_way(&self) {
        for (addr, listener) in &self.closing {
            let taken = |open: &ListenAddr| addr.overlaps(open) && width(addr) < width(open);
            if !self.open.keys().any(taken) {
                continue;
            }
            if let Some(listener) = listener.upgrade() {
                listener.cut();
            }
            if let Some(task) = self.tasks.get(addr) {
                task.finished().await;
            }
        }
    }

    /// Serves new listeners, and closes removed ones. `live` makes the route of a binding. Cannot fail.
    pub(super) async fn commit(
        &mut self,
        plan: &Delta<ListenAddr, Binding>,
        mut opened: NewUdpListeners,
        mut live: impl FnMut(&Binding) -> Option<Arc<LiveRoute>>,
        serves: Serves<'_>,
    ) {
        for addr in plan.removed.keys() {
            if let Some(listener) = self.open.remove(addr) {
                listener.close();
                self.closing.insert(addr.clone(), Arc::downgrade(&listener));
            }
        }
        for (addr, (_, new)) in &plan.changed {
            if let Some(listener) = self.open.get(addr).cloned() {
                self.serve(&listener, live(new), serves);
            }
        }
        for (addr, binding) in &plan.added {
            if let Some(listener) = opened.remove(addr) {
                self.serve(&listener, live(binding), serves);
                self.closing.remove(addr);
                self.open.insert(addr.clone(), listener);
            }
        }
        self.make_way().await;
        let UdpListeners { open, closing, tasks } = self;
        closing.retain(|_, listener| listener.strong_count() > 0);
        tasks.retain(|addr, _| open.contains_key(addr) || closing.contains_key(addr));
    }

    /// Makes new sessions of a listener follow this route. Starts its task if it has none.
    fn serve(&mut self, listener: &Arc<UdpListener>, live: Option<Arc<LiveRoute>>, serves: Serves<'_>) {
        let Some(live) = live else { return };
        if listener.serve(live) {
            let scope = serves.owner.child();
            let _on_its_thread = listener.worker.enter();
            scope.spawn(udp::serve(listener.clone(), serves.shared.clone()));
            self.tasks.insert(ListenAddr::clone(&listener.addr), scope);
        }
    }

    /// Drains every listener: no new sessions, and time for the open ones to end.
    pub(super) fn drain(&mut self) {
        for (addr, listener) in std::mem::take(&mut self.open) {
            self.closing.insert(addr, Arc::downgrade(&listener));
        }
        self.closing.values().filter_map(Weak::upgrade).for_each(|listener| listener.drain());
    }
}

/// How wide an address is: 0 for one address, 1 for a family, 2 for both families.
fn width(addr: &ListenAddr) -> u8 {
    match addr {
        ListenAddr::Any(_) => 2,
        ListenAddr::Ip(addr) => u8::from(addr.ip().is_unspecified()),
        ListenAddr::Unix(_) => 0,
    }
}
