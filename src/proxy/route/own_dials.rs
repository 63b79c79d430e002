//! Connections of this process that a rule of the firewall leads back to it: a rule for what leaves this host that does not leave
//! out Portway. Their destination is another host, so only the address that they come from tells.

use std::any::Any;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, Weak};

use crate::model::Protocol;
use crate::state::lock;

/// Anything that lives as long as a socket is open.
pub type WhileOpen = Weak<dyn Any + Send + Sync>;

/// The two ends of a connection or session. Both tell: from its own address, which may be the source, a client connects to others as
/// well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DialEnds {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Where it begins.
    pub from: SocketAddr,
    /// Where it leads.
    pub to: SocketAddr,
}

/// The ends of open connections and sessions to original destinations.
#[derive(Debug, Default)]
pub(super) struct OwnDials(Mutex<DialTable>);

#[derive(Debug, Default)]
struct DialTable {
    open: HashMap<DialEnds, WhileOpen>,
    /// At this size those that are closed are forgotten.
    full: usize,
}

/// So many are not worth a look.
const FEW: usize = 64;

impl OwnDials {
    /// Notes a connection.
    pub fn add(&self, ends: DialEnds, open: WhileOpen) {
        let mut known = lock(&self.0);
        if known.open.len() >= known.full {
            known.open.retain(|_, open| open.strong_count() > 0);
            known.full = FEW.max(2 * known.open.len());
        }
        known.open.insert(ends, open);
    }

    /// Whether a client's connection is one of them.
    pub fn has(&self, ends: &DialEnds) -> bool {
        lock(&self.0).open.get(ends).is_some_and(|open| open.strong_count() > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_connection_is_ours_while_its_socket_is_open() {
        let (dials, socket) = (OwnDials::default(), Arc::new(()));
        let ends = |protocol, port: u16| {
            let (from, to) = (([10, 0, 0, 1], port).into(), ([10, 0, 0, 2], 80).into());
            DialEnds { protocol, from, to }
        };
        let open: Weak<()> = Arc::downgrade(&socket);
        dials.add(ends(Protocol::Tcp, 1), open);
        assert!(dials.has(&ends(Protocol::Tcp, 1)));
        assert!(!dials.has(&ends(Protocol::Udp, 1)) && !dials.has(&ends(Protocol::Tcp, 2)));
        for port in 0..1000 {
            let gone: Weak<()> = Weak::new();
            dials.add(ends(Protocol::Udp, port), gone);
        }
        assert!(lock(&dials.0).open.len() <= FEW + 1);
        assert!(dials.has(&ends(Protocol::Tcp, 1)));
        drop(socket);
        assert!(!dials.has(&ends(Protocol::Tcp, 1)));
    }
}
