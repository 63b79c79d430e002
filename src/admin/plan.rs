//! A plan with its probes: what a text would change, and whether the addresses and upstreams that it names are
//! available.

use std::sync::Arc;

use super::api::{DescriptorBudget, KeyChange, ListenerProbe, Plan, PlannedRoute, UpstreamProbe};
use super::probes;
use super::rights::Shown;
use super::units::{count, seconds};
use crate::config::{self, Compiled, Report, access_changes, key_changes};
use crate::files;
use crate::model::{Fault, OnChange, Route};
use crate::server::Handle;
use crate::server::handle::{DryRun, Stopping, Tries};

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
    /// A text that was posted, and what right its sender has shown.
    Text(Vec<u8>, Shown),
}

impl PlanOf {
    /// Whoever has a token may not look at files of this host through a text.
    fn tries(&self) -> Tries {
        match self {
            PlanOf::File | PlanOf::Text(_, Shown::Owner) => Tries::Everything,
            PlanOf::Text(..) => Tries::NoFiles,
        }
    }
}

/// What a text would change. The caller has its turn ([`super::turns`]): the probes use descriptors that nobody has
/// reserved.
pub(super) async fn plan(handle: &Handle, of: PlanOf) -> Result<Plan, NoPlan> {
    let tries = of.tries();
    let view = handle.view().await.map_err(NoPlan::Stopping)?;
    let name = view.file.map_or_else(|| "the text".to_owned(), |file| file.name);
    let gone = Fault::new("reading it failed inside Portway", "please report it, with the file");
    let gone = Report::about_file(&name, gone);
    // A large text, or a slow disk, takes time.
    let compiled = tokio::task::spawn_blocking(move || compile(&name, of)).await;
    let compiled = compiled.unwrap_or(Err(gone)).map_err(NoPlan::Faults)?;
    let dry_run = handle.dry_run(compiled, tries).await.map_err(NoPlan::Stopping)?.map_err(NoPlan::Faults)?;
    let upstreams = probes::probe_all(handle, &dry_run, tries).await;
    Ok(shown(dry_run, upstreams))
}

fn compile(name: &str, of: PlanOf) -> Result<Compiled, Report> {
    let text = match of {
        PlanOf::Text(text, _) => text,
        PlanOf::File => files::read(name.as_ref()).map_err(|fault| Report::about_file(name, fault))?.bytes,
    };
    config::compile(name, &text)
}

fn shown(dry_run: DryRun, upstreams: Vec<UpstreamProbe>) -> Plan {
    let routes = &dry_run.plan.routes;
    let planned = |name: &str, old: Option<&Route>, new: Option<&Route>| planned(&dry_run, name, old, new);
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
    let shown = |route: Option<&Route>, of: fn(&Route) -> Vec<String>| route.map(of).unwrap_or_default();
    PlannedRoute {
        name: name.to_owned(),
        listen: shown(new.or(old), |route| route.listen.iter().map(ToString::to_string).collect()),
        upstream: shown(new.or(old), |route| route.upstream.iter().map(ToString::to_string).collect()),
        keys: keys.into_iter().map(|(key, from, to)| KeyChange { key: key.to_owned(), from, to }).collect(),
        open: count(dry_run.open.get(name).copied().unwrap_or_default()),
        on_change: says.map(|policy| policy.on_change.label().to_owned()),
        drain_timeout: says
            .filter(|policy| policy.on_change == OnChange::Drain)
            .map(|policy| seconds(policy.timeouts.drain)),
    }
}

fn settings(dry_run: &DryRun) -> Vec<KeyChange> {
    let DryRun { log, limits, admin, plan, disabled, .. } = dry_run;
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
    let mut note = |section: &str, key: &str, from: String, to: String| {
        if from != to {
            changes.push(KeyChange { key: format!("{section}.{key}"), from, to });
        }
    };
    if let Some(new) = &plan.log {
        for ((key, from), (_, to)) in log.entries().into_iter().zip(new.entries()) {
            note("log", key, from, to);
        }
    }
    if let Some(new) = &plan.limits {
        for ((key, from), (_, to)) in limits.entries().into_iter().zip(new.entries()) {
            note("limits", key, from, to);
        }
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
        for (((key, from), (_, to)), other) in entries(admin).into_iter().zip(entries(new)).zip(other) {
            let to = if from == to && other { "another".to_owned() } else { to };
            note("admin", key, from, to);
        }
    }
    changes
}

/// The names of routes.
fn names(routes: &[Arc<Route>]) -> String {
    let names = routes.iter().map(|route| route.name.as_str()).collect::<Vec<_>>();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
