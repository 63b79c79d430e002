//! Routes that share an address, where a TLS hello tells who goes to which: each needs a name, and where one of them serves
//! nobody, its clients must not come to another.

use std::collections::{BTreeMap, BTreeSet};

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
            for listen in &route.listen {
                all.entry(listen).or_default().push(at);
            }
        }
    }
    let chosen = |members: &Vec<usize>| {
        members.len() > 1 && members.iter().any(|at| routes.get(*at).is_some_and(|route| !is_rest(route)))
    };
    // What has several addresses in common is one.
    let all: BTreeSet<Vec<usize>> = all.into_values().filter(chosen).collect();
    all.into_iter().collect()
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

/// What a route serves, as far as others would.
struct Serves<'r> {
    names: Vec<&'r str>,
    rest: bool,
}

impl Serves<'_> {
    /// Whether it would get clients of one of its address that is off: the most exact name decides, then the protocol, and
    /// the route without both takes the rest.
    fn takes(&self, lost: &Serves<'_>) -> bool {
        if lost.rest {
            return self.rest;
        }
        let covered = |their: &&str| self.names.iter().any(|name| covers(name, their));
        self.names.is_empty() || lost.names.iter().any(covered)
    }
}

/// Who would get clients of routes that are off, and of those that are off for this.
pub(super) fn heirs(routes: &[&Route], off: &[usize]) -> Vec<Heir> {
    let serves: Vec<Serves<'_>> =
        routes.iter().map(|route| Serves { names: route.words("sni"), rest: is_rest(route) }).collect();
    let mut is_off = vec![false; routes.len()];
    off.iter().filter_map(|at| serves.get(*at).map(|_| *at)).for_each(|at| is_off[at] = true);
    let (shared, mut heirs) = (shared(routes), Vec::new());
    loop {
        let before = heirs.len();
        for members in &shared {
            let mut lost: Vec<usize> = members.iter().copied().filter(|at| is_off[*at]).collect();
            let mut wide = wide(members, &serves);
            wide.retain(|at| !is_off[*at]);
            while let Some(of) = lost.pop() {
                let (heard, left) = wide.iter().partition(|at| serves[**at].takes(&serves[of]));
                wide = left;
                for route in heard {
                    is_off[route] = true;
                    heirs.push(Heir { route, of });
                    lost.push(route);
                }
            }
        }
        // One that is off at several addresses leaves its clients at each.
        if heirs.len() == before {
            return heirs;
        }
    }
}

/// Those of an address that serve more than names of their own: only they get clients that another one names.
fn wide(members: &[usize], serves: &[Serves<'_>]) -> Vec<usize> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for name in members.iter().flat_map(|at| &serves[*at].names) {
        *count.entry(name).or_default() += 1;
    }
    let shares = |name: &&str| name.starts_with('*') || count.get(name).is_some_and(|count| *count > 1);
    let is_wide = |at: &usize| serves[*at].names.is_empty() || serves[*at].names.iter().any(shares);
    members.iter().copied().filter(is_wide).collect()
}

/// Whether all that a name of `sni` means is meant by another, too.
pub(super) fn covers(name: &str, other: &str) -> bool {
    let below = |end: &str| {
        let other = other.trim_start_matches('*');
        let from = other.len().checked_sub(end.len());
        from.and_then(|from| other.get(from..)).is_some_and(|last| last.eq_ignore_ascii_case(end))
    };
    name.eq_ignore_ascii_case(other) || name.strip_prefix('*').is_some_and(below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::import::sheet::Said;

    #[test]
    fn a_mask_covers_what_is_below_it() {
        for (name, other, expected) in [
            ("a.example", "A.example", true),
            ("*.example", "a.example", true),
            ("*.example", "*.a.Example", true),
            ("*.example", "example", false),
            ("*.a.example", "*.example", false),
            ("a.example", "*.example", false),
        ] {
            assert_eq!(covers(name, other), expected, "{name} {other}");
        }
    }

    fn route(listen: &str, keys: &[[&str; 2]]) -> Route {
        let mut route = Route::new(&Said::new(1, "server"));
        route.listen.push(listen.to_owned());
        keys.iter().for_each(|[key, value]| route.fields.set(key, *value));
        route
    }

    #[test]
    fn heirs_are_off_one_after_the_other_and_at_their_address_only() {
        let all = [
            route("1", &[["sni", "\"a.example\""]]),
            route("1", &[["sni", "[\"b.example\", \"*.example\"]"]]),
            route("1", &[["sni", "\"c.example\""]]),
            route("1", &[["alpn", "\"h2\""]]),
            route("1", &[]),
            route("1", &[["protocol", "\"udp\""]]),
            route("2", &[["sni", "\"*.example\""]]),
            route("2", &[]),
            route("3", &[["sni", "\"a.example\""], ["alpn", "\"h2\""]]),
            route("3", &[["sni", "\"a.example\""]]),
        ];
        let routes: Vec<&Route> = all.iter().collect();
        let of = |off: &[usize]| {
            let mut found: Vec<usize> = heirs(&routes, off).iter().map(|heir| heir.route).collect();
            found.sort();
            found
        };
        assert_eq!(of(&[0]), [1, 3, 4]);
        assert_eq!(of(&[1]), [3, 4]);
        assert_eq!(of(&[3]), [4]);
        assert_eq!((of(&[4]), of(&[5])), (vec![], vec![]));
        assert_eq!(of(&[6]), [7]);
        assert_eq!(of(&[8]), [9]);
        let mut named = all.clone();
        name(&mut named);
        let names: Vec<&str> = named.iter().map(|route| route.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "a.example",
                "b.example",
                "c.example",
                "h2",
                "default",
                "",
                "example",
                "default",
                "a.example",
                "a.example"
            ]
        );
    }
}
