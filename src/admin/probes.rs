//! The upstreams that a plan tries: each is reached as its route would reach it for a client.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::api::{ProbeResult, UpstreamProbe};
use super::render::upstreams::without;
use super::units::seconds;
use crate::model::{HealthCheck, Protocol, Route, Source, UpstreamAddr, UpstreamEntry};
use crate::net::dial::{DialOptions, DialTls, Reach};
use crate::net::{self, CheckError, Finding, PARTING, dial, look_up, within};
use crate::proxy::upstream::{LiveConnector, OwnHeader, TlsKey};
use crate::server::Handle;
use crate::server::handle::{DryRun, Tries};

/// The most upstreams that one plan tries.
const PROBES: usize = 64;
/// How many upstreams it tries at a time.
const AT_ONCE: usize = 16;
/// The time limit of one look-up, and of one connect.
const PROBE_TIME: Duration = Duration::from_secs(3);

/// An upstream to try.
struct Trial {
    route: Arc<Route>,
    /// As in the file; the first port of a range stands for all.
    addr: UpstreamAddr,
    /// What its connections begin with.
    opening: Opening,
    /// `None`: no TLS is spoken to it, or nothing is known of how.
    connector: Option<Arc<LiveConnector>>,
}

/// How connections to an upstream begin.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Opening {
    protocol: Protocol,
    header: OwnHeader,
    tls: Option<TlsKey>,
    source: Option<Arc<Source>>,
    /// How the route checks it, if that says more than a connect.
    check: Option<HealthCheck>,
}

impl Opening {
    fn of(route: &Route, entry: &UpstreamEntry) -> Self {
        let (policy, addr) = (&route.policy, entry.spec.at(0));
        let tls = policy.tls.upstream.as_ref();
        Opening {
            // Of both, a connect says more than a datagram.
            protocol: if policy.protocol.has(Protocol::Tcp) { Protocol::Tcp } else { Protocol::Udp },
            header: OwnHeader::of(&policy.proxy_protocol),
            source: route.source_of(entry).cloned(),
            tls: tls.map(|tls| TlsKey::new(tls, &addr, policy.proxy_protocol.send)),
            check: policy.health.clone().filter(|check| check.expects() || check.port.is_some()),
        }
    }
}

/// Upstreams that a route would use and does not use now, or not in this way.
fn trials(dry_run: &DryRun) -> Vec<Trial> {
    let routes = &dry_run.plan.routes;
    let added = routes.added.values().map(|new| (None, new));
    let changed = routes.changed.values().map(|(old, new)| (Some(old), new));
    let (mut seen, mut found) = (HashSet::new(), Vec::new());
    for (old, new) in added.chain(changed) {
        for entry in &new.upstream {
            let addr = entry.spec.at(0);
            let opening = Opening::of(new, entry);
            let used = |old: &Route| {
                let before = old.upstream.iter().find(|other| other.spec == entry.spec);
                before.is_some_and(|before| Opening::of(old, before) == opening)
            };
            if old.is_some_and(|old| used(old)) {
                continue;
            }
            if seen.insert((addr.clone(), opening.clone())) {
                let tls = new.policy.tls.upstream.as_ref();
                let connector = tls.and_then(|tls| dry_run.connectors.get(tls)).cloned();
                found.push(Trial { route: new.clone(), addr, opening, connector });
            }
        }
    }
    found
}

