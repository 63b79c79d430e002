//! A plan with its probes: what a text would change, and whether the addresses and upstreams that it names are
//! available.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::api::{
    DescriptorBudget, KeyChange, ListenerProbe, Plan, PlannedRoute, ProbeResult, UpstreamProbe,
};
use super::rights::Shown;
use super::units::{count, seconds};
use crate::config::{self, Compiled, Report, key_changes};
use crate::files;
use crate::model::{Fault, OnChange, Protocol, Route, UpstreamAddr};
use crate::net::dial::DialOptions;
use crate::net::{dial, look_up};
use crate::server::Handle;
use crate::server::handle::{DryRun, Stopping, Tries};

/// The most upstreams that one plan tries.
const PROBES: usize = 64;
/// How many upstreams it tries at a time.
const AT_ONCE: usize = 16;
/// The time limit of one look-up, and of one connect.
const PROBE_TIME: Duration = Duration::from_secs(3);

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
    let upstreams = probe_all(handle, new_upstreams(&dry_run), tries).await;
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
    let DryRun { log, limits, admin, plan, .. } = dry_run;
    let mut changes = Vec::new();
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
        let none = || ["listen", "token", "read_token"].map(|key| (key, "none".to_owned()));
        let entries = |admin: &Option<crate::model::AdminSettings>| {
            admin.as_ref().map_or_else(none, |admin| admin.entries())
        };
        let secrets = |admin: &Option<crate::model::AdminSettings>| {
            admin
                .as_ref()
                .map(|admin| [None, admin.token.clone(), admin.read_token.clone()])
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

/// Upstreams that a route would use and does not use now.
fn new_upstreams(dry_run: &DryRun) -> Vec<(Arc<Route>, UpstreamAddr)> {
    let routes = &dry_run.plan.routes;
    let added = routes.added.values().map(|new| (None, new));
    let changed = routes.changed.values().map(|(old, new)| (Some(old), new));
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    for (old, new) in added.chain(changed) {
        let known = |spec| old.is_some_and(|old| old.upstream.iter().any(|entry| entry.spec == spec));
        let udp = new.policy.protocol == Protocol::Udp;
        for entry in new.upstream.iter().filter(|entry| !known(entry.spec.clone())) {
            // The first port of a range stands for all.
            let addr = entry.spec.at(0);
            if seen.insert((addr.clone(), udp)) {
                found.push((new.clone(), addr));
            }
        }
    }
    found
}

async fn probe_all(
    handle: &Handle,
    wanted: Vec<(Arc<Route>, UpstreamAddr)>,
    tries: Tries,
) -> Vec<UpstreamProbe> {
    let (turns, scope) = (Arc::new(Semaphore::new(AT_ONCE)), handle.scope.child());
    // The probes end with this future: whoever asks may give up.
    let _ended = scope.clone().kill_on_drop();
    let mut answers = Vec::new();
    let mut untried = Vec::new();
    for (number, (route, addr)) in wanted.into_iter().enumerate() {
        let no_file = tries == Tries::NoFiles && matches!(addr, UpstreamAddr::Unix(_));
        if number >= PROBES || no_file {
            let error = no_file.then(|| "Unix sockets are tried only for whoever asks over one".to_owned());
            untried.push(UpstreamProbe { error, ..blank(&route, &addr) });
            continue;
        }
        let (reply, answer) = tokio::sync::oneshot::channel();
        let turns = turns.clone();
        scope.spawn(async move {
            let _turn = turns.acquire().await;
            // If the plan was given up, nobody waits for it.
            drop(reply.send(probe(&route, &addr).await));
        });
        answers.push(answer);
    }
    let mut probes = Vec::new();
    for answer in answers {
        probes.extend(answer.await);
    }
    probes.extend(untried);
    probes
}

fn blank(route: &Route, addr: &UpstreamAddr) -> UpstreamProbe {
    UpstreamProbe {
        route: route.name.clone(),
        upstream: addr.to_string(),
        addresses: Vec::new(),
        result: ProbeResult::NotTried,
        error: None,
        took: None,
    }
}

/// Resolves an upstream, and connects to the first address that accepts.
async fn probe(route: &Route, addr: &UpstreamAddr) -> UpstreamProbe {
    let (begun, mut probe) = (Instant::now(), blank(route, addr));
    let addresses = match addr {
        UpstreamAddr::Name(host, port) => match timeout(PROBE_TIME, look_up(host)).await {
            Ok(Ok(found)) if !found.is_empty() => {
                found.into_iter().map(|ip| UpstreamAddr::Ip((ip, *port).into())).collect()
            }
            failed => {
                probe.result = ProbeResult::Unresolved;
                probe.error = Some(match failed {
                    Err(_) => "the resolver did not answer in time".to_owned(),
                    Ok(Err(error)) => error.to_string(),
                    Ok(Ok(_)) => "the name has no address".to_owned(),
                });
                probe.took = Some(seconds(begun.elapsed()));
                return probe;
            }
        },
        addr => vec![addr.clone()],
    };
    probe.addresses = addresses.iter().map(ToString::to_string).collect();
    probe.result = ProbeResult::Resolves;
    if route.policy.protocol == Protocol::Tcp {
        probe.result = ProbeResult::Refuses;
        let timeout = PROBE_TIME.min(route.policy.timeouts.connect);
        let options = DialOptions { timeout, before_tls: &[] };
        for addr in &addresses {
            match dial(addr, options, None).await {
                Ok(_) => {
                    (probe.result, probe.error) = (ProbeResult::Connects, None);
                    break;
                }
                Err(error) => probe.error = Some(error.to_string()),
            }
        }
    }
    probe.took = Some(seconds(begun.elapsed()));
    probe
}
