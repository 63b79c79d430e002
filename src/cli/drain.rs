//! `portway drain`: no new connections, and time for those that are open.

use std::io::stdout;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::Instant;

use super::admin::{self, Admin, Failure};
use super::output::say;
use super::progress::Progress;
use super::table;
use crate::admin::api::{Drain, Draining, RouteState, Routes, Status};

/// How often the proxy is asked for the progress.
const PACE: Duration = Duration::from_millis(250);

/// Takes no new connections: on a route, on one upstream of it, or on the whole proxy, which then ends. Those that are open
/// on a route have its `drain_timeout` to end; those of an upstream go on
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What was drained stays so over edits of the file: until `portway enable`, until the time of --for is over, or until \
the proxy starts anew. Without a route it is the same as SIGTERM.

Exit codes: 0 it is drained; 1 nobody answers, or it is the last upstream; 2 there is no such route or upstream.

Example:
  portway drain web
  portway drain web --upstream app-1:3000 --for 30m
  portway drain"
)]
pub struct Args {
    /// The route to drain. Without it: all of them, and the process ends.
    #[arg(value_name = "ROUTE")]
    route: Option<String>,
    /// Only this upstream of the route, as the file has it: it gets no new connections, and keeps those that it has.
    #[arg(long, value_name = "UPSTREAM", requires = "route")]
    upstream: Option<String>,
    /// After how long it ends by itself: "30m".
    #[arg(long = "for", value_name = "TIME", requires = "route")]
    lasts: Option<String>,
    /// Also the last upstream of the route that is up. (The route itself goes without it.)
    #[arg(long, requires = "route")]
    force: bool,
    #[command(flatten)]
    proxy: admin::Proxy,
    /// Does not wait for the end.
    #[arg(long)]
    no_wait: bool,
    /// As JSON: the answer of /v1/drain.
    #[arg(long)]
    json: bool,
}

/// Begins the drain, and waits for its end.
pub fn run(args: &Args) -> ExitCode {
    let Args { route, upstream, lasts, force, .. } = args;
    let drain =
        Drain { route: route.clone(), upstream: upstream.clone(), lasts: lasts.clone(), force: *force };
    let begun = args.proxy.find().and_then(|proxy| {
        let begun: Draining = proxy.post("/v1/drain", &drain)?;
        Ok((proxy, begun))
    });
    let (proxy, begun) = match begun {
        Ok(begun) => begun,
        Err(failure) => return failure.exit(),
    };
    // The connections of an upstream go on for as long as they like.
    let waits = begun.at_most.filter(|_| !args.no_wait);
    if args.json {
        let shown = table::json(&begun);
        return match waits {
            None => shown,
            Some(at_most) => wait(&proxy, args, at_most).map_or_else(|f| f.exit(), |()| shown),
        };
    }
    let open = table::count(begun.open, "open connection");
    let said = match (begun.at_most, upstream) {
        (Some(at_most), _) => format!("draining {open}, at most {}\n", table::span(at_most)),
        (None, upstream) => {
            let upstream = upstream.as_deref().unwrap_or_default();
            let verb = if begun.open == 1 { "goes" } else { "go" };
            format!("{upstream} gets no new connections; {open} {verb} on\n")
        }
    };
    let said = say(&mut stdout().lock(), &said);
    let Some(at_most) = waits else { return said };
    match wait(&proxy, args, at_most) {
        Ok(()) => say(&mut stdout().lock(), "drained\n"),
        Err(failure) => failure.exit(),
    }
}

/// Waits until no connection is left, or, if the whole proxy drains, until it is gone.
fn wait(proxy: &Admin, args: &Args, at_most: f64) -> Result<(), Failure> {
    let started = Instant::now();
    let mut progress = Progress::new(args.json);
    loop {
        let left = match &args.route {
            Some(route) => left_of(proxy, route)?,
            None => match proxy.get::<Status>("/v1/status") {
                Ok(status) => status.traffic.open,
                // It has ended.
                Err(Failure::Silent(..) | Failure::Refused(503, _)) => 0,
                Err(failure) => return Err(failure),
            },
        };
        let gone = args.route.is_none() && left == 0 && proxy.get::<Status>("/v1/status").is_err();
        if gone || (args.route.is_some() && left == 0) {
            progress.clear();
            return Ok(());
        }
        let time = at_most - started.elapsed().as_secs_f64();
        progress.show(&format!(
            "{} left, {} more at most",
            table::count(left, "connection"),
            table::span(time)
        ));
        std::thread::park_timeout(PACE);
    }
}

/// How many connections a route that was drained still has.
fn left_of(proxy: &Admin, name: &str) -> Result<u64, Failure> {
    let routes: Routes = proxy.get("/v1/routes")?;
    let is_out = |state| matches!(state, RouteState::Drained | RouteState::Disabled | RouteState::Removed);
    let route = routes.routes.iter().find(|route| route.name == name && is_out(route.state));
    Ok(route.map_or(0, |route| route.retired))
}
