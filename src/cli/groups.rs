//! Open connections in groups: by client, by upstream, by route. And the order in which they are shown.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use clap::ValueEnum;

use super::table::{self, Table};
use crate::admin::api::Connection;

/// What connections are put together by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum By {
    /// The client's address, without its port.
    Client,
    /// The upstream, as in the file.
    Upstream,
    /// The route.
    Route,
}

/// What comes first: the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Sort {
    /// The number of open connections; of a list that is not grouped, the order of the ids.
    Open,
    /// The age.
    Age,
    /// How long nothing has moved.
    Idle,
    /// Bytes sent to the upstream.
    Up,
    /// Bytes sent to the client.
    Down,
}

/// Connections that are put together.
#[derive(Debug, Default)]
struct Group {
    open: u64,
    up: u64,
    down: u64,
    oldest: f64,
    /// Of the one that is idle longest.
    idle: f64,
}

/// Sorts a list. Equal ones keep their order.
pub(super) fn sort(connections: &mut [Connection], sort: Sort) {
    let key = |open: &Connection| match sort {
        Sort::Open => 0.0,
        Sort::Age => open.age,
        Sort::Idle => open.idle.unwrap_or(-1.0),
        Sort::Up => open.bytes_up as f64,
        Sort::Down => open.bytes_down as f64,
    };
    connections.sort_by(|one, other| key(other).total_cmp(&key(one)));
}

/// The table of the groups.
pub(super) fn grouped(connections: &[Connection], by: By, sort: Sort) -> Table {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for open in connections {
        let group = groups.entry(key(open, by)).or_default();
        group.open += 1;
        group.up += open.bytes_up;
        group.down += open.bytes_down;
        group.oldest = group.oldest.max(open.age);
        group.idle = group.idle.max(open.idle.unwrap_or_default());
    }
    let size = |group: &Group| match sort {
        Sort::Open => group.open as f64,
        Sort::Age => group.oldest,
        Sort::Idle => group.idle,
        Sort::Up => group.up as f64,
        Sort::Down => group.down as f64,
    };
    let mut groups: Vec<(String, Group)> = groups.into_iter().collect();
    groups.sort_by(|(_, one), (_, other)| size(other).total_cmp(&size(one)));
    let title = match by {
        By::Client => "CLIENT",
        By::Upstream => "UPSTREAM",
        By::Route => "ROUTE",
    };
    let mut table = Table::new(&[title, "OPEN", "UP", "DOWN", "OLDEST", "IDLEST"]);
    table.right(&[1, 2, 3, 4, 5]);
    for (name, group) in groups {
        let (up, down) = (table::bytes(group.up), table::bytes(group.down));
        let times = [table::span(group.oldest), table::span(group.idle)];
        table.row([name, group.open.to_string(), up, down].into_iter().chain(times));
    }
    table
}

fn key(open: &Connection, by: By) -> String {
    match by {
        By::Route => open.route.clone(),
        By::Upstream => open.upstream.clone().unwrap_or_else(|| "-".to_owned()),
        By::Client => match open.client.parse::<SocketAddr>() {
            Ok(client) => client.ip().to_string(),
            Err(_) => open.client.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_add_up_and_the_largest_comes_first() {
        let open = |id: u64, client: &str, up: u64, age: f64| Connection {
            id,
            protocol: "tcp".into(),
            route: "web".into(),
            generation: 1,
            client: client.into(),
            listener: "80".into(),
            upstream: Some("app:1".into()),
            peer: None,
            local: None,
            started: String::new(),
            age,
            idle: None,
            bytes_up: up,
            bytes_down: 0,
            connect: None,
            path: "buffer".into(),
            why: String::new(),
            tcp: None,
        };
        let mut all = vec![
            open(1, "10.0.0.7:1", 10, 9.0),
            open(2, "[::1]:2", 2000, 1.0),
            open(3, "10.0.0.7:3", 20, 5.0),
        ];
        let first = |by, sort| grouped(&all, by, sort).render(None).lines().nth(1).unwrap().to_owned();
        assert_eq!(first(By::Client, Sort::Open), "10.0.0.7     2     30 B   0 B      9s    0.0s");
        assert!(first(By::Client, Sort::Up).starts_with("::1 "));
        assert!(first(By::Route, Sort::Open).starts_with("web       3  2.0 KiB"));
        assert!(first(By::Upstream, Sort::Age).starts_with("app:1 "));
        sort(&mut all, Sort::Up);
        assert_eq!(all.iter().map(|open| open.id).collect::<Vec<_>>(), [2, 3, 1]);
    }
}
