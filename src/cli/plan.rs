//! `portway plan`: what a file would change in what runs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use super::admin::{self, Admin, Failure};
use super::config_file;
use super::output::say;
use super::progress::patiently;
use super::table;
use crate::admin::api::{Plan, PlannedRoute, ProbeResult, UpstreamProbe};

/// Shows what a file would change in what runs, how many open connections that touches, and whether its new ports,
/// names and upstreams are available. Changes nothing
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing to do; 3 it would change something; 2 the file has faults, or a port cannot be opened;
1 nobody answers.

Example:
  portway plan
  portway plan new.toml --json"
)]
pub struct Args {
    /// The file; `-`: standard input. Without it: the file of the running proxy, as it is now.
    file: Option<PathBuf>,
    #[command(flatten)]
    proxy: admin::Proxy,
    /// As JSON: the answer of /v1/plan.
    #[arg(long)]
    json: bool,
}

/// Asks for the plan, and shows it.
pub fn run(args: &Args) -> ExitCode {
    let text = match &args.file {
        None => None,
        Some(path) => match config_file::read(path) {
            Ok(text) => Some(text),
            Err(report) => return refused(&report.render(false)),
        },
    };
    let plan = args.proxy.find().and_then(|proxy| ask(&proxy.patient(), text));
    match plan {
        Ok(plan) => {
            let shown = match args.json {
                true => table::json(&plan),
                false => say(&mut stdout().lock(), &render(&plan)),
            };
            match code(&plan) {
                0 => shown,
                code => ExitCode::from(code),
            }
        }
        Err(Failure::Refused(422, problem)) => refused(&problem.report.unwrap_or(problem.error)),
        Err(failure) => failure.exit(),
    }
}

fn refused(report: &str) -> ExitCode {
    // If standard error is gone, the exit code is all that can be said.
    drop(stderr().lock().write_all(format!("{}\n", report.trim_end()).as_bytes()));
    ExitCode::from(2)
}

fn code(plan: &Plan) -> u8 {
    match plan.listeners.iter().any(|listener| listener.error.is_some()) {
        true => 2,
        false if plan.changes => 3,
        false => 0,
    }
}

/// Asks for the plan, and shows progress: the probes may take a while.
fn ask(proxy: &Admin, text: Option<Vec<u8>>) -> Result<Plan, Failure> {
    patiently("trying ports, names and upstreams", || match text {
        None => proxy.get("/v1/plan"),
        Some(text) => proxy.post_bytes("/v1/plan", &text),
    })
}

/// The plan for a person: what the file changes, and then what the probes have found.
fn render(plan: &Plan) -> String {
    let mut text = String::new();
    if !plan.changes {
        return format!("nothing to do: the file is what runs (generation {})\n", plan.generation);
    }
    for route in &plan.added {
        let _ =
            writeln!(text, "+ {}: {} -> {}", route.name, route.listen.join(", "), route.upstream.join(", "));
    }
    for route in &plan.removed {
        let _ = writeln!(text, "- {}: {}; {}", route.name, route.listen.join(", "), touched(route));
    }
    for route in &plan.changed {
        let _ = writeln!(text, "~ {}: {}", route.name, touched(route));
        for change in &route.keys {
            let _ = writeln!(text, "    {}: {} -> {}", change.key, change.from, change.to);
        }
    }
    for change in &plan.settings {
        let _ = writeln!(text, "~ {}: {} -> {}", change.key, change.from, change.to);
    }
    probes(&mut text, plan);
    text
}

/// What becomes of the open connections that the edit touches.
fn touched(route: &PlannedRoute) -> String {
    let open = table::count(route.open, "open connection");
    let verb = |one: &'static str, many| if route.open == 1 { one } else { many };
    match (route.open, route.on_change.as_deref()) {
        (0, _) => "no open connection".to_owned(),
        (_, Some("cut")) => format!("{open} {} cut", verb("is", "are")),
        (_, Some("drain")) => {
            let time = table::span(route.drain_timeout.unwrap_or_default());
            format!("{open} {} {time} to end", verb("has", "have"))
        }
        _ => format!("{open} {} on as before", verb("goes", "go")),
    }
}

fn probes(text: &mut String, plan: &Plan) {
    for address in &plan.closed {
        let _ = writeln!(text, "  stops listening on {address}");
    }
    let mut told = BTreeSet::new();
    for listener in &plan.listeners {
        // What no address is to blame for is said once.
        if listener.error.as_ref().is_some_and(|error| !told.insert(error)) {
            continue;
        }
        let udp = if listener.protocol == "udp" { "/udp" } else { "" };
        let _ = match &listener.error {
            None => writeln!(text, "  can listen on {}{udp}", listener.address),
            Some(error) => {
                let help = listener.help.as_deref().unwrap_or_default();
                writeln!(text, "! {error}\n    help: {help}")
            }
        };
    }
    for path in &plan.not_tried {
        let _ = writeln!(
            text,
            "  not tried: {path} (over TCP nothing of the file system is; `portway check` does it there)"
        );
    }
    for upstream in &plan.upstreams {
        let (sign, said) = probed(upstream);
        let _ = writeln!(text, "{sign} {}: {said}", upstream.upstream);
    }
    let fds = plan.descriptors;
    let sessions = match fds.sessions {
        0 => String::new(),
        sessions => format!(" and {sessions} sessions"),
    };
    let _ = writeln!(
        text,
        "  descriptors: {} of {}, which leaves room for {} connections{sessions}",
        fds.needed, fds.limit, fds.connections
    );
}

fn probed(upstream: &UpstreamProbe) -> (&'static str, String) {
    let error = upstream.error.as_deref().unwrap_or("it does not answer");
    let stands_for = match upstream.addresses.as_slice() {
        [only] if *only == upstream.upstream => String::new(),
        addresses => format!(" ({})", addresses.join(", ")),
    };
    match upstream.result {
        ProbeResult::Connects => (" ", format!("connects{stands_for}")),
        ProbeResult::Resolves if stands_for.is_empty() => {
            (" ", "not tried: with UDP there is no handshake".to_owned())
        }
        ProbeResult::Resolves => (" ", format!("resolves{stands_for}")),
        ProbeResult::Unresolved => ("!", format!("the name does not resolve: {error}")),
        ProbeResult::Refuses => ("!", format!("does not connect: {error}")),
        ProbeResult::NotTried => {
            (" ", format!("not tried: {}", upstream.error.as_deref().unwrap_or("there are too many")))
        }
    }
}
