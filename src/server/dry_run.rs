//! Dry runs: what an edit would touch, and whether its sockets can be opened. Changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::beside::breathe;
use super::concern::Concerned;
use super::descriptors::Shares;
use super::handle::{DryRun, TriedListener, Tries};
use super::leaving::Leaving;
use super::open::{ByPort, leaving};
use super::running::Server;
use crate::config::{Compiled, Plan, Report};
use crate::model::{ListenAddr, Protocol};
use crate::net::{bind, bind_fault};
use crate::proxy::record::OpenConnection;

impl Server {
    /// What the file would change, as far as the server knows. Fails if a file that it names cannot be read.
    pub async fn dry_run(&self, compiled: &Compiled, tries: Tries) -> Result<DryRun, Report> {
        let plan = self.plan(compiled).await?;
        let (mut not_tried, mut connectors) = (Vec::new(), self.registry.tls.connectors.clone());
        match tries {
            Tries::Everything => {
                let read = self.read_named(compiled).await?;
                connectors.extend(read.credentials.into_iter().filter_map(|read| read.connector()));
            }
            Tries::NoFiles => {
                let table = &compiled.table;
                let files =
                    [self.lists.missing(table), self.credentials.missing(table), self.tokens.missing(table)];
                not_tried.extend(files.iter().flatten().map(|path| path.display().to_string()));
                not_tried.sort();
                not_tried.dedup();
            }
        }
        self.wait_for_leaving(&plan).await;
        let mut concerned: BTreeMap<String, Vec<Arc<OpenConnection>>> = BTreeMap::new();
        for open in Concerned::of(&plan).find(&self.shared.open, u64::MAX) {
            let route = open.known().owner.route.name.clone();
            concerned.entry(route).or_default().push(open);
        }
        Ok(DryRun {
            generation: self.generation,
            disabled: self.table.disabled.clone(),
            process: self.table.process.clone(),
            log: self.table.log.clone(),
            limits: self.table.limits,
            fleet: self.table.fleet.clone(),
            edits: self.table.edits,
            admin: self.table.admin.clone(),
            concerned,
            listeners: self.try_listeners(&plan, tries, &mut not_tried).await,
            plan,
            not_tried,
            connectors,
            descriptors_needed: 0,
            descriptors: 0,
            fits: Shares::default(),
        })
    }

    /// Binds each address for a moment, and accepts nobody on it: clients notice nothing.
    async fn try_listeners(
        &self,
        plan: &Plan,
        tries: Tries,
        not_tried: &mut Vec<String>,
    ) -> Vec<TriedListener> {
        let mut tried = Vec::new();
        // Two paths may lead to one file: each is there until the others were tried.
        let mut sockets = Vec::new();
        let mut add = |protocol, addr: &ListenAddr, fault| {
            tried.push(TriedListener { protocol, addr: addr.clone(), fault });
        };
        {
            let beside = ByPort::of(plan.listeners.removed.keys());
            let leaving = leaving(self, plan, &beside);
            let _shared =
                Leaving::sharing(|on| leaving.iter().for_each(|socket| drop(socket.share_port(on))));
            for (done, (addr, binding)) in plan.listeners.added.iter().enumerate() {
                breathe(done).await;
                // A trial makes the file of a Unix socket, and removes that of a dead one.
                if tries == Tries::NoFiles && matches!(addr, ListenAddr::Unix(_)) {
                    not_tried.push(addr.to_string());
                    continue;
                }
                // An inherited socket is there. Nobody touches it: it may serve.
                let had = match self.inherited.has(addr, false) {
                    true => Ok(()),
                    false => bind(addr, beside.cover(addr), binding.access())
                        .map(|bound| sockets.extend(addr.port().is_none().then_some(bound))),
                };
                let in_the_way = self.inherited.in_the_way(addr);
                let fault = had.err().map(|error| bind_fault(addr, &error, Protocol::Tcp, in_the_way));
                add(Protocol::Tcp, addr, fault);
            }
        }
        let faults = match self.udp.prepare(&plan.datagrams, &self.inherited, &self.shared.workers) {
            Ok(opened) => {
                self.udp.give_back(opened);
                Vec::new()
            }
            Err(faults) => faults,
        };
        for addr in plan.datagrams.added.keys() {
            let fault = faults.iter().find(|(of, _)| of == addr).map(|(_, fault)| fault.clone());
            add(Protocol::Udp, addr, fault);
        }
        if let Some(Some(admin)) = &plan.admin
            && self.admin.borrow().as_ref().is_none_or(|open| open.settings.listen != admin.listen)
        {
            let fault = |error| bind_fault(&admin.listen, &error, Protocol::Tcp, None);
            add(Protocol::Tcp, &admin.listen, bind(&admin.listen, false, &admin.access).err().map(fault));
        }
        tried
    }
}
