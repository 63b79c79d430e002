//! Routes that share an address, where a TLS hello tells who goes to which: each needs a name, and where one of them serves
//! nobody, its clients must not come to another.

use std::collections::BTreeMap;

use super::sheet::Route;

/// A route that must serve nobody, because it would get clients of one that is off. Both by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heir {
    pub route: usize,
    pub of: usize,
}

fn is_rest(route: &Route) -> bool {
    !route.fields.has("sni") && !route.fields.has("alpn")
}

/// The routes of each such address, by index.
fn shared(routes: &[&Route]) -> Vec<Vec<usize>> {
    let mut all: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, route) in routes.iter().enumerate() {
        // Of datagrams no hello is read.
        if route.fields.get("protocol") != Some("\"udp\"") {
            route.listen.iter().for_each(|listen| all.entry(listen).or_default().push(at));
        }
    }
    let chosen = |members: &Vec<usize>| {
        members.len() > 1 && members.iter().any(|at| routes.get(*at).is_some_and(|route| !is_rest(route)))
    };
    all.into_values().filter(chosen).collect()
}

/// Names routes that have none: by the first name that they serve, by their protocol, or `default`.
pub(super) fn name(routes: &mut [Route]) {
    let members = shared(&routes.iter().collect::<Vec<_>>());
    for at in members.into_iter().flatten() {
        let Some(route) = routes.get_mut(at).filter(|route| route.name.is_empty()) else { continue };
        let words = [route.words("sni"), route.words("alpn")].concat();
        let first = words.first().map_or("default", |word| word.trim_start_matches("*."));
        route.name = first.to_owned();
    }
}

/// Who would get clients of routes that are off, and of those that are off for this.
pub(super) fn heirs(routes: &[&Route], off: Vec<usize>) -> Vec<Heir> {
    let (shared, mut off, mut heirs) = (shared(routes), off, Vec::new());
    let mut next = 0;
    while let Some(of) = off.get(next).copied() {
        next += 1;
        for members in shared.iter().filter(|members| members.contains(&of)) {
            for route in members.iter().copied() {
                let (Some(one), Some(lost)) = (routes.get(route), routes.get(of)) else { continue };
                if !off.contains(&route) && takes(one, lost) {
                    off.push(route);
                    heirs.push(Heir { route, of });
                }
            }
        }
    }
    heirs
}

/// Whether a route would get clients of one of its address that is off: the most exact name decides, then the protocol,
/// and the route without both takes the rest.
fn takes(route: &Route, lost: &Route) -> bool {
    if is_rest(lost) {
        return is_rest(route);
    }
    let (names, theirs) = (route.words("sni"), lost.words("sni"));
    names.is_empty() || theirs.iter().any(|their| names.iter().any(|name| covers(name, their)))
}

/// Whether all that a name of `sni` means is meant by another, too.
pub(super) fn covers(name: &str, other: &str) -> bool {
    let (name, other) = (name.to_ascii_lowercase(), other.to_ascii_lowercase());
    name == other || name.strip_prefix('*').is_some_and(|end| other.trim_start_matches('*').ends_with(end))
}