/// Tries the upstreams that would be new.
pub(super) async fn probe_all(handle: &Handle, dry_run: &DryRun, tries: Tries) -> Vec<UpstreamProbe> {
    let (turns, scope) = (Arc::new(Semaphore::new(AT_ONCE)), handle.scope.child());
    // The probes end with this future: whoever asks may give up.
    let _ended = scope.clone().kill_on_drop();
    let mut answers = Vec::new();
    let mut untried = Vec::new();
    for (number, trial) in trials(dry_run).into_iter().enumerate() {
        if trial.addr == UpstreamAddr::Original {
            let error = Some("each client has another, where it wanted to go".to_owned());
            untried.push(UpstreamProbe { error, ..trial.blank() });
            continue;
        }
        let no_file = tries == Tries::NoFiles && matches!(trial.addr, UpstreamAddr::Unix(_));
        if number >= PROBES || no_file {
            let error = no_file.then(|| "Unix sockets are tried only for whoever asks over one".to_owned());
            untried.push(UpstreamProbe { error, ..trial.blank() });
            continue;
        }
        let (reply, answer) = tokio::sync::oneshot::channel();
        let turns = turns.clone();
        scope.spawn(async move {
            let _turn = turns.acquire().await;
            // If the plan was given up, nobody waits for it.
            drop(reply.send(trial.probe().await));
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

impl Trial {
    fn blank(&self) -> UpstreamProbe {
        UpstreamProbe {
            route: self.route.name.clone(),
            upstream: self.addr.to_string(),
            addresses: Vec::new(),
            result: ProbeResult::NotTried,
            error: None,
            took: None,
        }
    }

    /// Resolves the upstream, and connects to the first address that accepts.
    async fn probe(&self) -> UpstreamProbe {
        let (begun, mut probe) = (Instant::now(), self.blank());
        match self.addresses().await {
            Err(error) => (probe.result, probe.error) = (ProbeResult::Unresolved, Some(error)),
            Ok(addresses) => {
                probe.addresses = addresses.iter().map(ToString::to_string).collect();
                probe.result = ProbeResult::Resolves;
                if self.opening.protocol == Protocol::Tcp {
                    (probe.result, probe.error) = self.connect(&addresses).await;
                } else if let Some(first) = addresses.first() {
                    let reach = Reach { source: self.opening.source.as_deref(), tls: None };
                    (probe.result, probe.error) = self.check(first, reach, probe.result).await;
                }
            }
        }
        probe.took = Some(seconds(begun.elapsed()));
        probe
    }

    async fn addresses(&self) -> Result<Vec<UpstreamAddr>, String> {
        let UpstreamAddr::Name(host, port) = &self.addr else { return Ok(vec![self.addr.clone()]) };
        match within(PROBE_TIME, look_up(host)).await {
            Err(_) => Err("the resolver did not answer in time".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(found)) if found.is_empty() => Err("the name has no address".to_owned()),
            Ok(Ok(found)) => Ok(found.into_iter().map(|ip| UpstreamAddr::Ip((ip, *port).into())).collect()),
        }
    }

    /// Connects to the first address that takes it, ends the connection, and checks it as the route does.
    async fn connect(&self, addresses: &[UpstreamAddr]) -> (ProbeResult, Option<String>) {
        let timeout = PROBE_TIME.min(self.route.policy.timeouts.connect);
        let header = self.opening.header.bytes(self.opening.protocol);
        let connector = self.connector.as_ref().map(|connector| connector.load_full());
        let tls = self.opening.tls.as_ref().zip(connector.as_deref());
        let tls = tls.map(|(key, connector)| DialTls { connector, name: key.name() });
        if self.opening.tls.is_some() && tls.is_none() {
            let why = "the files of its TLS are read only for whoever asks over a Unix socket";
            return (ProbeResult::NotTried, Some(why.to_owned()));
        }
        let mut failed = None;
        for addr in addresses {
            let options = DialOptions::for_no_client(timeout, &header);
            let reach = Reach { source: self.opening.source.as_deref(), tls };
            match dial(addr, &options, reach).await {
                Ok((stream, _)) => {
                    stream.part(PARTING).await;
                    return self.check(addr, reach, ProbeResult::Connects).await;
                }
                Err(error) => failed = Some(without(&self.addr, error.to_string())),
            }
        }
        (ProbeResult::Refuses, failed)
    }

    /// What comes of the route's own check. `passes`: what is known without one, or if it passes.
    async fn check(
        &self,
        addr: &UpstreamAddr,
        reach: Reach<'_>,
        passes: ProbeResult,
    ) -> (ProbeResult, Option<String>) {
        let Some(check) = &self.opening.check else { return (passes, None) };
        let check = HealthCheck { timeout: check.timeout.min(PROBE_TIME), ..check.clone() };
        let Opening { protocol, header, .. } = &self.opening;
        let bytes = header.bytes(*protocol);
        let opening = net::check::Opening { header: &bytes, on: header.on, reach };
        let Finding { result, connection } = net::check(addr, *protocol, &check, opening).await;
        if let Some(connection) = connection {
            connection.part(PARTING).await;
        }
        match result {
            Err(CheckError::Failed(why)) => (ProbeResult::FailsCheck, Some(why)),
            // What this system refuses says nothing about the upstream.
            Ok(()) | Err(CheckError::Denied(_)) => (passes, None),
        }
    }
}
