//! What stands in `stream`, by name.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::lex::Directive;
use crate::config::import::sheet::Sheet;

/// The parts of `stream`.
pub(super) struct Stream<'d> {
    /// Statements that servers inherit.
    pub own: Vec<&'d Directive>,
    pub servers: Vec<&'d Directive>,
    upstreams: BTreeMap<&'d str, &'d Directive>,
    maps: BTreeMap<&'d str, &'d Directive>,
    zones: BTreeMap<&'d str, &'d Directive>,
    /// Names of blocks that a server has used.
    used: RefCell<BTreeSet<String>>,
}

impl<'d> Stream<'d> {
    pub fn of(inside: &[&'d Directive]) -> Self {
        let mut stream = Stream {
            own: Vec::new(),
            servers: Vec::new(),
            upstreams: BTreeMap::new(),
            maps: BTreeMap::new(),
            zones: BTreeMap::new(),
            used: RefCell::default(),
        };
        for directive in inside {
            match directive.name.as_str() {
                "server" => stream.servers.push(directive),
                "upstream" => drop(stream.upstreams.insert(directive.arg(0), directive)),
                "map" => drop(stream.maps.insert(directive.arg(1), directive)),
                "limit_conn_zone" => {
                    let zone = directive.arg(1).strip_prefix("zone=").unwrap_or_default();
                    let name = zone.split(':').next().unwrap_or_default();
                    stream.zones.insert(name, directive);
                }
                _ => stream.own.push(directive),
            }
        }
        stream
    }

    fn used<T>(&self, name: &str, found: Option<T>) -> Option<T> {
        if found.is_some() {
            self.used.borrow_mut().insert(name.to_owned());
        }
        found
    }

    pub fn upstream(&self, name: &str) -> Option<&'d Directive> {
        self.used(name, self.upstreams.get(name).copied())
    }

    /// The map that makes this variable.
    pub fn map(&self, variable: &str) -> Option<&'d Directive> {
        self.used(variable, self.maps.get(variable).copied())
    }

    pub fn zone(&self, name: &str) -> Option<&'d Directive> {
        self.used(name, self.zones.get(name).copied())
    }

    /// The statements that hold for a server: its own, and of `stream` those that it does not have. `allow` and `deny` are
    /// inherited together.
    pub fn effective(&self, server: &'d Directive) -> Vec<&'d Directive> {
        let kind = |name: &'d str| if name == "deny" { "allow" } else { name };
        let own: BTreeSet<&str> = server.inside().iter().map(|directive| kind(&directive.name)).collect();
        let inherited = self.own.iter().copied().filter(|directive| !own.contains(kind(&directive.name)));
        inherited.chain(server.inside()).collect()
    }

    /// Whether a half-closed connection goes on, everywhere.
    pub fn half_closes(&self) -> bool {
        self.servers.iter().all(|server| {
            self.effective(server).iter().any(|one| one.name == "proxy_half_close" && one.arg(0) == "on")
        })
    }

    /// Names the blocks that no server uses.
    pub fn leftover(&self, sheet: &mut Sheet) {
        let used = self.used.borrow();
        for (name, block) in self.upstreams.iter().chain(&self.maps).chain(&self.zones) {
            if used.contains(*name) {
                continue;
            }
            sheet.note(&block.said(), format!("no server uses `{name}`"));
            block.inside().iter().for_each(|directive| sheet.same(&directive.said()));
        }
    }
}
