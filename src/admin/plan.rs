//! A plan with its probes: what a text would change, and whether the addresses and upstreams that it names are
//! available.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::api::{
    ConcernedConnection, DescriptorBudget, KeyChange, ListenerProbe, Plan, PlannedRoute, UpstreamProbe,
};
use super::probes;
use super::rights::Shown;
use super::units::{count, seconds};
use crate::config::{self, Compiled, Report, RouteFile, RouteFiles, access_changes, join, key_changes};
use crate::files;
use crate::model::{Fault, OnChange, Route};
use crate::proxy::record::OpenConnection;
use crate::server::Handle;
use crate::server::handle::{DryRun, Stopping, Tries};
use crate::server::include_set;

/// How many of the connections that an edit concerns are listed, of each route.
const LISTED: usize = 100;

/// Why there is no plan.
#[derive(Debug)]
pub(super) enum NoPlan {
    Faults(Report),
    Stopping(Stopping),
}

/// The text of a plan.
pub(super) enum PlanOf {
    /// The running proxy's file, as it is now.
    File,
    /// A text that was posted.
    Text(PostedText),
}

/// A text that was posted.
pub(super) struct PostedText {
    pub text: Vec<u8>,
    /// What right its sender has shown.
    pub shown: Shown,
    /// The path of its file. `None`: not known.
    pub file: Option<PathBuf>,
}

impl PlanOf {
    /// Whoever has a token may not look at files of this host through a text.
    fn tries(&self) -> Tries {
        match self {
            PlanOf::File | PlanOf::Text(PostedText { shown: Shown::Owner, .. }) => Tries::Everything,
            PlanOf::Text(_) => Tries::NoFiles,
        }
    }
}

/// What a text would change. The caller has its turn ([`super::turns`]): the probes use descriptors that nobody has
/// reserved.
pub(super) async fn plan(handle: &Handle, of: PlanOf) -> Result<Plan, NoPlan> {
    let tries = of.tries();
    let view = handle.view().await.map_err(NoPlan::Stopping)?;
    let name = view.file.as_ref().map_or_else(|| "the text".to_owned(), |file| file.name.clone());
    let gone = Fault::new("reading it failed inside Portway", "please report it, with the file");
    let gone = Report::about_file(&name, gone);
    // A large text, or a slow disk, takes time.
    let running = view.included.clone();
    let compiled = tokio::task::spawn_blocking(move || compile(&name, of, running.as_deref())).await;
    let compiled = compiled.unwrap_or(Err(gone)).map_err(NoPlan::Faults)?;
    let files = Files {
        now: view.included.map(|files| files.by_route()).unwrap_or_default(),
        then: compiled.files().by_route(),
    };
    let dry_run = handle.dry_run(compiled, tries).await.map_err(NoPlan::Stopping)?.map_err(NoPlan::Faults)?;
    let upstreams = probes::probe_all(handle, &dry_run, tries).await;
    Ok(shown(dry_run, upstreams, &files))
}

/// Compiles the text with all that it includes. `running`: the file and those that it includes, as they run.
fn compile(name: &str, of: PlanOf, running: Option<&RouteFiles>) -> Result<Compiled, Report> {
    let tries = of.tries();
    let (text, at) = match of {
        PlanOf::Text(PostedText { text, file, .. }) => (text, file),
        PlanOf::File => {
            (files::read(name.as_ref()).map_err(|fault| Report::about_file(name, fault))?.bytes, None)
        }
    };
    // The file of an included part: the others stay as they run.
    if let (Some(running), Some(at)) = (running, at)
        && let Some(path) = include_set::path_in(running, &at)
    {
        return include_set::compile_in_place(running, path, &text);
    }
    let main = RouteFile::main(name, &text)?;
    match (tries, running) {
        (Tries::Everything, _) => include_set::compile_all(main),
        (Tries::NoFiles, Some(running)) => include_set::compile_with_running(running, main),
        (Tries::NoFiles, None) => join(RouteFiles::new(main), 0).map_err(include_set::joined),
    }
}

/// In which included file each route stands.
struct Files {
    now: HashMap<String, String>,
    then: HashMap<String, String>,
}

fn shown(dry_run: DryRun, upstreams: Vec<UpstreamProbe>, files: &Files) -> Plan {
    let routes = &dry_run.plan.routes;
    let planned = |name: &str, old: Option<&Route>, new: Option<&Route>| {
        let files = if new.is_some() { &files.then } else { &files.now };
        PlannedRoute { file: files.get(name).cloned(), ..planned(&dry_run, name, old, new) }
    };
    let added = routes.added.iter().map(|(name, new)| planned(name, None, Some(new)));
    let removed = routes.removed.iter().map(|(name, old)| planned(name, Some(old), None));
    let changed = routes.changed.iter().map(|(name, (old, new))| planned(name, Some(old), Some(new)));
    let closed = dry_run.plan.listeners.removed.keys().map(ToString::to_string);
    let closed_udp = dry_run.plan.datagrams.removed.keys().map(|addr| format!("{addr}/udp"));
    let listeners = dry_run.listeners.iter().map(|tried| ListenerProbe {
        protocol: tried.protocol.label().to_owned(),
        address: tried.addr.to_string(),
        error: tried.fault.as_ref().map(|fault| fault.message.clone()),
        help: tried.fault.as_ref().map(|fault| fault.help.clone()),
    });
    Plan {
        changes: !dry_run.plan.is_empty(),
        generation: dry_run.generation,
        added: added.collect(),
        removed: removed.collect(),
        changed: changed.collect(),
        settings: settings(&dry_run),
        listeners: listeners.collect(),
        closed: closed.chain(closed_udp).collect(),
        not_tried: dry_run.not_tried.clone(),
        upstreams,
        descriptors: DescriptorBudget {
            needed: count(dry_run.descriptors_needed),
            limit: count(dry_run.descriptors),
            connections: count(dry_run.fits.connections),
            sessions: count(dry_run.fits.sessions),
        },
    }
}

