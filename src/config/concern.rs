//! Which open connections an edit concerns: those that it names. A change of the upstream list concerns the connections
//! of upstreams that left; of `listen`, those of addresses that left; of `allow` and `deny`, none; of any other key, all of
//! the route. `on_change` says what becomes of them.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{ListenAddr, Policy, Protocol, Route, UpstreamAddr, UpstreamEntry};

/// Which open connections an edit concerns, of one part of a route: its TCP, or its UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Concern {
    /// None.
    Nobody,
    /// Those of addresses and of upstreams that are of the old route and not of the new one.
    Leaving {
        /// The part as it was.
        old: Arc<Route>,
        /// The part as it will be.
        new: Arc<Route>,
    },
    /// All of the route.
    Everybody,
}

impl Concern {
    /// What an edit of this part of a route concerns. `protocol`: TCP or UDP. `None`: the route is not there.
    pub fn between(old: Option<&Arc<Route>>, new: Option<&Arc<Route>>, protocol: Protocol) -> Concern {
        let part = |route: Option<&Arc<Route>>| route.and_then(|route| route.part(protocol));
        match (part(old), part(new)) {
            (None, _) => Concern::Nobody,
            (Some(_), None) => Concern::Everybody,
            (Some(old), Some(new)) if !changes_lists_only(&old, &new) => Concern::Everybody,
            (Some(old), Some(new)) if old.listen == new.listen && old.upstream == new.upstream => {
                Concern::Nobody
            }
            (Some(old), Some(new)) => Concern::Leaving { old, new },
        }
    }

    /// Whether it concerns a connection of the route: one that `listener` has accepted, and that leads to `upstream`. `None`: to
    /// none yet. `local` is the address of this host that its client has connected to, where it is known.
    pub fn concerns(
        &self,
        listener: &ListenAddr,
        upstream: Option<&UpstreamAddr>,
        local: impl FnOnce() -> Option<IpAddr>,
    ) -> bool {
        let Concern::Leaving { old, new } = self else { return *self == Concern::Everybody };
        let by_name = |route: &Route| route.listen.iter().find_map(|spec| spec.offset(listener));
        let (mut was, mut stays) = (by_name(old), by_name(new));
        // A listener for all addresses may have given way to one for this address, and the other way round.
        if let (true, Some(port)) = (was.is_none() || stays.is_none(), listener.port())
            && let Some(ip) = local()
        {
            let by_address = |route: &Route| route.listen.iter().find_map(|spec| spec.offset_of(ip, port));
            (was, stays) = (was.or_else(|| by_address(old)), stays.or_else(|| by_address(new)));
        }
        if was.is_some() && stays.is_none() {
            return true;
        }
        upstream.is_some_and(|upstream| {
            let had = old.upstream.iter().any(|entry| entry.spec.contains(upstream));
            let has = new.upstream.iter().any(|entry| match stays {
                Some(offset) => entry.spec.at(offset) == *upstream,
                None => entry.spec.contains(upstream),
            });
            had && !has
        })
    }

    /// Who is concerned of the connections, for a person: "" for all of them. `None`: nobody.
    pub(super) fn show(&self) -> Option<&'static str> {
        let (old, new) = match self {
            Concern::Nobody => return None,
            Concern::Everybody => return Some(""),
            Concern::Leaving { old, new } => (old, new),
        };
        let stays = |addr: &ListenAddr| new.listen.iter().any(|spec| spec.contains(addr));
        let addresses = old.listen.iter().flat_map(|spec| spec.addrs()).any(|(_, addr)| !stays(&addr));
        let upstreams = old.upstream.iter().any(|entry| addrs(entry).any(|addr| !leads_to(new, &addr)));
        match (addresses, upstreams) {
            (false, false) => None,
            (true, false) => Some(" of addresses that leave"),
            (false, true) => Some(" of upstreams that leave"),
            (true, true) => Some(" of addresses and upstreams that leave"),
        }
    }
}

/// The entries of a route's `upstream` of which another text of it has no address.
pub fn left<'r>(old: &'r Route, new: &'r Route) -> impl Iterator<Item = &'r UpstreamEntry> {
    old.upstream.iter().filter(|entry| !addrs(entry).any(|addr| leads_to(new, &addr)))
}

fn addrs(entry: &UpstreamEntry) -> impl Iterator<Item = UpstreamAddr> {
    (0..entry.spec.count()).map(|offset| entry.spec.at(offset))
}

fn leads_to(route: &Route, addr: &UpstreamAddr) -> bool {
    route.upstream.iter().any(|entry| entry.spec.contains(addr))
}

/// Whether two texts of a route differ in `listen`, `upstream`, `allow` and `deny` at most.
fn changes_lists_only(old: &Route, new: &Route) -> bool {
    let access_of_new = || Policy { access: new.policy.access.clone(), ..Policy::clone(&old.policy) };
    old.name == new.name
        && old.selector == new.selector
        && (old.policy == new.policy || access_of_new() == *new.policy)
}
