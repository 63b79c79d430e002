//! `portway connections`: shows what is open; and `portway kill`: resets it.

use std::io::{Write, stdout};
use std::process::ExitCode;
use std::time::Duration;

use super::admin::{self, Admin, Failure};
use super::groups::{By, Sort, grouped, sort};
use super::output::say;
use super::table::{self, Table};
use crate::admin::api::{Connection, Connections, Filter, Kill, Killed, OldProcess, Status};
use crate::admin::encoded;

/// Shows the open connections and UDP sessions of the running proxy, the oldest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portway connections --route web --older 1h
  portway connections --client 10.0.0.0/8 --json
  portway connections --upstream app-1:3000 --sort idle
  portway connections --by client")]
pub struct Args {
    #[command(flatten)]
    proxy: admin::Proxy,
    #[command(flatten)]
    filter: FilterArgs,
    /// Puts together those of one client, upstream or route, and shows how many each has.
    #[arg(long, value_name = "WHAT")]
    by: Option<By>,
    /// What comes first. Without it: the oldest, or with --by the one with the most.
    #[arg(long, value_name = "WHAT")]
    sort: Option<Sort>,
    /// As JSON: a list of connections, as in the answer of /v1/connections.
    #[arg(long)]
    json: bool,
    /// With the kernel's view of each: round-trip time, retransmits, send queue.
    #[arg(long)]
    tcp: bool,
    /// Shows them again at this interval, until Ctrl-C: "2s".
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "2s", require_equals = true,
          value_parser = humantime::parse_duration)]
    watch: Option<Duration>,
}

/// Resets open connections of the running proxy: by their ids, or all that match a filter
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 all were reset; 1 an id is that of no open connection; 2 nothing was said, or no route \
or upstream has the name.

Example:
  portway kill 1234 1240
  portway kill --route web --older 1h
  portway kill --upstream app-1:3000"
)]
pub struct KillArgs {
    /// Ids, as `portway connections` and the access log show them.
    #[arg(value_name = "ID")]
    ids: Vec<u64>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    proxy: admin::Proxy,
    /// As JSON: the answer of /v1/kill.
    #[arg(long)]
    json: bool,
}

/// Which connections are meant.
#[derive(Clone, Debug, clap::Args)]
pub struct FilterArgs {
    /// Only connections of this route.
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// Only connections of this client: an address, a network, or an address with its port.
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// Only connections to this upstream: as the file has it, or its address.
    #[arg(long, value_name = "UPSTREAM")]
    upstream: Option<String>,
    /// Only connections open for longer than this: "1h".
    #[arg(long, value_name = "TIME")]
    older: Option<String>,
}

impl FilterArgs {
    fn filter(&self) -> Filter {
        let FilterArgs { route, client, upstream, older } = self.clone();
        Filter { route, client, upstream, older }
    }
}

/// Shows the connections once, or, with `--watch`, again and again.
pub fn run(args: &Args) -> ExitCode {
    let proxy = match args.proxy.find() {
        Ok(proxy) => proxy,
        Err(failure) => return failure.exit(),
    };
    loop {
        let mut all = match all(&proxy, &args.filter.filter(), args.tcp) {
            Ok(all) => all,
            Err(failure) => return failure.exit(),
        };
        let order = args.sort.unwrap_or(Sort::Open);
        sort(&mut all, order);
        let code = match args.json {
            true => table::json(&all),
            false => {
                // On a terminal, each list gets a screen of its own.
                let clear =
                    if args.watch.is_some() && table::width().is_some() { "\x1b[2J\x1b[H" } else { "" };
                let table = match args.by {
                    Some(by) => grouped(&all, by, order),
                    None => listed(&all, args.tcp),
                };
                let shown = table.render(table::width());
                let elsewhere = elsewhere(&proxy, &args.filter.filter());
                say(&mut stdout().lock(), &format!("{clear}{shown}{elsewhere}"))
            }
        };
        match args.watch {
            Some(pause) if code == ExitCode::SUCCESS => std::thread::park_timeout(pause),
            _ => return code,
        }
    }
}

