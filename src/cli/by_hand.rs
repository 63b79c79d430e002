//! `portway disable`, `portway enable` and `portway weight`: what a person does to what runs, without the file.

use std::io::stdout;
use std::process::ExitCode;

use serde::Serialize;

use super::admin::{self, Admin, Failure};
use super::output::say;
use super::routes::state_of;
use super::table;
use crate::admin::api::{Disable, Enable, Status, Steered, SteeredByHand, Weight};

/// Takes a route, or one upstream of it, out at once: its connections are reset
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It stays so over edits of the file: until `portway enable`, until the time of --for is over, or until the proxy starts \
anew. For good write `enabled = false` into the route, or take the upstream out of the file.

Exit codes: 0 it is out; 1 nobody answers, or it is the last upstream; 2 there is no such route or upstream.

Example:
  portway disable web --upstream app-1:3000 --for 30m"
)]
pub struct DisableArgs {
    /// The route.
    #[arg(value_name = "ROUTE")]
    route: String,
    /// Only this upstream of the route, as the file has it.
    #[arg(long, value_name = "UPSTREAM")]
    upstream: Option<String>,
    /// After how long it ends by itself: "30m".
    #[arg(long = "for", value_name = "TIME")]
    lasts: Option<String>,
    /// Also the last upstream of the route that is up. (The route itself goes without it.)
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    how: How,
}

/// Undoes what was done by hand to a route, or to one upstream of it: drain, disable, weight
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 it is undone, or there was nothing; 1 nobody answers, or the route cannot listen; 2 there is no such \
route or upstream.

Example:
  portway enable web --upstream app-1:3000"
)]
pub struct EnableArgs {
    /// The route.
    #[arg(value_name = "ROUTE")]
    route: String,
    /// Only this upstream of the route, as the file has it.
    #[arg(long, value_name = "UPSTREAM")]
    upstream: Option<String>,
    #[command(flatten)]
    how: How,
}

/// Gives one upstream of a route another weight than the file
#[derive(Debug, clap::Args)]
#[command(after_help = "It stays so over edits of the file, as with `portway drain`, until `portway enable`.

Exit codes: 0 it has it; 1 nobody answers, or it is the last upstream; 2 there is no such route or upstream.

Example:
  portway weight web --upstream app-1:3000 5")]
pub struct WeightArgs {
    /// The route.
    #[arg(value_name = "ROUTE")]
    route: String,
    /// The upstream, as the file has it.
    #[arg(long, value_name = "UPSTREAM")]
    upstream: String,
    /// Its share beside the others, from 0 to 1000. With 0 it gets no new connections.
    weight: u32,
    /// After how long it ends by itself: "30m".
    #[arg(long = "for", value_name = "TIME")]
    lasts: Option<String>,
    /// Also 0 for the last upstream of the route that is up.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    how: How,
}

/// Which proxy, and how it is shown.
#[derive(Debug, clap::Args)]
struct How {
    #[command(flatten)]
    proxy: admin::Proxy,
    /// As JSON: the answer of the endpoint.
    #[arg(long)]
    json: bool,
}

/// Takes a route or an upstream out.
pub fn disable(args: &DisableArgs) -> ExitCode {
    let DisableArgs { route, upstream, lasts, force, how } = args;
    let body =
        Disable { route: route.clone(), upstream: upstream.clone(), lasts: lasts.clone(), force: *force };
    let what = upstream.as_ref().unwrap_or(route);
    how.ask("/v1/disable", &body, |done| {
        format!("{what} is disabled; {} reset", table::count(done.open, "connection"))
    })
}

/// Undoes what was done by hand.
pub fn enable(args: &EnableArgs) -> ExitCode {
    let EnableArgs { route, upstream, how } = args;
    let body = Enable { route: route.clone(), upstream: upstream.clone() };
    let what = upstream.as_ref().unwrap_or(route);
    how.ask_with("/v1/enable", &body, |proxy, done| match done.changed {
        true => Ok(format!("{what} follows the file again")),
        false => {
            let mut steered = proxy.get::<Status>("/v1/status")?.by_hand;
            steered.retain(|other| other.route == *route && other.upstream.is_some() != upstream.is_some());
            Ok(nothing_done(what, &steered))
        }
    })
}

/// Gives an upstream another weight.
pub fn weight(args: &WeightArgs) -> ExitCode {
    let WeightArgs { route, upstream, weight, lasts, force, how } = args;
    let body = Weight {
        route: route.clone(),
        upstream: upstream.clone(),
        weight: *weight,
        lasts: lasts.clone(),
        force: *force,
    };
    how.ask("/v1/weight", &body, |_| format!("{upstream} has the weight {weight}"))
}

/// Says that nothing was done to a route, or to an upstream, itself. `others`: what was done to its upstreams, or to its route.
fn nothing_done(what: &str, others: &[SteeredByHand]) -> String {
    if others.is_empty() {
        return format!("nothing was done by hand to {what}");
    }
    let others = others.iter().map(|SteeredByHand { route, upstream, deed }| {
        let state = state_of(deed);
        match upstream {
            Some(upstream) => format!("; {upstream} is {state}: `--upstream {upstream}`"),
            None => format!("; the route is {state}: `portway enable {route}`"),
        }
    });
    format!("nothing was done by hand to {what} itself{}", others.collect::<String>())
}

impl How {
    fn ask(&self, path: &str, body: &impl Serialize, shown: impl Fn(&Steered) -> String) -> ExitCode {
        self.ask_with(path, body, |_, done| Ok(shown(done)))
    }

    /// The same, where the proxy is asked once more for what is shown.
    fn ask_with(
        &self,
        path: &str,
        body: &impl Serialize,
        shown: impl Fn(&Admin, &Steered) -> Result<String, Failure>,
    ) -> ExitCode {
        let done = self.proxy.find().and_then(|proxy| {
            let done: Steered = proxy.post(path, body)?;
            let shown = if self.json { None } else { Some(shown(&proxy, &done)?) };
            Ok((done, shown))
        });
        match done {
            Err(failure) => failure.exit(),
            Ok((done, None)) => table::json(&done),
            Ok((_, Some(shown))) => say(&mut stdout().lock(), &format!("{shown}\n")),
        }
    }
}
