//! A plan that is only tried: what an edit would touch, and whether its sockets can be had. Changes nothing.

use std::collections::BTreeMap;

use super::Server;
use super::apply::bind_fault;
use crate::config::{Compiled, Fault, Plan, Report};
use crate::model::{AdminSettings, Limits, ListenAddr, LogSettings, Protocol};
use crate::net::bind;

/// What an edit would do to what runs.
#[derive(Debug)]
pub struct Trial {
    /// The generation that it was compared with.
    pub generation: u64,
    /// What would change.
    pub plan: Plan,
    /// `[log]`, `[limits]` and `[admin]`, as they run.
    pub settings: (LogSettings, Limits, Option<AdminSettings>),
    /// Open connections of each route that would be removed or changed.
    pub open: BTreeMap<String, usize>,
    /// Each address that would be listened on anew, and why it cannot be.
    pub listeners: Vec<(Protocol, ListenAddr, Option<Fault>)>,
    /// Descriptors for all but connections, and how many there may be.
    pub descriptors: (usize, usize),
    /// Connections and UDP sessions that would fit beside.
    pub fits: (usize, usize),
}

impl Server {
    /// What the file would change, as far as the server knows. Fails where a list that it names cannot be read.
    pub(super) async fn try_plan(&self, compiled: &Compiled) -> Result<Trial, Report> {
        let plan = Plan::between(&self.table, &compiled.table);
        drop(self.lists.prepare(compiled).await?);
        drop(self.credentials.prepare(compiled).await?);
        let touched = plan.routes.removed.keys().chain(plan.routes.changed.keys());
        let open = |name: &String| self.serving.get(name).map_or(0, |connections| connections.len());
        Ok(Trial {
            generation: self.generation,
            settings: (self.table.log.clone(), self.table.limits, self.table.admin.clone()),
            open: touched.map(|name| (name.clone(), open(name))).collect(),
            listeners: self.try_listeners(&plan),
            plan,
            descriptors: (0, 0),
            fits: (0, 0),
        })
    }

    /// Takes each address for a moment. Nobody is heard on it: clients notice nothing.
    fn try_listeners(&self, plan: &Plan) -> Vec<(Protocol, ListenAddr, Option<Fault>)> {
        let mut tried = Vec::new();
        let leaving = self.share_leaving(plan, true);
        for addr in plan.listeners.added.keys() {
            let beside = plan.listeners.removed.keys().any(|old| old.overlaps(addr));
            let passed = self.inherited.listen(addr, None).map(|passed| passed.map(drop));
            let had = passed.unwrap_or_else(|| bind(addr, beside).map(drop));
            let fault = |error| bind_fault(addr, &error, (Protocol::Tcp, self.inherited.in_the_way(addr)));
            tried.push((Protocol::Tcp, addr.clone(), had.err().map(fault)));
        }
        super::apply::share_ports(&leaving, false);
        let faults = self
            .datagrams
            .prepare(&plan.datagrams, &self.inherited, &self.shared.crew)
            .err()
            .unwrap_or_default();
        for addr in plan.datagrams.added.keys() {
            let fault = faults.iter().find(|(of, _)| of == addr).map(|(_, fault)| fault.clone());
            tried.push((Protocol::Udp, addr.clone(), fault));
        }
        if let Some(Some(admin)) = &plan.admin
            && self.admin.borrow().as_ref().is_none_or(|open| open.settings.listen != admin.listen)
        {
            let fault = |error| bind_fault(&admin.listen, &error, (Protocol::Tcp, None));
            let fault = bind(&admin.listen, false).err().map(fault);
            tried.push((Protocol::Tcp, admin.listen.clone(), fault));
        }
        tried
    }
}
