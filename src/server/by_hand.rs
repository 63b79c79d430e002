//! What a person does to what runs, without the file: a route is taken out and comes back, an upstream drains. It acts at
//! once, and stays over edits ([`ByHand`](crate::state::ByHand)).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tracing::{info, warn};

use super::running::Server;
use crate::model::{EntryState, Fault, ListenAddr, OnChange, Protocol, Route, Table, UpstreamEntry};
use crate::proxy::record::OpenConnection;
use crate::proxy::route::LiveRoute;
use crate::state::{Act, Deed, Target};

/// How long a route whose time is over stays out if its addresses cannot be opened, until that is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// What a person wants.
#[derive(Clone, Debug)]
pub struct Order {
    /// Of what.
    pub target: Target,
    /// What is to be done. `None`: what was done is to be undone.
    pub act: Option<Act>,
    /// After how long it ends by itself. `None`: never.
    pub lasts: Option<Duration>,
    /// Also if no upstream of the route is left.
    pub force: bool,
    /// Who wants it.
    pub by: String,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Obeyed {
    /// Whether anything is different now.
    pub changed: bool,
    /// Connections that are concerned: they go on, drain, or were reset.
    pub open: usize,
    /// How long those that drain have.
    pub at_most: Option<Duration>,
}

/// Why nothing was done.
#[derive(Clone, Debug)]
pub enum NotDone {
    /// The file has no such route, or has it with `enabled = false`.
    NoRoute,
    /// The route has no such upstream.
    NoUpstream,
    /// No other upstream of the route could take its place.
    LastUsable,
    /// The file itself says that the upstream drains.
    OfTheFile,
    /// An address of the route cannot be opened.
    Address(ListenAddr, Fault),
}

impl Server {
    /// Does what a person wants, or nothing.
    pub async fn obey(&mut self, order: Order) -> Result<Obeyed, NotDone> {
        let Order { target, act, by, .. } = &order;
        let route = self.table.route(&target.route).cloned().ok_or(NotDone::NoRoute)?;
        let done = match &target.upstream {
            None => self.obey_of_route(&order, &route).await?,
            Some(upstream) => {
                let mut entries = route.upstream.iter();
                let entry = entries.find(|entry| entry.spec.to_string() == *upstream);
                self.obey_of_upstream(&order, &route, entry.ok_or(NotDone::NoUpstream)?)?
            }
        };
        if done.changed {
            let (route, upstream) = (&target.route, target.upstream.as_deref().unwrap_or("-"));
            let (generation, listeners, connections) = (self.generation, self.listeners(), done.open);
            match act {
                None => {
                    info!(generation, route, upstream, by, listeners, "undone by hand: the file counts again")
                }
                Some(act) => {
                    let what = "done by hand: it stays over edits, until it is undone";
                    info!(generation, route, upstream, %act, by, connections, listeners, "{what}");
                }
            }
        }
        Ok(done)
    }

    fn note(&mut self, order: &Order, act: Act) {
        let until = order.lasts.and_then(|lasts| Instant::now().into_std().checked_add(lasts));
        self.still_out.remove(&order.target.route);
        let deed = Deed { act, by: order.by.clone(), at: SystemTime::now(), until };
        self.by_hand.put(order.target.clone(), deed);
    }

    fn obey_of_upstream(
        &mut self,
        order: &Order,
        route: &Arc<Route>,
        entry: &UpstreamEntry,
    ) -> Result<Obeyed, NotDone> {
        let of_the_file = entry.state == EntryState::Drain;
        let changed = match order.act {
            None => match self.by_hand.undo(&order.target) {
                false if of_the_file => return Err(NotDone::OfTheFile),
                undone => undone,
            },
            Some(Act::Weight(1..)) if of_the_file => return Err(NotDone::OfTheFile),
            Some(act) => {
                let closes = !matches!(act, Act::Weight(1..));
                if closes && !order.force && self.is_last_usable(&route.name, &order.target) {
                    return Err(NotDone::LastUsable);
                }
                self.note(order, act);
                true
            }
        };
        self.steer(&order.target);
        let mut connections = Vec::new();
        self.shared.open.each(|open| {
            if leads_to(open, &route.name, entry) {
                connections.push(open.clone());
            }
        });
        if order.act == Some(Act::Disable) {
            connections.iter().for_each(|open| open.kill());
        }
        self.upstreams.announce();
        Ok(Obeyed { changed, open: connections.len(), at_most: None })
    }

