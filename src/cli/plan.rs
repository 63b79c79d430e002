//! `portway plan`: what a file would change in what runs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::admin::{self, Admin, Failure};
use super::config_file;
use super::output::say;
use super::progress::patiently;
use super::table;
use crate::admin::api::{ListenerProbe, Plan, PlannedRoute, ProbeResult, UpstreamProbe};
use crate::admin::encoded;

/// Shows what a file would change in what runs, how many open connections that touches, and whether its new ports,
/// names and upstreams are available. Changes nothing
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing to do; 3 it would change something; 2 the file has faults, or a port cannot be opened; \
1 nobody answers.

Example:
  portway plan
  portway plan new.toml --json"
)]
pub struct Args {
    /// The file, or one that the running proxy's file includes; `-`: standard input. Without it: the file of the running
    /// proxy with all that it includes, as they are now.
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
    let plan = args.proxy.find().and_then(|proxy| ask(&proxy.patient(), args.file.as_deref(), text));
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
fn ask(proxy: &Admin, file: Option<&Path>, text: Option<Vec<u8>>) -> Result<Plan, Failure> {
    // Of an included file the proxy has to know which one it is.
    let at = file.filter(|file| !config_file::is_stdin(file)).and_then(|file| std::path::absolute(file).ok());
    let path = match at {
        Some(at) => format!("/v1/plan?file={}", encoded(&at.to_string_lossy())),
        None => "/v1/plan".to_owned(),
    };
    patiently("trying ports, names and upstreams", || match text {
        None => proxy.get("/v1/plan"),
        Some(text) => proxy.post_bytes(&path, &text),
    })
}

/// The plan for a person: what the file changes, and then what the probes have found.
fn render(plan: &Plan) -> String {
    let mut text = String::new();
    if !plan.changes {
        return format!("nothing to do: the file is what runs (generation {})\n", plan.generation);
    }
    for route in &plan.added {
        let _ = writeln!(
            text,
            "+ {}: {} -> {}",
            named(route),
            route.listen.join(", "),
            route.upstream.join(", ")
        );
        rules(&mut text, route);
    }
    for route in &plan.removed {
        let _ = writeln!(text, "- {}: {}; {}", named(route), route.listen.join(", "), touched(route));
    }
    for route in &plan.changed {
        let _ = writeln!(text, "~ {}: {}", named(route), touched(route));
        for change in &route.keys {
            let _ = writeln!(text, "    {}: {} -> {}", change.key, change.from, change.to);
        }
        if route.keys.iter().any(|change| matches!(&*change.key, "listen" | "port_ranges")) {
            rules(&mut text, route);
        }
        if route.on_change.as_deref() != Some("keep") {
            concerned(&mut text, route);
        }
    }
    for change in &plan.settings {
        let _ = writeln!(text, "~ {}: {} -> {}", change.key, change.from, change.to);
    }
    probes(&mut text, plan);
    text
}

/// The rules of the firewall that the ports of a route need.
fn rules(text: &mut String, route: &PlannedRoute) {
    for rule in &route.rules {
        let _ = writeln!(text, "    one socket, if a rule leads its clients there: {rule}");
    }
}

/// The name of a route, with the included file that it stands in.
fn named(route: &PlannedRoute) -> String {
    let file = route.file.as_ref().map(|file| format!(" ({file})")).unwrap_or_default();
    format!("{}{file}", route.name)
}

/// The connections that the edit ends: the first few.
fn concerned(text: &mut String, route: &PlannedRoute) {
    const SHOWN: usize = 10;
    for open in route.concerned.iter().take(SHOWN) {
        let upstream = open.upstream.as_deref().unwrap_or("no upstream yet");
        let _ = writeln!(text, "    {} {}: {} -> {upstream}", open.protocol, open.id, open.client);
    }
    if route.open > SHOWN as u64 {
        let _ = writeln!(
            text,
            "    and {} more: portway plan --json, portway connections",
            route.open - SHOWN as u64
        );
    }
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
    listeners(text, &plan.listeners);
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

/// Whether the new addresses are free to open. Neighbouring ports are one line: a range may have tens of thousands.
fn listeners(text: &mut String, all: &[ListenerProbe]) {
    let (mut told, mut rest) = (BTreeSet::new(), all);
    while let Some(first) = rest.first() {
        let more =
            rest.windows(2).take_while(|pair| matches!(pair, [one, next] if follows(one, next))).count();
        let udp = if first.protocol == "udp" { "/udp" } else { "" };
        let last = rest.get(more).and_then(|last| host_and_port(&last.address)).filter(|_| more > 0);
        let _ = match (&first.error, last) {
            (None, None) => writeln!(text, "  can listen on {}{udp}", first.address),
            (None, Some((_, last))) => {
                writeln!(text, "  can listen on {}-{last}{udp} ({} sockets)", first.address, more + 1)
            }
            // What no address is to blame for is said once.
            (Some(error), _) if told.insert(error) => {
                let help = first.help.as_deref().unwrap_or_default();
                writeln!(text, "! {error}\n    help: {help}")
            }
            (Some(_), _) => Ok(()),
        };
        rest = rest.get(more + 1..).unwrap_or_default();
    }
}

/// Whether both addresses are free to open, and the second has the next port of the same host.
fn follows(one: &ListenerProbe, next: &ListenerProbe) -> bool {
    let fine = one.error.is_none() && next.error.is_none() && one.protocol == next.protocol;
    let ends = host_and_port(&one.address).zip(host_and_port(&next.address));
    fine && ends
        .is_some_and(|((host, port), (same, after))| host == same && port.checked_add(1) == Some(after))
}

/// `None`: a Unix socket.
fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':').unwrap_or(("", address));
    Some((host, port.parse().ok()?))
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
        ProbeResult::FailsCheck => ("!", format!("fails its check: {error}")),
        ProbeResult::NotTried => {
            (" ", format!("not tried: {}", upstream.error.as_deref().unwrap_or("there are too many")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::ConcernedConnection;

    fn route(open: u64, on_change: &str) -> PlannedRoute {
        let of = |client: &str| ConcernedConnection {
            id: 7,
            protocol: "tcp".to_owned(),
            client: client.to_owned(),
            listener: "127.0.0.1:80".to_owned(),
            upstream: None,
        };
        PlannedRoute {
            name: "web".to_owned(),
            file: None,
            listen: Vec::new(),
            upstream: Vec::new(),
            keys: Vec::new(),
            rules: Vec::new(),
            open,
            concerned: (0..open.min(100)).map(|_| of("10.0.0.1:5")).collect(),
            on_change: Some(on_change.to_owned()),
            drain_timeout: Some(30.0),
        }
    }

    #[test]
    fn what_becomes_of_the_open_connections_is_said_of_one_and_of_many() {
        for (open, on_change, expected) in [
            (0, "cut", "no open connection"),
            (1, "cut", "1 open connection is cut"),
            (2, "cut", "2 open connections are cut"),
            (1, "drain", "1 open connection has 30s to end"),
            (2, "drain", "2 open connections have 30s to end"),
            (1, "keep", "1 open connection goes on as before"),
            (2, "keep", "2 open connections go on as before"),
        ] {
            assert_eq!(touched(&route(open, on_change)), expected);
        }
    }

    #[test]
    fn the_first_ten_connections_are_listed_and_the_others_counted() {
        let lines = |open| {
            let mut text = String::new();
            concerned(&mut text, &route(open, "cut"));
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lines(1), ["    tcp 7: 10.0.0.1:5 -> no upstream yet"]);
        assert_eq!(lines(10).len(), 10);
        let of_more = lines(12);
        assert_eq!(of_more.len(), 11);
        assert_eq!(of_more[10], "    and 2 more: portway plan --json, portway connections");
    }
}
