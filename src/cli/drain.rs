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

/// Drains one route, or the whole proxy, which then ends: takes no new connections, gives the open ones their
/// `drain_timeout` to end, and waits for that
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A route that was drained is out of what runs until the file is read again (portway reload, or an edit).
Without a route it is the same as SIGTERM.

Exit codes: 0 it is drained; 1 nobody answers; 2 there is no such route.

Example:
  portway drain web
  portway drain"
)]
pub struct Args {
    /// The route to drain. Without it: all of them, and the process ends.
    route: Option<String>,
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
    let begun = args.proxy.find().and_then(|proxy| {
        let begun: Draining = proxy.post("/v1/drain", &Drain { route: args.route.clone() })?;
        Ok((proxy, begun))
    });
    let (proxy, begun) = match begun {
        Ok(begun) => begun,
        Err(failure) => return failure.exit(),
    };
    if args.json {
        let shown = table::json(&begun);
        return if args.no_wait {
            shown
        } else {
            wait(&proxy, args, &begun).map_or_else(|f| f.exit(), |()| shown)
        };
    }
    let open = table::count(begun.open, "open connection");
    let head = format!("draining {open}, at most {}\n", table::span(begun.at_most));
    let said = say(&mut stdout().lock(), &head);
    if args.no_wait {
        return said;
    }
    match wait(&proxy, args, &begun) {
        Ok(()) => say(&mut stdout().lock(), "drained\n"),
        Err(failure) => failure.exit(),
    }
}

/// Waits until no connection is left, or, if the whole proxy drains, until it is gone.
fn wait(proxy: &Admin, args: &Args, begun: &Draining) -> Result<(), Failure> {
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
        let time = begun.at_most - started.elapsed().as_secs_f64();
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
    let route = routes.routes.iter().find(|route| route.name == name && route.state == RouteState::Removed);
    Ok(route.map_or(0, |route| route.retired))
}
