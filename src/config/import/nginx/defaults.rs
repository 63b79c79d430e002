//! The default server of each address: the first, or the one that says so. It serves every name that no other server there has.

use std::collections::BTreeMap;

use super::lex::Directive;
use super::listen::{self, Listen, Role};
use super::stream::Stream;
use crate::config::import::neighbours;

/// What the servers of one address are to each other.
struct Address<'d> {
    default: &'d Directive,
    /// It has said so.
    chosen: bool,
    /// What all of them are called.
    names: Vec<(&'d Directive, &'d str)>,
}

/// By address, and whether it is of datagrams.
pub(super) struct Defaults<'d>(BTreeMap<(String, bool), Address<'d>>);

/// What no `sni` can say.
pub(super) fn is_pattern(name: &str) -> bool {
    name.starts_with('~') || name.ends_with(".*")
}

fn names<'d>(all: &[&'d Directive]) -> impl Iterator<Item = &'d str> {
    all.iter().filter(|one| one.name == "server_name").flat_map(|one| one.args.iter().map(String::as_str))
}

impl<'d> Defaults<'d> {
    pub fn of(stream: &Stream<'d>) -> Self {
        let mut all: BTreeMap<(String, bool), Address<'_>> = BTreeMap::new();
        for server in stream.servers.iter().copied() {
            let says = stream.effective(server);
            let listens = says.iter().filter(|one| one.name == "listen");
            for listen in listens.filter_map(|one| listen::read(one).ok()) {
                let new = || Address { default: server, chosen: false, names: Vec::new() };
                let address = all.entry((listen.address, listen.udp)).or_insert_with(new);
                if listen.default && !address.chosen {
                    (address.default, address.chosen) = (server, true);
                }
                address.names.extend(names(&says).map(|name| (server, name)));
            }
        }
        Defaults(all)
    }

    /// What this server is at this address of it.
    pub fn role(&self, server: &Directive, listen: &Listen) -> Role {
        let address = self.0.get(&(listen.address.clone(), listen.udp));
        let Some(address) = address.filter(|address| std::ptr::eq(address.default, server)) else {
            return Role::Named;
        };
        let (own, others): (Vec<_>, Vec<_>) =
            address.names.iter().partition(|(of, _)| std::ptr::eq(*of, server));
        let takes = |other: &str| {
            let mask = if other.starts_with('.') { format!("*{other}") } else { other.to_owned() };
            is_pattern(other)
                || mask.starts_with('*') && own.iter().any(|(_, name)| neighbours::covers(&mask, name))
        };
        if others.iter().any(|(_, other)| takes(other)) { Role::Mixed } else { Role::Default }
    }
}
