//! Divides up the descriptor limit: two for each connection, after what the process needs for itself.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use crate::model::Table;
use crate::net::relay::{MOST_PIPES, limit_pipes};
use crate::tasks::most_acceptors;

/// The most connections of the admin endpoint. Descriptors for them, and for one that waits, are reserved.
pub const ADMIN_CONNECTIONS: usize = 16;
/// Descriptors reserved for everything else: resolvers, log files, a second attempt at an upstream, the file watch.
const RESERVE: usize = 16;
/// One part in this many of the limit is reserved on top of [`RESERVE`].
const RESERVE_PART: usize = 32;
/// Fewer connections than this are worth a warning.
const FEW: usize = 100;

/// How many connections and sessions the descriptors allow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shares {
    /// TCP connections at once, two descriptors each.
    pub connections: usize,
    /// UDP sessions at once, one descriptor each.
    pub sessions: usize,
}

/// The descriptor limit of this process, and what the process itself uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptors {
    limit: usize,
    /// Descriptors that were open before the first listener.
    own: usize,
}

impl Descriptors {
    /// Raises the soft limit to the hard one, counts what is open, and sets the limit of pipes.
    pub fn raise() -> Descriptors {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current != maximum
            && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        {
            warn!(%error, "cannot raise the limit of descriptors");
        }
        // `None`: there is no limit.
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        // Without /proc, assume about what a start needs.
        let own = std::fs::read_dir("/proc/self/fd").map_or(RESERVE, Iterator::count);
        let limits = Descriptors { limit: usize::try_from(limit).unwrap_or(usize::MAX), own };
        limit_pipes(limits.pipes());
        limits
    }

    /// How many pipes bulk data may use: two descriptors each, at most an eighth of the limit.
    fn pipes(self) -> usize {
        (self.limit / 16).min(MOST_PIPES)
    }

    /// How many descriptors are not for connections, with this many listeners. Each listener has its socket, and each
    /// thread that accepts on it may hold a client that waits for a free descriptor.
    pub fn needed(self, listeners: usize, admin: bool) -> usize {
        // Two more: its socket, and one connection that waits for another to give way.
        let admin = if admin { ADMIN_CONNECTIONS + 2 } else { 0 };
        let clients = (1 + most_acceptors(listeners)) * listeners;
        admin + self.own + clients + 2 * self.pipes() + RESERVE + self.limit / RESERVE_PART
    }

    /// How many connections fit, with this many listeners. At least 1.
    pub fn connections(self, listeners: usize, admin: bool) -> usize {
        (self.limit.saturating_sub(self.needed(listeners, admin)) / 2).max(1)
    }

    /// The limit of the process (RLIMIT_NOFILE).
    pub fn limit(self) -> usize {
        self.limit
    }

    /// How many connections and UDP sessions fit a table with this many listeners. If it has UDP routes, a quarter of
    /// the descriptors is for sessions, which are at most three quarters of the ephemeral ports.
    pub fn shares(self, table: &Table, listeners: usize) -> Shares {
        let connections = self.connections(listeners, table.admin.is_some());
        if table.datagrams().next().is_none() {
            return Shares { connections, sessions: 0 };
        }
        let sessions = (connections / 2).min(ports() / 4 * 3).max(1);
        Shares { connections: (connections - sessions / 2).max(1), sessions }
    }

    /// Grows the kernel's table of descriptors ahead of time. Linux stalls a thread for some milliseconds whenever that
    /// table grows in a process with several threads (expand_fdtable() waits for RCU), and one thread serves all
    /// sessions of a listener.
    pub fn make_room(self, sessions: usize) {
        let highest = sessions.saturating_add(self.own + RESERVE).min(self.limit.saturating_sub(1));
        let Ok(highest) = i32::try_from(highest) else { return };
        // Closed at once. It fails beyond the limit, where there is nothing to gain.
        drop(rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), highest));
    }

    /// Warns if only few connections fit.
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

/// How many ephemeral ports the kernel has. Each UDP session uses one.
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
    use crate::config::compile;

    #[test]
    fn connections_leave_room_for_the_rest() {
        let limits = |limit, own| Descriptors { limit, own };
        assert_eq!(limits(1024, 20).connections(1, false), (1024 - 20 - 3 - 128 - 16 - 32) / 2);
        assert_eq!(limits(1024, 20).connections(1, true), (1024 - 18 - 20 - 3 - 128 - 16 - 32) / 2);
        assert_eq!(limits(1024, 20).connections(400, false), (1024 - 20 - 800 - 128 - 16 - 32) / 2);
        assert_eq!(limits(8, 20).connections(1, false), 1);
        assert!(limits(usize::MAX, 20).connections(1, false) > 1 << 60);
    }

    #[test]
    fn each_session_takes_one_of_the_two_descriptors_of_a_connection() {
        let limits = Descriptors { limit: 1024, own: 20 };
        let table = |protocol: &str| {
            let text = format!(
                "[[route]]\nlisten = \"53\"\nupstream = \"10.0.0.1:53\"\nprotocol = \"{protocol}\"\n"
            );
            compile("test.toml", text.as_bytes()).unwrap().table
        };
        let shares = |protocol: &str| {
            let Shares { connections, sessions } = limits.shares(&table(protocol), 1);
            (connections, sessions)
        };
        // 825 descriptors are left.
        assert_eq!(shares("tcp"), (412, 0));
        assert_eq!(shares("udp"), (309, 206));
    }
}
