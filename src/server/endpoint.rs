//! The socket of the admin endpoint: an edit treats it as it treats the others.

use std::sync::Arc;
use std::time::Duration;

use super::Server;
use super::apply::bind_fault;
use super::handle::{AdminDoor, AdminSocket};
use crate::config::{Fault, Plan};
use crate::model::{ListenAddr, Protocol};
use crate::net::bind;

/// Of its connections.
const KEEPALIVE: Duration = Duration::from_secs(60);

impl Server {
    /// Opens the socket, where the plan has another than the one that is open. May fail; changes nothing.
    pub(super) fn prepare_admin(&self, plan: &Plan) -> Result<Option<Arc<AdminSocket>>, (ListenAddr, Fault)> {
        let Some(Some(settings)) = &plan.admin else { return Ok(None) };
        let addr = &settings.listen;
        if let Some(open) = self.admin.borrow().as_ref().filter(|open| open.settings.listen == *addr) {
            return Ok(Some(open.socket.clone()));
        }
        let opened = bind(addr, false).and_then(|bound| {
            // Before anybody can connect.
            bound.keep_private()?;
            AdminSocket::new(bound.listen(Some(KEEPALIVE))?)
        });
        match opened {
            Ok(socket) => Ok(Some(Arc::new(socket))),
            Err(error) => Err((addr.clone(), bind_fault(addr, &error, (Protocol::Tcp, None)))),
        }
    }

    /// Puts the plan into force. Cannot fail.
    pub(super) fn commit_admin(&mut self, plan: &Plan, socket: Option<Arc<AdminSocket>>) {
        let Some(settings) = &plan.admin else { return };
        let door = settings.clone().zip(socket);
        let door = door.map(|(settings, socket)| Arc::new(AdminDoor { settings, socket }));
        self.admin.send_replace(door);
    }
}
