//! `portway status`: the running proxy at a glance.

use std::fmt::Write;
use std::io::stdout;
use std::process::ExitCode;

use hyper::Method;

use super::admin;
use super::connections::in_old;
use super::output::say;
use super::routes::{done_by_hand, of_routes};
use super::table;
use crate::admin::api::{
    Limits, PendingFile, Phase, Reload, ReloadOutcome, Routes, Source, Status, SteeredByHand, Warning,
};

/// Shows what the running proxy does: its routes, what went through them, and whether its file is what runs
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 it runs (--ready: and takes new clients), 1 nobody answers (--ready: or it is stopping), 2 no admin \
address is known.

Example:
  portway status
  portway status --admin unix:/run/portway/admin.sock --json
  portway status --ready"
)]
pub struct Args {
    #[command(flatten)]
    proxy: admin::Proxy,
    /// As JSON: the answer of /v1/status, with the routes of /v1/routes as `route_list`.
    #[arg(long)]
    json: bool,
    /// Only whether new clients may be sent here, as /readyz says: for scripts. It needs no token.
    #[arg(long, conflicts_with = "json")]
    ready: bool,
}

/// Asks once, and shows the answer.
pub fn run(args: &Args) -> ExitCode {
    if args.ready {
        let ready = args.proxy.find().and_then(|proxy| proxy.exchange(Method::GET, "/readyz", b""));
        return ready.map_or_else(|failure| failure.exit(), |_| say(&mut stdout().lock(), "ready\n"));
    }
    let answers = args.proxy.find().and_then(|proxy| {
        let status: Status = proxy.get("/v1/status")?;
        Ok((status, proxy.get::<Routes>("/v1/routes")?))
    });
    match answers {
        Err(failure) => failure.exit(),
        Ok((status, routes)) if args.json => {
            // None of these values fails to serialize.
            let mut whole = serde_json::to_value(&status).unwrap_or_default();
            whole["route_list"] = serde_json::to_value(&routes.routes).unwrap_or_default();
            table::json(&whole)
        }
        Ok((status, routes)) => {
            let width = table::width();
            say(&mut stdout().lock(), &(summary(&status) + &of_routes(&routes.routes).render(width)))
        }
    }
}

fn summary(status: &Status) -> String {
    let mut text = String::new();
    let up = table::span(status.uptime);
    let phase = match status.phase {
        Phase::Running => format!("running for {up}"),
        Phase::Draining => format!("draining, started {up} ago"),
    };
    let (version, pid, generation) = (&status.version, status.pid, status.generation);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "Portway {version}, {phase}, process {pid}, generation {generation}");
    let _ = writeln!(text, "file         {}", of_file(status));
    if status.reload.stale {
        let _ = writeln!(
            text,
            "             replaced outside, and not seen here: mount its folder instead of the file"
        );
    }
    if let Some(source) = &status.source {
        text.push_str(&of_source(source));
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
    if let Some(old) = &status.old_process {
        let _ = writeln!(text, "             {} of them {}", old.open, in_old(old));
    }
    used(&mut text, limits);
    for (what, number) in [("turned away", status.turned_away), ("lost lines", status.log_lines_lost)] {
        if number > 0 {
            let _ = writeln!(text, "{what:<12} {number}");
        }
    }
    care(&mut text, status);
    if let Some(pending) = &status.pending {
        let _ = writeln!(
            text,
            "\nSince {} the file is not what runs:\n{}",
            pending.since,
            pending.report.trim_end()
        );
    }
    for PendingFile { file, pending } in &status.pending_files {
        let (since, report) = (&pending.since, pending.report.trim_end());
        let _ = writeln!(text, "\n{file} is not in force since {since}; what ran before goes on:\n{report}");
    }
    text.push('\n');
    text
}

