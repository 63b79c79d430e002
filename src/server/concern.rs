//! Finds the open connections that edits concern.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Concern, Plan};
use crate::model::Protocol;
use crate::proxy::record::{OpenConnection, OpenTable};

/// The open connections that an edit concerns, of one route or of several.
#[derive(Debug, Default)]
pub(super) struct Concerned(BTreeMap<String, [Option<Concern>; 2]>);

impl Concerned {
    /// Those of one part of a route: its TCP, or its UDP.
    pub fn part(name: &str, protocol: Protocol, concern: Concern) -> Concerned {
        let mut parts = [None, None];
        parts[usize::from(protocol == Protocol::Udp)] = Some(concern);
        Concerned(BTreeMap::from([(name.to_owned(), parts)]))
    }

    /// Those of all routes that a plan removes or changes.
    pub fn of(plan: &Plan) -> Concerned {
        let removed = plan.routes.removed.iter().map(|(name, old)| (name, old, None));
        let changed = plan.routes.changed.iter().map(|(name, (old, new))| (name, old, Some(new)));
        let parts = removed.chain(changed).map(|(name, old, new)| {
            let of = |protocol| Some(Concern::between(Some(old), new, protocol));
            (name.clone(), [of(Protocol::Tcp), of(Protocol::Udp)])
        });
        Concerned(parts.collect())
    }

    /// Whether it is one of them, also if it follows a text that an earlier edit has replaced. What is ended already is none.
    pub fn has(&self, open: &OpenConnection) -> bool {
        if open.is_ended() {
            return false;
        }
        let (concern, upstream) = {
            let known = open.known();
            let Some(parts) = self.0.get(&known.owner.route.name) else { return false };
            let Some(concern) = &parts[usize::from(open.is_session())] else { return false };
            (concern, known.upstream.as_ref().map(|to| to.written.clone()))
        };
        concern.concerns(&open.listener, upstream.as_deref(), || open.reached())
    }

    /// All of them, up to this id.
    pub fn find(&self, table: &OpenTable, newest: u64) -> Vec<Arc<OpenConnection>> {
        let mut found = Vec::new();
        table.each(|open| {
            if open.id <= newest && self.has(open) {
                found.push(open.clone());
            }
        });
        found
    }
}
