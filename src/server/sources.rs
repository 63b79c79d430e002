//! From where upstreams are connected to: tried with the edit that says so. A right that is missing is a fault of the edit; an
//! address or an interface that is not there may come, and is a state of the upstreams until then.

use std::collections::BTreeSet;
use std::sync::Arc;

use tracing::{info, warn};

use crate::config::{Compiled, Report, ValueFault, routes_of};
use crate::model::addr::ORIGINAL_DESTINATION;
use crate::model::{Fault, Protocol, Route, Source, Table};
use crate::net::user::KeptRights;
use crate::net::{SourceError, try_source, try_transparent};

/// The rights that the routes of these texts need, which a start as root keeps for `[process] user`.
pub(super) fn rights_for(texts: &[Vec<u8>]) -> KeptRights {
    let routes: Vec<Arc<Route>> = texts.iter().flat_map(|text| routes_of(text)).collect();
    let sources = of(routes.iter());
    let raw = |source: &Arc<Source>| source.client || source.interface.is_some();
    KeptRights {
        net_raw: sources.iter().any(raw) || routes.iter().any(|route| route.is_original()),
        net_admin: sources.iter().any(|source| source.mark.is_some()),
    }
}

/// Fails if a source of a table, or a route whose datagrams go where they were sent to, needs a right that this process lacks.
pub(super) fn check(compiled: &Compiled) -> Result<(), Report> {
    let routes = &compiled.table.routes;
    let tried =
        of(routes.values()).into_iter().filter_map(|source| Some((try_source(&source).err()?, source)));
    let faults =
        tried.filter(|(error, _)| error.is_of_rights()).map(|(error, source)| lacks(&source, &error));
    let datagrams = |route: &Arc<Route>| route.is_original() && route.policy.protocol.has(Protocol::Udp);
    let original = routes.values().any(datagrams).then(|| try_transparent().err()).flatten();
    let faults: Vec<_> = faults.chain(original.map(|_| no_original())).collect();
    if faults.is_empty() { Ok(()) } else { Err(compiled.value_faults(&faults)) }
}

/// Warns of each new source that is not there, and tells which rules cannot lead clients to a new route.
pub(super) fn tell(old: &Table, new: &Table) {
    let known = of(old.routes.values());
    for error in of(new.routes.values()).difference(&known).filter_map(|source| try_source(source).err()) {
        warn!(%error, "upstreams cannot be reached from their source: connects fail until it is there");
    }
    let is_new = |(name, route): &(&String, &Arc<Route>)| {
        old.routes.get(*name).is_none_or(|old| !old.is_original()) && route.is_original()
    };
    let routes: Vec<&str> = new.routes.iter().filter(is_new).map(|(name, _)| name.as_str()).collect();
    if !routes.is_empty() && try_transparent().is_err() {
        let (routes, help) = (routes.join(", "), cure("NET_RAW"));
        info!(routes, help, "only a REDIRECT rule can lead clients here: for TPROXY a right is missing");
    }
}

fn of<'r>(routes: impl Iterator<Item = &'r Arc<Route>>) -> BTreeSet<Arc<Source>> {
    let of_route = |route: &'r Arc<Route>| route.upstream.iter().filter_map(|entry| route.source_of(entry));
    routes.flat_map(of_route).cloned().collect()
}

/// What to do where a right is missing.
pub(super) fn cure(right: &str) -> String {
    format!(
        "give it CAP_{right} (systemd: AmbientCapabilities= and CapabilityBoundingSet=; a container: --user root --cap-add \
         {right}), and restart it: a start as root with [process] user keeps what the file needs"
    )
}

/// Datagrams cannot be heard that were sent to other hosts.
fn no_original() -> ValueFault {
    let message = "datagrams that were sent to other hosts cannot be heard: this process may not";
    let fault = Fault::new(message, cure("NET_RAW"));
    ValueFault { keys: &["upstream", "address"], value: ORIGINAL_DESTINATION.to_owned(), fault }
}

/// The fault, at the value that needs the right.
fn lacks(source: &Source, error: &SourceError) -> ValueFault {
    let (keys, value, right): (&'static [&'static str], _, _) = match (source, &source.interface) {
        (Source { mark: Some(mark), .. }, _) => (&["mark"], mark.to_string(), "NET_ADMIN"),
        (Source { client: true, .. }, _) => (&["source", "address"], "client".to_owned(), "NET_RAW"),
        (_, Some(interface)) => (&["interface"], interface.to_string(), "NET_RAW"),
        _ => (&[], String::new(), "NET_RAW"),
    };
    ValueFault { keys, value, fault: Fault::new(error.to_string(), cure(right)) }
}
