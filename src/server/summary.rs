//! What an edit does, in one line, for the log and for whoever asked for it.

use std::fmt::Write;

use crate::config::Plan;

/// What an edit does, in one line: `added app; removed db; changed web`.
pub(super) fn summary(plan: &Plan) -> String {
    let mut line = String::new();
    let mut part = |what: &str, names: Vec<&String>| {
        const SHOWN: usize = 10;
        if names.is_empty() {
            return;
        }
        let shown = names.iter().take(SHOWN).map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        let gap = if line.is_empty() { "" } else { "; " };
        let _ = write!(line, "{gap}{what} {shown}");
        if names.len() > SHOWN {
            let _ = write!(line, " and {} more", names.len() - SHOWN);
        }
    };
    part("added", plan.routes.added.keys().collect());
    part("removed", plan.routes.removed.keys().collect());
    part("changed", plan.routes.changed.keys().collect());
    if plan.held.is_some() {
        part("changed", vec![&"what is taken out by hand".to_owned()]);
    }
    if plan.disabled.is_some() {
        part("changed", vec![&"what has enabled = false".to_owned()]);
    }
    let sockets: Vec<String> = plan.access().map(|(addr, ..)| addr.to_string()).collect();
    part("changed", sockets.iter().collect());
    if plan.process.is_some() {
        part("changed", vec![&"[process]".to_owned()]);
    }
    if plan.log.is_some() {
        part("changed", vec![&"[log]".to_owned()]);
    }
    if plan.limits.is_some() {
        part("changed", vec![&"[limits]".to_owned()]);
    }
    if plan.fleet.is_some() {
        part("changed", vec![&"[fleet]".to_owned()]);
    }
    if plan.edits.is_some() {
        part("changed", vec![&"[edits]".to_owned()]);
    }
    if plan.admin.is_some() {
        part("changed", vec![&"[admin]".to_owned()]);
    }
    line
}