/// The file, and whether it is what runs.
fn of_file(status: &Status) -> String {
    let probation = probation(&status.reload);
    match (&status.file, &status.pending) {
        (None, _) => "none: its routes were given on the command line".to_owned(),
        (Some(file), None) => format!("{file}: {}{probation}{}", last(status), others(status)),
        (Some(file), Some(_)) if status.reload.outcome == ReloadOutcome::RolledBack => {
            format!("{file}: ROLLED BACK, what ran before runs again")
        }
        (Some(file), Some(_)) => format!("{file}: REFUSED, what runs goes on as before{probation}"),
    }
}

/// How many of the files that it names are not what runs.
fn others(status: &Status) -> String {
    match status.pending_files.len() {
        0 => String::new(),
        1 => "; but 1 file that it names is not in force, see below".to_owned(),
        several => format!("; but {several} files that it names are not in force, see below"),
    }
}

/// The store that the file comes from.
fn of_source(source: &Source) -> String {
    let mut text = format!("source       {}", source.url);
    if let Some(age) = source.age {
        text.push_str(&format!(": as the store had it {} ago", table::span(age)));
    }
    if let Some(serial) = source.serial {
        text.push_str(&format!(", serial {serial}"));
    }
    if let (Some(serial), Some(stage)) = (source.offered_serial, source.offered_stage)
        && source.serial != Some(serial)
    {
        text.push_str(&format!("; it offers serial {serial} to {stage}% of the nodes"));
    }
    text.push('\n');
    for (what, trouble) in [("AWAY", &source.away), ("REFUSED", &source.refused)] {
        if let Some(trouble) = trouble {
            text.push_str(&format!(
                "             {what} for {}: {}\n",
                table::span(trouble.age),
                trouble.why
            ));
        }
    }
    text
}

/// What is used of what there is.
fn used(text: &mut String, limits: &Limits) {
    if limits.preread.used > 0 {
        let _ = writeln!(
            text,
            "preread      {} of {} have no upstream yet, with {} of {}",
            limits.preread.used,
            limits.preread.most,
            table::bytes(limits.preread_memory.used),
            table::bytes(limits.preread_memory.most),
        );
    }
    let (descriptors, pipes) = (limits.descriptors, limits.pipes);
    let _ = writeln!(
        text,
        "descriptors  {} of {}; {} pipes of {}",
        descriptors.used, descriptors.most, pipes.used, pipes.most
    );
    let memory = limits.memory;
    let most = memory
        .most
        .map_or_else(|| ", without a bound".to_owned(), |most| format!(" of {}", table::bytes(most)));
    let _ = writeln!(text, "memory       {}{most}", table::bytes(memory.used));
}

/// What somebody has done, and what needs somebody's care.
fn care(text: &mut String, status: &Status) {
    for SteeredByHand { route, upstream, deed } in &status.by_hand {
        let upstream = upstream.as_ref().map(|upstream| format!(" {upstream}")).unwrap_or_default();
        let _ = writeln!(text, "by hand      {route}{upstream}: {}", done_by_hand(deed));
    }
    for Warning { file, message, help } in &status.warnings {
        let _ = writeln!(text, "warning      {file}: {message}: {help}");
    }
}

/// For how long the last edits are still on probation, if they are.
fn probation(reload: &Reload) -> String {
    let left = reload.probation.map(|left| format!(", on probation for {} more", table::span(left)));
    left.unwrap_or_default()
}

fn last(status: &Status) -> String {
    let ago = table::span(status.reload.age);
    match status.reload.outcome {
        ReloadOutcome::Started | ReloadOutcome::NoFile => format!("read {ago} ago"),
        ReloadOutcome::Reloaded => format!("reloaded {ago} ago"),
        ReloadOutcome::Unchanged => format!("is what runs; last read {ago} ago, nothing changed"),
        ReloadOutcome::Refused => format!("refused {ago} ago"),
        ReloadOutcome::RolledBack => format!("an edit was rolled back {ago} ago"),
    }
}