    /// Whether clients of the route would find no upstream without this one.
    fn is_last_usable(&self, route: &str, target: &Target) -> bool {
        let now = Instant::now().into_std();
        let (mut own, mut others) = (false, false);
        for live in self.lives_of(route) {
            let candidates = live.candidates();
            for (member, candidate) in candidates.pool.members().iter().zip(candidates.list()) {
                let entry = live.route.upstream.get(candidate.entry);
                let is_own = entry.map(|entry| entry.spec.to_string()) == target.upstream;
                own |= is_own && member.takes_new();
                others |= !is_own && member.takes_new() && member.is_up(now);
            }
        }
        own && !others
    }

    fn lives_of(&self, route: &str) -> Vec<Arc<LiveRoute>> {
        let tcp = self.listeners.values().flat_map(|socket| socket.listener().frontend().routes().to_vec());
        let udp = self.udp.open().filter_map(|listener| listener.live());
        tcp.chain(udp).filter(|live| live.route.name == route).collect()
    }

    /// Lets an upstream follow what was done by hand.
    pub(super) fn steer(&mut self, target: &Target) {
        let entry = self.table.route(&target.route).and_then(|route| {
            route.upstream.iter().find(|entry| Some(entry.spec.to_string()) == target.upstream)
        });
        let Some(spec) = entry.map(|entry| entry.spec.clone()) else { return };
        let (serves, weight) = self.by_hand.steers(target);
        self.registry.state(&target.route).steering(&spec).set(serves, weight);
    }

    /// Lets every upstream of a route that an edit adds or changes follow what was done by hand.
    pub(super) fn steer_all(&mut self, route: &Route) {
        let state = self.registry.state(&route.name);
        for entry in &route.upstream {
            let target = || Target { route: route.name.clone(), upstream: Some(entry.spec.to_string()) };
            let (serves, weight) =
                if self.by_hand.is_empty() { Default::default() } else { self.by_hand.steers(&target()) };
            state.steering(&entry.spec).set(serves, weight);
        }
    }

    async fn obey_of_route(&mut self, order: &Order, route: &Arc<Route>) -> Result<Obeyed, NotDone> {
        let name = &route.name;
        let Some(act) = order.act else {
            if !self.by_hand.holds(name) {
                return Ok(Obeyed::default());
            }
            self.bring_back(name).await?;
            return Ok(Obeyed { changed: true, ..Obeyed::default() });
        };
        let on_change = if act == Act::Drain { OnChange::Drain } else { OnChange::Cut };
        let open = self.open_of(name);
        let was_served = self.table.routes.contains_key(name);
        self.note(order, act);
        if was_served {
            self.take_out(route, on_change).await;
        }
        // Also those that earlier edits have kept.
        for old in self.retired.iter().filter(|old| old.route.name == *name) {
            match on_change {
                OnChange::Cut => old.connections.kill(),
                _ => self.drain_scope(&old.connections, route.policy.timeouts.drain),
            }
        }
        let at_most = (act == Act::Drain).then_some(route.policy.timeouts.drain);
        Ok(Obeyed { changed: true, open, at_most })
    }

    /// Takes a route out of what runs. The plan opens no address.
    async fn take_out(&mut self, route: &Arc<Route>, on_change: OnChange) {
        let table = self.held_as_noted();
        let Some(mut plan) = self.plan_to(table.clone()).await else { return };
        let mut leaves = Route::clone(route);
        Arc::make_mut(&mut leaves.policy).on_change = on_change;
        plan.routes.removed.insert(route.name.clone(), Arc::new(leaves));
        if let Ok(opened) = self.prepare(&plan).await {
            self.carry_out(&plan, opened, table).await;
        }
    }