fn planned(dry_run: &DryRun, name: &str, old: Option<&Route>, new: Option<&Route>) -> PlannedRoute {
    // The new text says what becomes of the connections, or, for a removed route, the old one.
    let says = old.and(new.or(old)).map(|route| &route.policy);
    let keys = old.zip(new).map(|(old, new)| key_changes(old, new)).unwrap_or_default();
    let concerned = dry_run.concerned.get(name).map(Vec::as_slice).unwrap_or_default();
    let shown = |route: Option<&Route>, of: fn(&Route) -> Vec<String>| route.map(of).unwrap_or_default();
    PlannedRoute {
        name: name.to_owned(),
        file: None,
        listen: shown(new.or(old), |route| route.listen.iter().map(ToString::to_string).collect()),
        upstream: shown(new.or(old), |route| route.upstream.iter().map(ToString::to_string).collect()),
        keys: keys.into_iter().map(|(key, from, to)| KeyChange { key: key.to_owned(), from, to }).collect(),
        rules: new.map(config::rules).unwrap_or_default(),
        open: count(concerned.len()),
        concerned: concerned.iter().take(LISTED).map(|open| listed(open)).collect(),
        on_change: says.map(|policy| policy.on_change.label().to_owned()),
        drain_timeout: says
            .filter(|policy| policy.on_change == OnChange::Drain)
            .map(|policy| seconds(policy.timeouts.drain)),
    }
}

fn listed(open: &OpenConnection) -> ConcernedConnection {
    let known = open.known();
    ConcernedConnection {
        id: open.id,
        protocol: if open.is_session() { "udp" } else { "tcp" }.to_owned(),
        client: known.client.to_string(),
        listener: open.listener.to_string(),
        upstream: known.upstream.as_ref().map(|to| to.written.to_string()),
    }
}

fn settings(dry_run: &DryRun) -> Vec<KeyChange> {
    let DryRun { process, log, limits, edits, fleet, admin, plan, disabled, .. } = dry_run;
    let mut changes = Vec::new();
    if let Some(new) = &plan.disabled {
        let key = "routes with enabled = false".to_owned();
        let (from, to) = (names(disabled), names(new));
        let to = if from == to { format!("{to}, with another text") } else { to };
        changes.push(KeyChange { key, from, to });
    }
    for (addr, old, new) in plan.access() {
        let keys = access_changes(old, new);
        changes.extend(keys.map(|(key, from, to)| KeyChange { key: format!("{key} of {addr}"), from, to }));
    }
    if let Some(new) = &plan.process {
        let at_next_start = |(key, to)| (key, format!("{to} (at the next start)"));
        note(&mut changes, "process", process.entries(), new.entries().map(at_next_start));
    }
    if let Some(new) = &plan.log {
        note(&mut changes, "log", log.entries(), new.entries());
    }
    if let Some(new) = &plan.limits {
        note(&mut changes, "limits", limits.entries(), new.entries());
    }
    if let Some(new) = &plan.edits {
        note(&mut changes, "edits", edits.entries(), new.entries());
    }
    if let Some(new) = &plan.fleet {
        note(&mut changes, "fleet", fleet.entries(), new.entries());
    }
    if let Some(new) = &plan.admin {
        let none = || ["listen", "token", "read_token", "mode", "group"].map(|key| (key, "none".to_owned()));
        let entries = |admin: &Option<crate::model::AdminSettings>| {
            admin.as_ref().map_or_else(none, |admin| admin.entries())
        };
        let secrets = |admin: &Option<crate::model::AdminSettings>| {
            admin
                .as_ref()
                .map(|admin| [None, admin.token.clone(), admin.read_token.clone(), None, None])
                .unwrap_or_default()
        };
        let other = secrets(admin).into_iter().zip(secrets(new)).map(|(old, new)| old != new);
        let new =
            entries(new).into_iter().zip(other).zip(entries(admin)).map(|(((key, to), other), (_, from))| {
                let to = if from == to && other { "another".to_owned() } else { to };
                (key, to)
            });
        note(&mut changes, "admin", entries(admin), new);
    }
    changes
}

/// The key of a table, and its value as the file has it.
type Entry = (&'static str, String);

/// Notes the keys of a table of the file whose values differ.
fn note(
    changes: &mut Vec<KeyChange>,
    table: &str,
    old: impl IntoIterator<Item = Entry>,
    new: impl IntoIterator<Item = Entry>,
) {
    for ((key, from), (_, to)) in old.into_iter().zip(new) {
        if from != to {
            changes.push(KeyChange { key: format!("{table}.{key}"), from, to });
        }
    }
}

/// The names of routes.
fn names(routes: &[Arc<Route>]) -> String {
    let names = routes.iter().map(|route| route.name.as_str()).collect::<Vec<_>>();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
