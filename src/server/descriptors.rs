//! How many connections the process can have: two descriptors each, beside what it needs for itself.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use crate::model::Table;
use crate::net::relay::{MOST_PIPES, limit_pipes};
use crate::tasks::most_acceptors;

/// Connections that the admin endpoint has at most. Their descriptors, and that of one more, are kept for it.
pub const ADMIN_CONNECTIONS: usize = 16;
/// Descriptors that no connection gets: resolvers, log files, a second attempt at an upstream, the file watch.
const RESERVE: usize = 16;
/// And of the limit one part in so many.
const RESERVE_PART: usize = 32;
/// A server with fewer is worth a warning.
const FEW: usize = 100;

/// How the descriptors are shared out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shares {
    /// TCP connections.
    pub connections: usize,
    /// UDP sessions.
    pub sessions: usize,
}

/// The descriptors of this process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptors {
    limit: usize,
    /// Open before the first listener.
    own: usize,
}

impl Descriptors {
    /// Raises the soft limit to the hard one, and looks at what is open.
    pub fn raise() -> Descriptors {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current != maximum
            && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        {
            warn!(%error, "cannot raise the limit of descriptors");
        }
        // `None`: there is no limit.
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        // Without /proc: about what a start needs.
        let own = std::fs::read_dir("/proc/self/fd").map_or(RESERVE, Iterator::count);
        let limits = Descriptors { limit: usize::try_from(limit).unwrap_or(usize::MAX), own };
        limit_pipes(limits.pipes());
        limits
    }

    /// How many pipes bulk data may take: two descriptors each, an eighth of all.
    fn pipes(self) -> usize {
        (self.limit / 16).min(MOST_PIPES)
    }

    /// How many descriptors are not for connections, with so many listeners. Each of these has its socket, and each
    /// thread that takes its connections may hold a client that waits for a free descriptor.
    pub fn needed(self, listeners: usize, admin: bool) -> usize {
        // Its socket, and one connection that waits for another to give way.
        let admin = if admin { ADMIN_CONNECTIONS + 2 } else { 0 };
        let clients = (1 + most_acceptors(listeners)) * listeners;
        admin + self.own + clients + 2 * self.pipes() + RESERVE + self.limit / RESERVE_PART
    }

    /// How many connections fit beside these. At least 1.
    pub fn connections(self, listeners: usize, admin: bool) -> usize {
        (self.limit.saturating_sub(self.needed(listeners, admin)) / 2).max(1)
    }

    /// How many descriptors there may be.
    pub fn limit(self) -> usize {
        self.limit
    }

    /// How many connections and how many UDP sessions fit a table with so many listeners: where it has UDP routes, a quarter
    /// of the descriptors is for their sessions, and no more than a part of the ports that the kernel gives.
    pub fn shares(self, table: &Table, listeners: usize) -> Shares {
        let connections = self.connections(listeners, table.admin.is_some());
        if table.datagrams().next().is_none() {
            return Shares { connections, sessions: 0 };
        }
        let sessions = (connections / 2).min(ports() / 4 * 3).max(1);
        Shares { connections: (connections - sessions / 2).max(1), sessions }
    }

    /// Makes room in the table of descriptors. Linux stops a thread for some milliseconds whenever that table grows under
    /// a program with several threads (expand_fdtable() waits for RCU), and a thread serves all sessions of a listener.
    pub fn make_room(self, sessions: usize) {
        let highest = sessions.saturating_add(self.own + RESERVE).min(self.limit.saturating_sub(1));
        let Ok(highest) = i32::try_from(highest) else { return };
        // Closed at once. It fails where so many may not be, and then there is nothing to be gained.
        drop(rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), highest));
    }

    /// Warns when that is a small number.
    pub fn warn_if_few(self, listeners: usize, admin: bool) {
        let connections = self.connections(listeners, admin);
        if connections < FEW {
            warn!(
                connections,
                descriptors = self.limit,
                "few connections fit the limit of descriptors: raise it (`ulimit -Hn`, LimitNOFILE=, --ulimit nofile)"
            );
        }
    }
}

/// How many ports the kernel gives to sockets that ask for any: each UDP session has one.
fn ports() -> usize {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = range.split_whitespace().filter_map(|end| end.parse::<usize>().ok());
    match (ends.next(), ends.next()) {
        (Some(first), Some(last)) => last.saturating_sub(first) + 1,
        // Linux's own default.
        _ => 60_999 - 32_768 + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_the_rest() {
        let limits = |limit, own| Descriptors { limit, own };
        assert_eq!(limits(1024, 20).connections(1, false), (1024 - 20 - 3 - 128 - 16 - 32) / 2);
        assert_eq!(limits(1024, 20).connections(1, true), (1024 - 18 - 20 - 3 - 128 - 16 - 32) / 2);
        assert_eq!(limits(1024, 20).connections(400, false), (1024 - 20 - 800 - 128 - 16 - 32) / 2);
        assert_eq!(limits(8, 20).connections(1, false), 1);
        assert!(limits(usize::MAX, 20).connections(1, false) > 1 << 60);
    }
}
