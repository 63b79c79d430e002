//! The UDP listeners that exist now. An edit treats them as it treats the others: plan, prepare, commit.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::Server;
use super::apply::bind_fault;
use crate::config::{Binding, Delta, Fault};
use crate::model::{ListenAddr, Protocol};
use crate::net::Inherited;
use crate::net::datagram::DatagramSocket;
use crate::proxy::{DatagramDoor, datagram};
use crate::tasks::{Crew, Scope};

/// Doors for the addresses of a plan, before anybody serves them.
pub(super) type NewDoors = BTreeMap<ListenAddr, Arc<DatagramDoor>>;

/// The UDP listeners.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    open: BTreeMap<ListenAddr, Arc<DatagramDoor>>,
    /// Closed ones, which live as long as they have sessions.
    closing: BTreeMap<ListenAddr, Weak<DatagramDoor>>,
    /// The owners of the tasks of both.
    tasks: BTreeMap<ListenAddr, Scope>,
}

impl Datagrams {
    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Those that are open.
    pub(super) fn open(&self) -> impl Iterator<Item = &Arc<DatagramDoor>> {
        self.open.values()
    }

    /// The addresses of those that are open.
    pub(super) fn addrs(&self) -> impl Iterator<Item = &ListenAddr> {
        self.open.keys()
    }

    /// Opens every new socket. May fail; changes nothing.
    pub(super) fn prepare(
        &self,
        plan: &Delta<ListenAddr, Binding>,
        inherited: &Inherited,
        crew: &Crew,
    ) -> Result<NewDoors, Vec<(ListenAddr, Fault)>> {
        let added = |old: &ListenAddr| plan.added.keys().any(|new| old.overlaps(new));
        let removed = plan.removed.keys().filter_map(|old| self.open.get(old).cloned());
        let leaving = removed.chain(self.closing.values().filter_map(Weak::upgrade));
        let leaving: Vec<Arc<DatagramDoor>> = leaving.filter(|door| added(&door.addr)).collect();
        share_ports(&leaving, true);
        let mut opened = NewDoors::new();
        let mut faults = Vec::new();
        for addr in plan.added.keys() {
            // The socket of a route that was removed, and that still has sessions.
            if let Some(door) = self.closing.get(addr).and_then(Weak::upgrade) {
                opened.insert(addr.clone(), door);
                continue;
            }
            let beside = leaving.iter().any(|door| door.addr.overlaps(addr));
            let socket = inherited.datagrams(addr);
            let socket = socket.unwrap_or_else(|| DatagramSocket::bind(addr, beside));
            match socket.and_then(|socket| DatagramDoor::new(addr.clone(), socket, crew.next())) {
                Ok(door) => {
                    opened.insert(addr.clone(), Arc::new(door));
                }
                Err(error) => {
                    let what = (Protocol::Udp, inherited.datagram_in_the_way(addr));
                    faults.push((addr.clone(), bind_fault(addr, &error, what)));
                }
            }
        }
        share_ports(&leaving, false);
        if faults.is_empty() { Ok(opened) } else { Err(faults) }
    }

    /// Ends what still has sessions at an address that a wider listener has taken over: the kernel gives a datagram to
    /// the narrower socket, where a new client would find nobody.
    async fn make_way(&self) {
        for (addr, door) in &self.closing {
            let taken = |open: &ListenAddr| addr.overlaps(open) && width(addr) < width(open);
            if !self.open.keys().any(taken) {
                continue;
            }
            if let Some(door) = door.upgrade() {
                door.cut();
            }
            if let Some(task) = self.tasks.get(addr) {
                task.finished().await;
            }
        }
    }

    /// No new sessions at any of them, and time for those that are there.
    pub(super) fn drain(&mut self) {
        for (addr, door) in std::mem::take(&mut self.open) {
            self.closing.insert(addr, Arc::downgrade(&door));
        }
        self.closing.values().filter_map(Weak::upgrade).for_each(|door| door.drain());
    }
}

/// How much an address takes: one address, a family, or both.
fn width(addr: &ListenAddr) -> u8 {
    match addr {
        ListenAddr::Any(_) => 2,
        ListenAddr::Ip(addr) => u8::from(addr.ip().is_unspecified()),
        ListenAddr::Unix(_) => 0,
    }
}

/// Setting an option on a live socket fails for no reason that a user could mend; `bind` then says what is missing.
fn share_ports(doors: &[Arc<DatagramDoor>], on: bool) {
    for door in doors {
        drop(door.socket.share_port(on));
    }
}

impl Server {
    /// Puts the UDP part of a plan into force. Cannot fail.
    pub(super) async fn commit_datagrams(&mut self, plan: &Delta<ListenAddr, Binding>, mut opened: NewDoors) {
        for addr in plan.removed.keys() {
            if let Some(door) = self.datagrams.open.remove(addr) {
                door.close();
                self.datagrams.closing.insert(addr.clone(), Arc::downgrade(&door));
            }
        }
        for (addr, (_, new)) in &plan.changed {
            if let Some(door) = self.datagrams.open.get(addr).cloned() {
                self.lead_datagrams(&door, new);
            }
        }
        for (addr, binding) in &plan.added {
            if let Some(door) = opened.remove(addr) {
                self.lead_datagrams(&door, binding);
                self.datagrams.closing.remove(addr);
                self.datagrams.open.insert(addr.clone(), door);
            }
        }
        self.datagrams.make_way().await;
        let Datagrams { open, closing, tasks } = &mut self.datagrams;
        closing.retain(|_, door| door.strong_count() > 0);
        tasks.retain(|addr, _| open.contains_key(addr) || closing.contains_key(addr));
    }

    /// Leads the new sessions of a door, and starts its task where it has none.
    fn lead_datagrams(&mut self, door: &Arc<DatagramDoor>, binding: &Binding) {
        let Some(lead) = self.lead(binding) else { return };
        if door.lead_to(lead) {
            let scope = self.root.child();
            let _there = door.worker.enter();
            scope.spawn(datagram::serve(door.clone(), self.shared.clone()));
            self.datagrams.tasks.insert(ListenAddr::clone(&door.addr), scope);
        }
    }
}
