//! TCP keepalive towards the upstream is set late, for all connections by one sweep: it costs four system calls, and most
//! connections have ended before it is of use. (Accepted sockets inherit it from their listener.)

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::open_table::{OpenTable, Swept};
use crate::net::Socket;

/// From this age on a connection has keepalive.
const LATE: Duration = Duration::from_secs(5);
/// A keepalive whose first probe comes earlier than this is set at once.
const SOON: Duration = Duration::from_secs(20);
/// Time between two sweeps. There are none while no connection is young.
const PERIOD: Duration = Duration::from_secs(1);

/// Sets keepalive on connections that have become [`LATE`] old.
#[derive(Debug, Default)]
pub struct LateKeepalive {
    wanted: Notify,
}

impl LateKeepalive {
    /// Sees to it that the socket of an upstream has keepalive in time. `idle`: silence before the first probe; `None`:
    /// no keepalive. The socket must be in the open table. `age`: that of its connection.
    pub fn begin(&self, upstream: &Socket, idle: Option<Duration>, age: Duration) {
        match idle {
            None => {}
            // The sweep may have passed this entry already.
            Some(idle) if idle < SOON || age >= LATE => upstream.keep_alive(idle),
            Some(_) => self.wanted.notify_one(),
        }
    }

    /// Sweeps over the table whenever it has young connections. Never returns.
    pub(super) async fn sweep(&self, table: &OpenTable) {
        let mut swept = Swept::default();
        loop {
            self.wanted.notified().await;
            let mut young = true;
            while young {
                sleep(PERIOD).await;
                young = table.each_older(LATE, &mut swept, |open| {
                    let (idle, upstream) = {
                        let known = open.known();
                        (known.owner.route.policy.timeouts.keepalive, known.upstream_socket())
                    };
                    if let Some((idle, socket)) = idle.zip(upstream) {
                        socket.keep_alive(idle);
                    }
                });
            }
        }
    }
}
