//! The questions before a deed.

use super::deeds::{Deed, Of, Steer};
use super::screen::{Mode, Screen, Tab};
use crate::admin::api::{Upstream, UpstreamState};

impl Screen {
    /// Asks before a connection is reset: the chosen one, or all that match the filter.
    pub(super) fn ask_to_kill(&mut self, all: bool) {
        if self.tab != Tab::Connections {
            self.message = Some("only connections can be killed: go to 3".to_owned());
            return;
        }
        let Some(view) = self.view() else { return };
        if all && self.filter.is_empty() {
            self.message = Some("X kills what a filter leaves: write one with /".to_owned());
            return;
        }
        let rows: Vec<_> = match all {
            true => view.rows.iter().collect(),
            false => view.rows.get(self.row()).into_iter().collect(),
        };
        let ids: Vec<u64> = rows.iter().filter_map(|row| row.key.parse().ok()).collect();
        let question = match rows.as_slice() {
            [] => return,
            [one] => {
                let cell = |at: usize| one.cells.get(at).map(|cell| cell.text.as_str()).unwrap_or_default();
                format!("Reset connection {} of {} on route {}?", one.key, cell(2), cell(1))
            }
            many => {
                format!("Reset all {} connections that the filter \"{}\" leaves?", many.len(), self.filter)
            }
        };
        self.mode = Mode::Confirm(Deed::Kill(ids), question);
    }

    /// Asks before the chosen route or upstream is steered.
    pub(super) fn ask_to_steer(&mut self, key: char) {
        let Some(of) = self.chosen() else {
            self.message = Some("only routes and upstreams are steered: go to 1 or 2".to_owned());
            return;
        };
        let what = match &of.upstream {
            Some(upstream) => format!("upstream {upstream} of route {}", of.route),
            None => format!("route {}", of.route),
        };
        let (steer, question) = match key {
            'd' if of.upstream.is_some() => {
                (Steer::Drain, format!("Drain {what}? It keeps its connections, and gets no new ones."))
            }
            'd' => (Steer::Drain, format!("Drain {what}? Its connections have their drain_timeout.")),
            'D' => (Steer::Disable, format!("Disable {what}? Its connections are reset.")),
            'e' => (Steer::Enable, format!("Let {what} follow the file again?")),
            _ => {
                let Some(weight) = self.upstream(&of).map(weight) else {
                    self.message = Some("only upstreams have a weight: go to 2".to_owned());
                    return;
                };
                let weight = if key == '+' { weight.saturating_add(1) } else { weight.saturating_sub(1) };
                (Steer::Weight(weight), format!("Give {what} the weight {weight}?"))
            }
        };
        self.mode = Mode::Confirm(Deed::Steer(steer, of), question);
    }

    /// The route or the upstream of the chosen row.
    fn chosen(&self) -> Option<Of> {
        let (table, seen) = (self.view()?, self.view.as_ref()?);
        let key = &table.rows.get(self.row())?.key;
        match self.tab {
            Tab::Routes => Some(Of { route: key.clone(), upstream: None }),
            Tab::Upstreams => {
                let mut all = seen.upstreams.upstreams.iter();
                let found = all.find(|one| format!("{} {}", one.route, one.upstream) == *key)?;
                Some(Of { route: found.route.clone(), upstream: Some(found.upstream.clone()) })
            }
            Tab::Connections | Tab::Faults => None,
        }
    }

    fn upstream(&self, of: &Of) -> Option<&Upstream> {
        let mut all = self.view.as_ref()?.upstreams.upstreams.iter();
        all.find(|one| one.route == of.route && Some(&one.upstream) == of.upstream.as_ref())
    }
}

/// The weight that counts now.
fn weight(upstream: &Upstream) -> u32 {
    let by_hand = upstream.by_hand.iter().find_map(|deed| deed.weight);
    by_hand.unwrap_or(if upstream.state == UpstreamState::Drained { 0 } else { upstream.weight })
}
