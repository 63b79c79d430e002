//! The UDP listeners that exist now. An edit treats them like the others: plan, prepare, commit.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tracing::warn;

use super::leaving::Leaving;
use crate::config::{Binding, Delta};
use crate::model::{Fault, ListenAddr, Protocol};
use crate::net::datagram::DatagramSocket;
use crate::net::{Inherited, bind_fault, within};
use crate::proxy::record::Shared;
use crate::proxy::route::LiveRoute;
use crate::proxy::udp::{self, UdpListener};
use crate::tasks::{Scope, WorkerPool};

/// How long an edit waits until old listeners have handed over their sessions. It takes some microseconds.
const HAND_OVER: Duration = Duration::from_secs(1);

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
    /// Closed listeners. They go on as long as they have sessions, and a moment longer: an address may have several.
    closing: BTreeMap<ListenAddr, Vec<Weak<UdpListener>>>,
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

    /// The closed listeners that still go on.
    fn closing(&self) -> impl Iterator<Item = Arc<UdpListener>> {
        self.closing.values().flatten().filter_map(Weak::upgrade)
    }

    /// The addresses of the open listeners.
    pub(super) fn addrs(&self) -> impl Iterator<Item = &ListenAddr> {
        self.open.keys()
    }

    /// Opens every new socket. May fail; changes nothing. What comes of it is for [`UdpListeners::commit`] or
    /// [`UdpListeners::give_back`].
    pub(super) fn prepare(
        &self,
        plan: &Delta<ListenAddr, Binding>,
        inherited: &Inherited,
        workers: &WorkerPool,
    ) -> Result<NewUdpListeners, Vec<(ListenAddr, Fault)>> {
        let added = |old: &ListenAddr| plan.added.keys().any(|new| old.overlaps(new));
        let removed = plan.removed.keys().filter_map(|old| self.open.get(old).cloned());
        let leaving = removed.chain(self.closing());
        let leaving: Vec<Arc<UdpListener>> = leaving.filter(|listener| added(&listener.addr)).collect();
        let _shared =
            Leaving::sharing(|on| leaving.iter().for_each(|listener| drop(listener.socket.share_port(on))));
        let mut opened = NewUdpListeners::new();
        let mut faults = Vec::new();
        for addr in plan.added.keys() {
            // A removed route's listener that still has sessions is reused.
            let mut closing = self.closing.get(addr).into_iter().flatten().filter_map(Weak::upgrade);
            if let Some(listener) = closing.find(|listener| !listener.is_winding_up()) {
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
        if faults.is_empty() {
            return Ok(opened);
        }
        self.give_back(opened);
        Err(faults)
    }

    /// Gives back what [`UdpListeners::prepare`] has opened: what has arrived there meanwhile goes to the listeners that
    /// stay.
    pub(super) fn give_back(&self, opened: NewUdpListeners) {
        for listener in opened.into_values().filter(|listener| !listener.was_served()) {
            let beside = self.open.values().filter(|open| open.addr.overlaps(&listener.addr));
            udp::give_back(&listener, &beside.cloned().collect::<Vec<_>>());
        }
    }

    /// Closes the listeners that are no longer open. What new clients and open sessions send to addresses that are still
    /// listened on goes to the listeners there, and only then does anybody serve these.
    async fn hand_over(&self, opened: &NewUdpListeners) {
        let mut told = Vec::new();
        let closing: Vec<Arc<UdpListener>> = self.closing().collect();
        let after = by_port(self.open.values().chain(opened.values()).filter(|_| !closing.is_empty()));
        // One without sessions may still hear datagrams of another's, which is closing too.
        let (over, go_on): (Vec<_>, Vec<_>) =
            closing.into_iter().partition(|listener| listener.is_winding_up());
        let others = by_port(go_on.iter().filter(|_| !over.is_empty()));
        for listener in over.iter().chain(&go_on) {
            if opened.get(&*listener.addr).is_some_and(|again| Arc::ptr_eq(again, listener)) {
                continue;
            }
            let near = |all: &ByPort| all.get(&listener.addr.port()).cloned().unwrap_or_default();
            let mut successors = near(&after);
            if listener.is_winding_up() {
                successors.extend(near(&others));
            }
            successors.retain(|other| other.addr.overlaps(&listener.addr) && !Arc::ptr_eq(other, listener));
            told.push(listener.close(successors));
        }
        let all = async {
            for handed_over in told {
                // An error says that there is no task, and so no session.
                drop(handed_over.await);
            }
        };
        if within(HAND_OVER, all).await.is_err() {
            warn!("the sessions of a UDP listener were not handed over in time: some may begin anew");
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
        // Until they are closed nobody else may hold them.
        let mut removed = Vec::new();
        for addr in plan.removed.keys() {
            if let Some(listener) = self.open.remove(addr) {
                self.closing.entry(addr.clone()).or_default().push(Arc::downgrade(&listener));
                removed.push(listener);
            }
        }
        // A listener that still has sessions goes on first: it must not hand on what others are about to hand to it.
        for (addr, binding) in &plan.added {
            if let Some(listener) = opened.get(addr).filter(|listener| listener.was_served()).cloned() {
                self.serve(&listener, live(binding), serves);
            }
        }
        self.hand_over(&opened).await;
        for (addr, (_, new)) in &plan.changed {
            if let Some(listener) = self.open.get(addr).cloned() {
                self.serve(&listener, live(new), serves);
            }
        }
        for (addr, binding) in &plan.added {
            if let Some(listener) = opened.remove(addr) {
                if listener.live().is_none() {
                    self.serve(&listener, live(binding), serves);
                }
                let others = self.closing.get_mut(addr).into_iter();
                others.for_each(|others| {
                    others.retain(|other| !std::ptr::eq(other.as_ptr(), &raw const *listener))
                });
                self.open.insert(addr.clone(), listener);
            }
        }
        drop(removed);
        self.closing().for_each(|listener| listener.look_again());
        self.closing.retain(|_, listeners| {
            listeners.retain(|listener| listener.strong_count() > 0);
            !listeners.is_empty()
        });
    }

    /// Makes new sessions of a listener follow this route. Starts its task if it has none.
    fn serve(&self, listener: &Arc<UdpListener>, live: Option<Arc<LiveRoute>>, serves: Serves<'_>) {
        let Some(live) = live else { return };
        if live.route.is_original() {
            // The edit was refused if this process may not.
            drop(listener.socket.be_transparent());
        }
        if listener.serve(live) {
            let _on_its_thread = listener.worker.enter();
            let (listener, shared) = (listener.clone(), serves.shared.clone());
            serves.owner.child().keep(move || udp::serve(listener.clone(), shared.clone()));
        }
    }

    /// The `drain_delay` of each open listener.
    pub(super) fn delays(&self) -> impl Iterator<Item = Duration> {
        self.open.values().map(|listener| delay_of(listener))
    }

    /// Drains every listener whose `drain_delay` is over after this time: no new sessions, and time for the open ones to end.
    pub(super) fn drain(&mut self, after: Duration) {
        for (addr, listener) in self.open.extract_if(.., |_, listener| delay_of(listener) <= after) {
            self.closing.entry(addr).or_default().push(Arc::downgrade(&listener));
        }
        self.closing().for_each(|listener| listener.drain());
    }
}

fn delay_of(listener: &UdpListener) -> Duration {
    listener.live().map_or(Duration::ZERO, |live| live.route.policy.timeouts.drain_delay)
}

/// Listeners by port: there may be ten thousand, and as many that close.
type ByPort = HashMap<Option<u16>, Vec<Arc<UdpListener>>>;

fn by_port<'l>(listeners: impl Iterator<Item = &'l Arc<UdpListener>>) -> ByPort {
    let mut by_port = ByPort::new();
    for listener in listeners {
        by_port.entry(listener.addr.port()).or_default().push(listener.clone());
    }
    by_port
}
