//! The socket of the admin endpoint: an edit treats it as it treats the others.

use std::sync::Arc;
use std::time::Duration;

use super::Server;
use super::apply::bind_fault;
use super::handle::AdminDoor;
use crate::config::{Fault, Plan};
use crate::model::{ListenAddr, Protocol};
use crate::net::{Listener, bind};

/// Of its connections.
const KEEPALIVE: Duration = Duration::from_secs(60);

impl Server {
    /// Opens the socket, where the plan has another than the one that is open. May fail; changes nothing.
    pub(super) fn prepare_admin(&self, plan: &Plan) -> Result<Option<Arc<Listener>>, (ListenAddr, Fault)> {
        let Some(Some(settings)) = &plan.admin else { return Ok(None) };
        let addr = &settings.listen;
        if let Some(open) = self.admin.borrow().as_ref().filter(|open| open.settings.listen == *addr) {
            return Ok(Some(open.listener.clone()));
        }
        let opened = bind(addr, false).and_then(|bound| {
            // Before anybody can connect.
            bound.keep_private()?;
            bound.listen(Some(KEEPALIVE))
        });
        match opened {
            Ok(listener) => Ok(Some(Arc::new(listener))),
            Err(error) => Err((addr.clone(), bind_fault(addr, &error, (Protocol::Tcp, None)))),
        }
    }

    /// Puts the plan into force. Cannot fail.
    pub(super) fn commit_admin(&mut self, plan: &Plan, listener: Option<Arc<Listener>>) {
        let Some(settings) = &plan.admin else { return };
        let door = settings.clone().zip(listener);
        let door = door.map(|(settings, listener)| Arc::new(AdminDoor { settings, listener }));
        self.admin.send_replace(door);
    }
}