    /// Lets a route serve again. If its addresses cannot be opened, it stays out.
    async fn bring_back(&mut self, name: &str) -> Result<(), NotDone> {
        let target = Target { route: name.to_owned(), upstream: None };
        let deeds: Vec<Deed> = self.by_hand.of(&target).cloned().collect();
        self.by_hand.undo(&target);
        let table = self.held_as_noted();
        let Some(plan) = self.plan_to(table.clone()).await else { return Ok(()) };
        self.wait_for_leaving(&plan).await;
        match self.prepare(&plan).await {
            Ok(opened) => {
                self.carry_out(&plan, opened, table).await;
                self.still_out.remove(name);
                Ok(())
            }
            Err(faults) => {
                deeds.into_iter().for_each(|deed| self.by_hand.put(target.clone(), deed));
                faults.into_iter().next().map_or(Ok(()), |(addr, fault)| Err(NotDone::Address(addr, fault)))
            }
        }
    }

    /// What runs, with the routes that are held now.
    fn held_as_noted(&self) -> Table {
        let mut table = self.table.clone();
        Arc::make_mut(&mut table.routes).append(&mut table.held);
        table.holding(|name| self.by_hand.holds(name))
    }

    /// Ends what was done for a time that is over. Returns whether a route came back.
    pub async fn end_by_hand(&mut self) -> bool {
        let now = Instant::now().into_std();
        let mut came_back = false;
        let over: Vec<(Target, Deed)> =
            self.by_hand.all().map(|(target, deed)| (target.clone(), deed.clone())).collect();
        for (target, mut deed) in over.into_iter().filter(|(_, deed)| deed.is_over(now)) {
            if target.upstream.is_none() {
                if let Err(NotDone::Address(addr, fault)) = self.bring_back(&target.route).await {
                    let fault = Arc::new(fault);
                    if self.still_out.insert(target.route.clone(), fault.clone()).as_ref() != Some(&fault) {
                        let (route, help) = (&target.route, &fault.help);
                        warn!(route, %addr, %fault, help, "its time by hand is over, and it cannot serve yet");
                    }
                    deed.until = now.checked_add(AGAIN);
                    self.by_hand.put(target, deed);
                    continue;
                }
                came_back = true;
            }
            info!(
                route = target.route,
                upstream = target.upstream.as_deref().unwrap_or("-"),
                act = %deed.act,
                by = deed.by,
                listeners = self.listeners(),
                "done by hand, and over: its time has come"
            );
            self.by_hand.end(&target, now);
            self.steer(&target);
        }
        self.upstreams.announce();
        came_back
    }

    /// Forgets what was done by hand to what the file no longer has.
    pub(super) fn forget_gone(&mut self) {
        let table = &self.table;
        let exists = |target: &Target| {
            table.route(&target.route).is_some_and(|route| {
                let mut specs = route.upstream.iter().map(|entry| entry.spec.to_string());
                target.upstream.as_ref().is_none_or(|upstream| specs.any(|spec| spec == *upstream))
            })
        };
        self.still_out.retain(|route, _| table.route(route).is_some());
        for Target { route, upstream } in self.by_hand.keep(exists) {
            let upstream = upstream.as_deref().unwrap_or("-");
            info!(route, upstream, "what was done by hand is forgotten: the file no longer has it");
        }
    }

    /// How many connections and sessions a route has, whatever text of it they follow.
    fn open_of(&self, name: &str) -> usize {
        let serving = [Protocol::Tcp, Protocol::Udp].into_iter().filter_map(|part| self.scope(name, part));
        let retired = self.retired.iter().filter(|old| old.route.name == name);
        serving.chain(retired.map(|old| &old.connections)).map(|scope| scope.len()).sum()
    }
}

/// Whether a connection is one of this route to this upstream.
fn leads_to(open: &OpenConnection, route: &str, entry: &UpstreamEntry) -> bool {
    let known = open.known();
    known.owner.route.name == route
        && known.upstream.as_ref().is_some_and(|to| entry.spec.contains(&to.written))
}
