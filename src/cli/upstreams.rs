//! `portway upstreams`: every upstream, and what is known about it.

use std::io::stdout;
use std::process::ExitCode;
use std::time::Duration;

use super::admin::{self, Admin, Failure};
use super::output::say;
use super::routes::by_hand;
use super::table::{self, Table};
use crate::admin::api::{Address, Check, Upstream, UpstreamState, Upstreams};
use crate::admin::encoded;

/// Shows the upstreams of the running proxy: state, since when and why, load, checks, addresses, what was done by hand
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portway upstreams --route web
  portway upstreams --rate=5s")]
pub struct Args {
    #[command(flatten)]
    proxy: admin::Proxy,
    /// Only those of this route.
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// Looks twice, this far apart, and shows new connections per second in between.
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "1s", require_equals = true,
          value_parser = humantime::parse_duration)]
    rate: Option<Duration>,
    /// As JSON: the answer of /v1/upstreams.
    #[arg(long)]
    json: bool,
}

/// Asks, and shows the answer.
pub fn run(args: &Args) -> ExitCode {
    let asked = args.proxy.find().and_then(|proxy| {
        let first = ask(&proxy, args)?;
        let Some(pause) = args.rate else { return Ok((first, None)) };
        std::thread::park_timeout(pause);
        Ok((ask(&proxy, args)?, Some((first, pause))))
    });
    match asked {
        Err(failure) => failure.exit(),
        Ok((upstreams, _)) if args.json => table::json(&upstreams),
        Ok((upstreams, before)) => {
            let table = of_upstreams(&upstreams.upstreams, before.as_ref());
            say(&mut stdout().lock(), &table.render(table::width()))
        }
    }
}

fn ask(proxy: &Admin, args: &Args) -> Result<Upstreams, Failure> {
    let of = args.route.as_ref().map(|route| format!("?route={}", encoded(route)));
    proxy.get(&format!("/v1/upstreams{}", of.unwrap_or_default()))
}

/// `before`: an earlier look, and how long ago it was.
fn of_upstreams(upstreams: &[Upstream], before: Option<&(Upstreams, Duration)>) -> Table {
    let new = if before.is_some() { "NEW/s" } else { "OPENED" };
    let mut table = Table::new(&[
        "ROUTE", "UPSTREAM", "STATE", "SINCE", "WEIGHT", "OPEN", new, "FAILED", "LOAD", "CHECK",
    ]);
    table.right(&[3, 4, 5, 6, 7, 8]);
    table.addresses(&[1]);
    for upstream in upstreams {
        let opened = upstream.traffic.opened;
        let new = match before {
            None => opened.to_string(),
            Some((before, pause)) => {
                let same = |old: &&Upstream| old.route == upstream.route && old.upstream == upstream.upstream;
                let earlier = before.upstreams.iter().find(same).map_or(0, |old| old.traffic.opened);
                format!("{:.1}", opened.saturating_sub(earlier) as f64 / pause.as_secs_f64())
            }
        };
        let mut weights = upstream.by_hand.iter().filter_map(|deed| deed.weight);
        let weight = weights.next_back().unwrap_or(upstream.weight);
        let only = upstream.addresses.first().filter(|only| only.address == upstream.upstream);
        table.row([
            upstream.route.clone(),
            upstream.upstream.clone(),
            state(upstream.state).to_owned(),
            only.map_or_else(String::new, since),
            if upstream.backup { format!("{weight} backup") } else { weight.to_string() },
            upstream.traffic.open.to_string(),
            new,
            upstream.failed.to_string(),
            only.map_or_else(String::new, |address| address.load.to_string()),
            only.map_or_else(String::new, checked),
        ]);
        if let Some(source) = &upstream.source {
            table.note(&format!("from {source}"));
        }
        upstream.by_hand.iter().for_each(|deed| table.note(&by_hand(deed)));
        if only.is_none() {
            upstream.addresses.iter().for_each(|address| table.row(of_address(address)));
        }
        if upstream.more_addresses > 0 {
            table.note(&format!("and {} more addresses", upstream.more_addresses));
        }
        if let Some(reason) = &upstream.reason {
            table.note(reason);
        }
    }
    table
}

/// The row of one of several addresses, below that of their upstream.
fn of_address(address: &Address) -> [String; 10] {
    let none = String::new;
    let state = if address.up { "up" } else { "DOWN" };
    let (load, check) = (address.load.to_string(), checked(address));
    [
        none(),
        format!("  {}", address.address),
        state.into(),
        since(address),
        none(),
        none(),
        none(),
        none(),
        load,
        check,
    ]
}

fn state(state: UpstreamState) -> &'static str {
    match state {
        UpstreamState::Up => "up",
        UpstreamState::Degraded => "degraded",
        UpstreamState::Down => "DOWN",
        UpstreamState::Unresolved => "UNRESOLVED",
        UpstreamState::Drained => "drained",
        UpstreamState::Disabled => "disabled",
    }
}

/// For how long its state has been what it is.
fn since(address: &Address) -> String {
    address.since.map_or_else(|| "start".to_owned(), table::span)
}

/// What its last check has found, and when.
fn checked(address: &Address) -> String {
    let Some(check) = &address.check else { return "none".to_owned() };
    let word = check_word(check);
    let Some(last) = check.last.map(table::span) else { return word };
    let why = check.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{word}{why}, {last} ago")
}

/// What the last check has found, and how far it is from changing the state: `ok 0.1 ms`, `fails 1 of 3`, `FAILS`,
/// `passes 1 of 2`.
pub(super) fn check_word(check: &Check) -> String {
    let Check { up, took, last_ok, against, needed, .. } = check;
    match (up, last_ok) {
        (_, None) => "not yet".to_owned(),
        (true, Some(true)) => format!("ok {:.1} ms", took.unwrap_or_default() * 1e3),
        (true, Some(false)) => format!("fails {against} of {needed}"),
        (false, Some(true)) => format!("passes {against} of {needed}"),
        (false, Some(false)) => "FAILS".to_owned(),
    }
}
