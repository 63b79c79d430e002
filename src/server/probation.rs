//! What an edit has changed, on probation: which counters are compared, and what ran before. `roll_back` undoes an edit.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::followed_list::InForce;
use super::running::Server;
use crate::config::{Plan, Report, RouteFiles};
use crate::model::{EditsSettings, Route};
use crate::proxy::route::NO_ROUTE;
use crate::state::Probation;
use crate::state::probation::{Changed, Counters, Results, Verdict};

/// The probation of edits. Off, it does nothing.
#[derive(Debug, Default)]
pub(super) struct EditProbation {
    /// Whether the texts of the file come from a store.
    from_store: bool,
    /// `None`: off.
    state: Option<Probation>,
    /// What ran before the first edit that is on probation.
    former: Option<Former>,
    /// The text of the main file that was rolled back, and why.
    pub undone: Option<(Arc<[u8]>, Report)>,
    /// Whether somebody has asked to take the files as they are.
    pub keeps: bool,
    /// The lists of networks, as they were when edits were looked at last. Empty while this is off.
    pub lists: BTreeMap<PathBuf, InForce>,
}

/// The files that ran before an edit.
#[derive(Clone, Debug)]
pub(super) struct Former {
    /// The text of the main one.
    pub main: Arc<[u8]>,
    /// With those that it included. `None`: it included none.
    pub files: Option<Arc<RouteFiles>>,
    /// The lists of networks.
    pub lists: BTreeMap<PathBuf, InForce>,
}

impl EditProbation {
    /// Off, until it is set.
    pub fn new(from_store: bool) -> Self {
        EditProbation { from_store, ..EditProbation::default() }
    }

    /// Takes over what the file says of it. Edits from now on count.
    pub fn set(&mut self, settings: EditsSettings, now: Instant, server: &Server) {
        let lasts = settings.probation.of(self.from_store);
        if self.state.as_ref().map(Probation::lasts) == lasts {
            return;
        }
        self.state = lasts.map(|lasts| Probation::new(lasts, now, counters(server)));
        self.former = None;
        self.lists = if self.state.is_some() { server.lists.in_force() } else { BTreeMap::new() };
    }

    /// Whether an edit is on probation.
    pub fn is_watching(&self) -> bool {
        self.state.as_ref().is_some_and(Probation::is_watching)
    }

    /// When there is something to do. `None`: never.
    pub fn next(&self) -> Option<Instant> {
        self.state.as_ref().map(Probation::next)
    }

    /// When the probation of the last edits is over. `None`: none is on probation.
    pub fn ends(&self) -> Option<Instant> {
        self.state.as_ref()?.ends()
    }

    /// Puts on probation what an edit has changed. `former`: what ran before it.
    pub fn edited(&mut self, plan: &Plan, former: Former, now: Instant, server: &Server) {
        let Some(state) = &mut self.state else { return };
        if self.keeps {
            state.pass();
        } else {
            let changed: Vec<Changed<'_>> = changed(plan).collect();
            self.changed(&changed, former, now, server);
        }
        self.lists = server.lists.in_force();
    }

    /// Puts the routes on probation whose lists were edited.
    pub fn lists_edited(&mut self, former: Former, now: Instant, server: &Server) {
        if self.state.is_none() {
            return;
        }
        let before = std::mem::replace(&mut self.lists, server.lists.in_force());
        let edited = |path: &PathBuf| match (before.get(path), self.lists.get(path)) {
            (Some(old), Some(new)) => !new.kept && !Arc::ptr_eq(&old.set, &new.set),
            _ => false,
        };
        let routes = server.table().routes.values();
        let routes = routes.filter(|route| route.policy.access.files().any(edited));
        let changed =
            routes.map(|route| Changed { name: &route.name, was: &route.name, beside: None, closed: false });
        let changed: Vec<Changed<'_>> = changed.collect();
        self.changed(&changed, former, now, server);
    }

    fn changed(&mut self, changed: &[Changed<'_>], former: Former, now: Instant, server: &Server) {
        let Some(state) = &mut self.state else { return };
        if !changed.is_empty() && !state.is_watching() {
            self.former = Some(former);
        }
        forgive(changed, server);
        state.edited(changed.iter().copied(), now, |name| ends(server, name));
        state.forget(|name| !server.table().routes.contains_key(name));
        if !state.is_watching() {
            self.former = None;
        }
    }

    /// Ends a probation: what runs stays.
    pub fn pass(&mut self) {
        self.state.iter_mut().for_each(Probation::pass);
        self.former = None;
    }

    /// Does what is due.
    pub fn look(&mut self, now: Instant, server: &Server) -> Verdict {
        let Some(state) = &mut self.state else { return Verdict::Open };
        if state.notes(now) {
            state.note(now, counters(server));
        }
        let verdict = state.look(now, |name| ends(server, name));
        if verdict == Verdict::Passed {
            self.former = None;
        }
        verdict
    }

    /// What ran before, which is to run again. Nothing is on probation after that.
    pub fn take_former(&mut self, now: Instant) -> Option<Former> {
        self.state.iter_mut().for_each(|state| state.undone(now));
        self.former.take()
    }
}

/// The routes that fare otherwise after an edit. One that has taken over the address of another is that one, by another name.
fn changed(plan: &Plan) -> impl Iterator<Item = Changed<'_>> {
    let removed = plan.listeners.removed.values().chain(plan.datagrams.removed.values());
    let closed: HashSet<&str> =
        removed.flat_map(|binding| binding.routes()).map(|route| route.name.as_str()).collect();
    let changed = plan.routes.changed.values().map(|(old, new)| (old, new));
    let renamed = plan.routes.added.values().filter_map(|new| {
        let before = |old: &&Arc<Route>| old.listen.iter().any(|listen| new.listen.contains(listen));
        Some((plan.routes.removed.values().find(before)?, new))
    });
    changed.chain(renamed).map(move |(old, new)| {
        // Whom a wrong server name turns away is served by no route.
        let chosen = !old.selector.is_rest() || !new.selector.is_rest();
        Changed {
            name: &new.name,
            was: &old.name,
            beside: chosen.then_some(NO_ROUTE),
            closed: closed.contains(&*old.name),
        }
    })
}

/// What has begun before an edit is no fault of it.
fn forgive(changed: &[Changed<'_>], server: &Server) {
    let newest = server.shared.newest_id();
    let names = changed.iter().flat_map(|changed| [Some(changed.name), changed.beside]).flatten();
    for state in names.filter_map(|name| server.registry.known(name)) {
        state.meter().forgive(newest);
    }
}

fn ends(server: &Server, name: &str) -> Results {
    server.registry.known(name).map(|state| state.results()).unwrap_or_default()
}

/// The counters of every route that has had a client.
fn counters(server: &Server) -> Counters {
    let all = server.registry.states().map(|state| (state.route(), state.results()));
    all.filter(|(_, ends)| *ends != Results::default()).map(|(name, ends)| (name.to_owned(), ends)).collect()
}