/// Fetches every page.
fn all(proxy: &Admin, filter: &Filter, tcp: bool) -> Result<Vec<Connection>, Failure> {
    let mut query = format!("limit=1000&tcp={tcp}");
    let Filter { route, client, upstream, older } = filter;
    let pairs = [("route", route), ("client", client), ("upstream", upstream), ("older", older)];
    for (key, value) in pairs {
        if let Some(value) = value {
            query += &format!("&{key}={}", encoded(value));
        }
    }
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let page: Connections = proxy.get(&format!("/v1/connections?{query}&after={after}"))?;
        found.extend(page.connections);
        match page.next {
            Some(next) => after = next,
            None => return Ok(found),
        }
    }
}

/// How many are open in a process that this one has taken over from, in one line: it does not say which.
fn elsewhere(proxy: &Admin, filter: &Filter) -> String {
    let old = || proxy.get::<Status>("/v1/status").ok()?.old_process;
    match filter.is_empty().then(old).flatten() {
        None => String::new(),
        Some(old) => format!("{} more {}\n", old.open, in_old(&old)),
    }
}

/// Where connections are that could not move, and for how long.
pub(super) fn in_old(old: &OldProcess) -> String {
    let at_most = old.at_most.map_or_else(|| "their `drain_timeout`".to_owned(), table::span);
    format!("in the old process {}, for {at_most} at most", old.pid)
}

fn listed(connections: &[Connection], tcp: bool) -> Table {
    let mut heading =
        vec!["ID", "ROUTE", "CLIENT", "LISTENER", "LOCAL", "UPSTREAM", "AGE", "IDLE", "UP", "DOWN", "PATH"];
    if tcp {
        heading.extend(["RTT", "RETRANS", "QUEUE"]);
    }
    let mut table = Table::new(&heading);
    table.right(&[0, 6, 7, 8, 9, 11, 12, 13]);
    table.addresses(&[2, 3, 4, 5]);
    table.spare(&[10, 3, 4]);
    for connection in connections {
        let mut row = vec![
            connection.id.to_string(),
            connection.route.clone(),
            connection.client.clone(),
            connection.listener.clone(),
            connection.local.clone().unwrap_or_else(|| "-".to_owned()),
            connection.peer.clone().unwrap_or_else(|| "-".to_owned()),
            table::span(connection.age),
            connection.idle.map_or_else(|| "-".to_owned(), table::span),
            table::bytes(connection.bytes_up),
            table::bytes(connection.bytes_down),
            connection.path.clone(),
        ];
        if tcp {
            row.extend(of_kernel(connection));
        }
        table.row(row);
    }
    table
}

/// Round-trip time, retransmits and send queue, each as `client/upstream`.
fn of_kernel(connection: &Connection) -> [String; 3] {
    let sockets = connection.tcp.as_ref();
    let both = [sockets.and_then(|tcp| tcp.client), sockets.and_then(|tcp| tcp.upstream)];
    let shown = |of: fn(crate::admin::api::Tcp) -> String| {
        both.map(|socket| socket.map_or_else(|| "-".to_owned(), of)).join("/")
    };
    [
        shown(|tcp| format!("{:.1}ms", tcp.rtt * 1000.0)),
        shown(|tcp| tcp.retransmits.to_string()),
        shown(|tcp| table::bytes(tcp.send_queue)),
    ]
}

/// Resets the connections that the arguments mean.
pub fn kill(args: &KillArgs) -> ExitCode {
    let filter = args.filter.filter();
    let filter = (!filter.is_empty()).then_some(filter);
    let kill = Kill { ids: args.ids.clone(), filter };
    let killed: Killed = match args.proxy.find().and_then(|proxy| proxy.post("/v1/kill", &kill)) {
        Ok(killed) => killed,
        Err(failure) => return failure.exit(),
    };
    let code = match args.json {
        true => table::json(&killed),
        false => say(&mut stdout().lock(), &format!("{} reset\n", table::count(killed.killed, "connection"))),
    };
    if killed.unknown.is_empty() {
        return code;
    }
    let unknown: Vec<String> = killed.unknown.iter().map(ToString::to_string).collect();
    // If standard error is gone, the exit code is all that can be said.
    drop(writeln!(std::io::stderr().lock(), "error: no open connection has the id {}", unknown.join(", ")));
    ExitCode::FAILURE
}
