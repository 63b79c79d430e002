//! Who may connect to Unix sockets: edits of `mode` and `group`, which touch no connection. And the names of this system's
//! users and groups.

use std::io;
use std::sync::Arc;

use super::running::Server;
use super::user;
use crate::config::{Compiled, Plan, Report};
use crate::model::{Fault, ListenAddr, Protocol, SocketAccess, Table};
use crate::net::bind_fault;
use crate::net::socket_file::number_of;
use crate::proxy::listener::ListenSocket;

/// Fails if a table names a user or a group that this system does not have.
pub fn check(compiled: &Compiled) -> Result<(), Report> {
    let faults: Vec<_> = said(&compiled.table)
        .filter_map(|(addr, access)| {
            let error = number_of(access.group.as_ref()?).err()?;
            Some((addr.clone(), fault(&addr, &error)))
        })
        .collect();
    let groups = if faults.is_empty() { Ok(()) } else { Err(compiled.listen_faults(&faults)) };
    Report::both(groups, user::check(compiled)).map(drop)
}

/// The sockets whose access a table says, with it.
fn said(table: &Table) -> impl Iterator<Item = (ListenAddr, &SocketAccess)> {
    let routes = table.sockets.iter().map(|(path, access)| (ListenAddr::Unix(path.clone()), &**access));
    let admin = table.admin.iter().map(|admin| (admin.listen.clone(), &admin.access));
    routes.chain(admin)
}

fn fault(addr: &ListenAddr, error: &io::Error) -> Fault {
    bind_fault(addr, error, Protocol::Tcp, None)
}

/// Gives the sockets that stay open the mode and the group that a plan wants. On a fault nothing has changed.
pub(super) fn allow(server: &Server, plan: &Plan) -> Result<(), Vec<(ListenAddr, Fault)>> {
    let mut done: Vec<(Arc<ListenSocket>, Arc<SocketAccess>)> = Vec::new();
    let undo = |done: Vec<(Arc<ListenSocket>, Arc<SocketAccess>)>| {
        // It had this access a moment ago, so it can have it again.
        done.iter().for_each(|(socket, old)| drop(socket.allow(old)));
    };
    for (addr, old, new) in plan.access() {
        let Some(socket) = server.listeners.get(addr) else { continue };
        done.push((socket.clone(), Arc::new(old.clone())));
        if let Err(error) = socket.allow(&Arc::new(new.clone())) {
            undo(done);
            return Err(vec![(addr.clone(), fault(addr, &error))]);
        }
    }
    let admin = server.admin.borrow();
    if let (Some(open), Some(Some(new))) = (admin.as_ref(), &plan.admin)
        && open.settings.listen == new.listen
        && open.settings.access != new.access
        && let Err(error) = open.socket.allow(&new.access)
    {
        undo(done);
        return Err(vec![(new.listen.clone(), fault(&new.listen, &error))]);
    }
    Ok(())
}
