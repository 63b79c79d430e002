//! `portway status`: the running proxy at a glance.

use std::fmt::Write;
use std::process::ExitCode;

use super::admin;
use super::output::say;
use super::table::{self, Table};
use crate::admin::api::{PendingFile, Phase, ReloadOutcome, Route, RouteState, Routes, Status, Warning};

/// Shows what the running proxy does: its routes, what went through them, and whether its file is what runs
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 it runs, 1 nobody answers, 2 no admin address is known.

Example:
  portway status
  portway status --admin unix:/run/portway/admin.sock --json")]
pub struct Args {
    #[command(flatten)]
    proxy: admin::Proxy,
    /// As JSON: the answer of /v1/status.
    #[arg(long)]
    json: bool,
}

/// Asks once, and shows the answer.
pub fn run(args: &Args) -> ExitCode {
    let answers = args.proxy.find().and_then(|proxy| {
        let status: Status = proxy.get("/v1/status")?;
        let routes: Routes = if args.json { Routes::default() } else { proxy.get("/v1/routes")? };
        Ok((status, routes))
    });
    match answers {
        Err(failure) => failure.exit(),
        Ok((status, _)) if args.json => table::json(&status),
        Ok((status, routes)) => {
            let width = table::width();
            say(&mut std::io::stdout().lock(), &(summary(&status) + &of_routes(&routes.routes).render(width)))
        }
    }
}

fn summary(status: &Status) -> String {
    let mut text = String::new();
    let phase = match status.phase {
        Phase::Running => "running",
        Phase::Draining => "draining",
    };
    let (version, pid, generation) = (&status.version, status.pid, status.generation);
    let up = table::span(status.uptime);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "Portway {version}, {phase} for {up}, process {pid}, generation {generation}");
    let _ = match (&status.file, &status.pending) {
        (None, _) => writeln!(text, "file         none: its routes were given on the command line"),
        (Some(file), None) => writeln!(text, "file         {file}: {}", last(status)),
        (Some(file), Some(_)) => writeln!(text, "file         {file}: REFUSED, what runs goes on as before"),
    };
    if status.reload.stale {
        let _ = writeln!(
            text,
            "             replaced outside, and not seen here: mount its folder instead of the file"
        );
    }
    let (traffic, limits) = (&status.traffic, &status.limits);
    let _ = writeln!(
        text,
        "connections  {} open of {}, {} since the start; {} up, {} down",
        traffic.open,
        limits.connections.most.saturating_add(limits.sessions.most),
        traffic.opened,
        table::bytes(traffic.bytes_up),
        table::bytes(traffic.bytes_down),
    );
    let (descriptors, pipes) = (limits.descriptors, limits.pipes);
    let _ = writeln!(
        text,
        "descriptors  {} of {}; {} pipes of {}",
        descriptors.used, descriptors.most, pipes.used, pipes.most
    );
    for (what, number) in [("turned away", status.turned_away), ("lost lines", status.log_lines_lost)] {
        if number > 0 {
            let _ = writeln!(text, "{what:<12} {number}");
        }
    }
    for Warning { file, message, help } in &status.warnings {
        let _ = writeln!(text, "warning      {file}: {message}: {help}");
    }
    if let Some(pending) = &status.pending {
        let _ = writeln!(text, "\nsince {}:\n{}", pending.since, pending.report.trim_end());
    }
    for PendingFile { file, pending } in &status.pending_files {
        let (since, report) = (&pending.since, pending.report.trim_end());
        let _ = writeln!(text, "\n{file} is not in force since {since}, what it had before is:\n{report}");
    }
    text.push('\n');
    text
}

fn last(status: &Status) -> String {
    let ago = table::span(status.reload.age);
    match status.reload.outcome {
        ReloadOutcome::Started | ReloadOutcome::NoFile => format!("read {ago} ago"),
        ReloadOutcome::Reloaded => format!("reloaded {ago} ago"),
        ReloadOutcome::Unchanged => format!("checked {ago} ago, nothing changed"),
        ReloadOutcome::Refused => format!("refused {ago} ago"),
    }
}

fn of_routes(routes: &[Route]) -> Table {
    let mut table = Table::new(&["ROUTE", "STATE", "OPEN", "TOTAL", "UP", "DOWN", "LISTEN", "UPSTREAM"]);
    table.right(&[2, 3, 4, 5]);
    for route in routes {
        let state = match route.state {
            RouteState::Up => "up",
            RouteState::Degraded => "degraded",
            RouteState::Down => "DOWN",
            RouteState::Removed => "removed",
            RouteState::Disabled => "disabled",
        };
        table.row([
            route.name.clone(),
            state.to_owned(),
            route.traffic.open.to_string(),
            route.traffic.opened.to_string(),
            table::bytes(route.traffic.bytes_up),
            table::bytes(route.traffic.bytes_down),
            route.listen.join(", "),
            route.upstream.join(", "),
        ]);
    }
    table
}
