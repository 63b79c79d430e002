//! What the new process knows of the life of the old one. For each part of a running server [`Server::last_state`] says
//! whether it is handed over: a new field does not compile without that decision.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::old_process::OldProcess;
use super::running::Server;
use crate::proxy::record::OpenConnection;
use crate::state::limits::SaidRate;
use crate::state::said_deed::SaidDeed;
use crate::state::said_health::SaidUpstreams;
use crate::state::{ByHand, Bytes, Counted, RouteCounted, Tally, Totals};

/// What the new process must know before it compares the file with nothing: what the file does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct EarlyState {
    /// The new process has started the old one, and is what a supervisor watches: it may not give up.
    pub no_way_back: bool,
    /// What was done by hand.
    by_hand: Vec<SaidDeed>,
    /// What is known of upstreams.
    upstreams: SaidUpstreams,
}

/// What only holds once the old process accepts no more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct LastState {
    /// The id of the connection that it has accepted last.
    newest_id: u64,
    /// What makes names of ids unique. `None`: it is not said.
    nonce: Option<u64>,
    /// The generation that runs there.
    generation: u64,
    /// Edits that were carried out, and those that were refused.
    pub reloads: Reloads,
    /// Which clients have not paid off their rate yet.
    rates: Vec<SaidRate>,
}

/// Edits since the first start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Reloads {
    pub succeeded: u64,
    pub refused: u64,
}

/// What a process has counted, or has counted since it said so last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Counts {
    routes: BTreeMap<String, RouteCounted>,
    /// Of routes that it has forgotten.
    past: Counted,
    /// For how long what is open there has at most, in milliseconds. `None`: it is not said again.
    drains: Option<u64>,
    /// How many connections and sessions are open there now, without those that have moved. `None`: it does not say.
    left: Option<u64>,
}

impl Counts {
    /// What was counted after `earlier`. Routes for which nothing was are left out.
    pub fn since(&self, earlier: &Counts) -> Counts {
        let nothing = RouteCounted::default();
        let routes = self.routes.iter().filter_map(|(name, now)| {
            let before = earlier.routes.get(name);
            let since = now.since(before.unwrap_or(&nothing));
            (before != Some(now)).then(|| (name.clone(), since))
        });
        Counts {
            routes: routes.collect(),
            past: self.past.since(&earlier.past),
            drains: None,
            left: self.left,
        }
    }

    /// How many connections are open now, of which so many were before this was counted.
    fn open_after(&self, before: u64) -> u64 {
        let sum = |of: fn(&Counted) -> u64| self.routes.values().map(|route| of(&route.all)).sum::<u64>();
        (before + sum(|all| all.opened)).saturating_sub(sum(|all| all.closed))
    }
}

impl OldProcess {
    /// One that has counted all this.
    fn new(pid: u32, all: &Counts) -> OldProcess {
        let counted = || all.open_after(all.past.opened.saturating_sub(all.past.closed));
        let open = all.left.unwrap_or_else(counted);
        let until = |drains| Instant::now().into_std().checked_add(Duration::from_millis(drains));
        OldProcess { pid, open, until: all.drains.and_then(until) }
    }

    /// The same after it has counted this.
    pub(super) fn after(self, more: &Counts) -> OldProcess {
        OldProcess { open: more.left.unwrap_or_else(|| more.open_after(self.open)), ..self }
    }
}

impl Server {
    /// What the new process must know first.
    pub fn early_state(&self, no_way_back: bool) -> EarlyState {
        let by_hand = self.by_hand.said(Instant::now().into_std());
        EarlyState { no_way_back, by_hand, upstreams: self.upstreams.said() }
    }

    /// Goes on from it. Nothing runs yet.
    pub fn begin_with(&mut self, EarlyState { by_hand, upstreams, no_way_back: _ }: EarlyState) {
        self.upstreams.go_on_from(upstreams);
        self.by_hand = ByHand::heard(by_hand, Instant::now().into_std());
    }

