//! `portway routes`: every route, and what is the matter with it. `portway status` shows the same table.

use std::io::stdout;
use std::process::ExitCode;

use super::admin;
use super::output::say;
use super::table::{self, Table};
use crate::admin::api::{ByHand, Route, RouteState, Routes};

/// How many upstreams that are not available are shown below a route, besides the first.
const REASONS: usize = 3;

/// Shows the routes of the running proxy: their state, why they are not up, what was done by hand, what went through them
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portway routes
  portway routes --json")]
pub struct Args {
    #[command(flatten)]
    proxy: admin::Proxy,
    /// As JSON: the answer of /v1/routes.
    #[arg(long)]
    json: bool,
}

/// Asks once, and shows the answer.
pub fn run(args: &Args) -> ExitCode {
    match args.proxy.find().and_then(|proxy| proxy.get::<Routes>("/v1/routes")) {
        Err(failure) => failure.exit(),
        Ok(routes) if args.json => table::json(&routes),
        Ok(routes) => say(&mut stdout().lock(), &of_routes(&routes.routes).render(table::width())),
    }
}

/// The routes, each with the reason below it if it is not well.
pub(super) fn of_routes(routes: &[Route]) -> Table {
    let mut heading = vec!["ROUTE", "STATE", "OPEN", "TOTAL", "UP", "DOWN", "LISTEN", "UPSTREAM"];
    let several = routes.iter().any(|route| route.file.is_some());
    if several {
        heading.push("FILE");
    }
    let mut table = Table::new(&heading);
    table.right(&[2, 3, 4, 5]);
    table.addresses(&[6, 7]);
    for route in routes {
        let state = match route.state {
            RouteState::Up => "up",
            RouteState::Degraded => "degraded",
            RouteState::Down => "DOWN",
            RouteState::Removed => "removed",
            RouteState::Disabled => "disabled",
            RouteState::Drained => "drained",
        };
        let file = several.then(|| route.file.clone().unwrap_or_default());
        let cells = [
            route.name.clone(),
            state.to_owned(),
            route.traffic.open.to_string(),
            route.traffic.opened.to_string(),
            table::bytes(route.traffic.bytes_up),
            table::bytes(route.traffic.bytes_down),
            route.listen.join(", "),
            upstreams(route),
        ];
        table.row(cells.into_iter().chain(file));
        if let Some(deed) = &route.by_hand {
            table.note(&by_hand(deed));
        } else {
            let shown = route.reason.iter().chain(route.more_reasons.iter().take(REASONS));
            shown.for_each(|reason| table.note(reason));
            let more = route.more_reasons.len().saturating_sub(REASONS);
            if more > 0 {
                table.note(&format!("and {more} more: `portway upstreams --route {}`", route.name));
            }
        }
        let away = route.turned_away.iter().filter(|(_, clients)| **clients > 0);
        let away: Vec<String> = away.map(|(by, clients)| format!("{clients} by {by}")).collect();
        if !away.is_empty() {
            table.note(&format!("turned away: {}", away.join("; ")));
        }
    }
    table
}

/// The upstreams of a route, with what was done to them by hand.
pub(super) fn upstreams(route: &Route) -> String {
    let of = |written: &String| {
        let steered = route.steered.iter().filter(|steered| {
            // What the file says of it follows: "a:1 (weight 2)".
            let rest = steered.upstream.as_ref().and_then(|upstream| written.strip_prefix(&**upstream));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" ("))
        });
        let marks: String =
            steered.map(|steered| format!(" ({} by hand)", state_of(&steered.deed))).collect();
        format!("{written}{marks}")
    };
    route.upstream.iter().map(of).collect::<Vec<_>>().join(", ")
}

/// What was made of something by hand: `drained`, `disabled`, `weight 3`.
pub(super) fn state_of(ByHand { act, weight, .. }: &ByHand) -> String {
    match (act.as_str(), weight) {
        (_, Some(weight)) => format!("weight {weight}"),
        ("drain", _) => "drained".to_owned(),
        _ => "disabled".to_owned(),
    }
}

/// What was done by hand, in one line that says so.
pub(super) fn by_hand(deed: &ByHand) -> String {
    format!("by hand: {}", done_by_hand(deed))
}

/// What was done by hand, in one line.
pub(super) fn done_by_hand(deed: &ByHand) -> String {
    let ByHand { act, weight, by, at, ends } = deed;
    let weight = weight.map(|weight| format!(" {weight}")).unwrap_or_default();
    let ends = ends.map(|ends| format!(", ends in {}", table::span(ends))).unwrap_or_default();
    format!("{act}{weight}, by {by} at {at}{ends}")
}