    /// What holds now that nothing is accepted.
    pub fn last_state(&self, reloads: Reloads) -> LastState {
        let Server {
            // Its ids go on. Its connections move one by one, and take new permits.
            shared,
            // `to_hand` hands the sockets over.
            inherited: _,
            listeners: _,
            udp: _,
            // Read from the file, and from the files that it names.
            table: _,
            lists: _,
            credentials: _,
            tokens: _,
            named_news: _,
            admin: _,
            // `early_state` says their health, and the addresses of names. Loops are found out anew.
            upstreams: _,
            loops: _,
            // Its counters go on once all have moved, and its rates at once.
            registry,
            // They own tasks of this process.
            serving: _,
            leaving: _,
            retired: _,
            root: _,
            // `early_state` says it: it changes what is prepared.
            by_hand: _,
            // Tried again there.
            still_out: _,
            generation,
            // The new process runs since it runs.
            since: _,
            // That one tells this process, which tells the new one.
            old: _,
        } = self;
        let nonce = Some(shared.nonce());
        LastState {
            nonce,
            newest_id: shared.newest_id(),
            generation: *generation,
            reloads,
            rates: registry.owed(),
        }
    }

    /// Goes on from it, before anything is accepted.
    pub fn go_on_from(&mut self, last: &LastState) {
        self.shared.begin_after(last.newest_id, last.nonce.unwrap_or_else(|| self.shared.nonce()));
        // What was read at the start is what runs there, or the next edit of it.
        self.generation = last.generation.saturating_sub(1);
    }

    /// Goes on from the rates of clients. The routes are there.
    pub fn owe(&self, last: &LastState) {
        self.registry.owe(&last.rates);
    }

    /// What was counted but for what has moved, which another process counts; and how long the rest has.
    pub fn counts_without_moved(&self) -> Counts {
        self.registry.states().for_each(|state| state.report_less());
        let drains = u64::try_from(self.longest_drain().as_millis()).ok();
        Counts { drains, ..self.counts() }
    }

    /// What was counted, with the bytes of what is open.
    pub fn counts(&self) -> Counts {
        let mut open: BTreeMap<u64, Bytes> = BTreeMap::new();
        let (states, mut left): (Vec<_>, _) = (self.registry.states().collect(), 0);
        self.shared.open.each(|connection: &std::sync::Arc<OpenConnection>| {
            if connection.is_moved() {
                return;
            }
            left += 1;
            let (bytes, known) = (connection.traffic.bytes(), connection.known());
            let mut add = |tally: &Tally| *open.entry(tally.id()).or_default() += bytes;
            known.owner.state.metered().into_iter().for_each(|meter| add(&meter.tally));
            known.tally().into_iter().for_each(add);
        });
        let of = |tally: &Tally| open.get(&tally.id()).copied().unwrap_or_default();
        let routes =
            states.into_iter().filter_map(|state| Some((state.route().to_owned(), state.counted(of)?)));
        let Totals { opened, closed, bytes } = self.registry.past();
        let past = Counted { opened, closed, up: bytes.up, down: bytes.down, failed: 0 };
        Counts { routes: routes.collect(), past, drains: None, left: Some(left) }
    }

    /// Goes on from what another process has counted since it said so last. What it counts of a route that is not known here
    /// any more is forgotten.
    pub fn add_counts(&self, counts: &Counts) {
        for (name, more) in &counts.routes {
            let Some(state) = self.registry.known(name) else { continue };
            let route = self.table.route(name).into_iter();
            state.add(more, route.flat_map(|route| route.upstream.iter().map(|entry| &entry.spec)));
        }
    }

    /// Goes on from all that another process has counted.
    pub fn go_on_counting(&mut self, pid: u32, counts: &Counts) {
        self.old = Some(OldProcess::new(pid, counts));
        // Those of routes that this table does not have any more are among the totals of the past.
        counts.routes.keys().for_each(|name| drop(self.registry.state(name)));
        self.add_counts(counts);
        self.registry.forget_unused(|name| self.table.held.contains_key(name));
        let Counted { opened, closed, up, down, .. } = counts.past;
        self.registry.add_past(Totals { opened, closed, bytes: Bytes { up, down } });
    }
}
