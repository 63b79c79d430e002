//! Carries out the POST calls: kill, drain, reload, and what is done by hand.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tracing::info;

use super::api::{
    Disable, Drain, Draining, Enable, Kill, Killed, Problem, ReloadFile, ReloadOutcome, Reloaded, Steered,
    Upgrade, Upgraded, Weight,
};
use super::names;
use super::render::connections::Wanted;
use super::rights::{Refusal, Shown};
use super::units::{count, seconds};
use crate::model::units;
use crate::model::upstream::LARGEST_WEIGHT;
use crate::server::by_hand::{NotDone, Obeyed, Order};
use crate::server::handle::{Stopping, View};
use crate::server::upgrade_order::{BUILD, UpgradeOrder};
use crate::server::{Handle, history};
use crate::state::{Act, Target};

/// How many connections one pass of a kill resets. Between passes connections may begin and end.
const PART: usize = 1000;

/// Parses the JSON body of a request.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let error = format!("the body is not what is expected here: {error}");
        Refusal::wrong(Problem::new(error, "send JSON, as /v1/openapi.json describes it"))
    })
}

/// Resets connections and sessions, by id or by a filter, and logs who wanted it. Those that begin meanwhile are left alone.
pub(super) async fn kill(
    handle: &Handle,
    kill: &Kill,
    by: String,
) -> Result<Result<Killed, Refusal>, Stopping> {
    if let Some(filter) = &kill.filter
        && let Err(unknown) = names::check(handle, filter).await?
    {
        return Ok(Err(unknown));
    }
    let done = kill_known(handle, kill);
    if let Ok(Killed { killed: connections @ 1.., .. }) = done {
        let which = kill.filter.as_ref().map_or_else(|| "by id".to_owned(), ToString::to_string);
        info!(by, connections, which, "killed by hand");
    }
    Ok(done)
}

fn kill_known(handle: &Handle, kill: &Kill) -> Result<Killed, Refusal> {
    let nobody = || {
        Refusal::wrong(Problem::new(
            "it does not say which connections are meant",
            "give ids, or a filter with at least one of route, client, upstream and older",
        ))
    };
    if kill.ids.is_empty() && kill.filter.is_none()
        || kill.filter.as_ref().is_some_and(|filter| filter.is_empty())
    {
        return Err(nobody());
    }
    let open = &handle.shared.open;
    let mut killed = Killed { killed: 0, unknown: Vec::new() };
    if let Some(filter) = &kill.filter {
        let wanted = Wanted::of(filter).map_err(Refusal::wrong)?;
        let newest = open.newest();
        let mut after = 0;
        loop {
            let (part, more) = open.page(after, PART, |open| open.id <= newest && wanted.is(open));
            part.iter().for_each(|open| open.kill());
            killed.killed += part.len() as u64;
            after = part.last().map_or(after, |last| last.id);
            if !more {
                break;
            }
        }
    }
    for id in &kill.ids {
        match open.get(*id) {
            Some(open) => {
                open.kill();
                killed.killed += 1;
            }
            None => killed.unknown.push(*id),
        }
    }
    Ok(killed)
}

/// Begins to drain the process, which then ends, a route, or an upstream.
pub(super) async fn drain(
    handle: &Handle,
    drain: Drain,
    by: String,
) -> Result<Result<Draining, Refusal>, Stopping> {
    let Drain { route, upstream, lasts, force } = drain;
    let Some(route) = route else {
        if upstream.is_some() || lasts.is_some() {
            let problem = Problem::new("it does not say of which route", "give the route too");
            return Ok(Err(Refusal::wrong(problem)));
        }
        info!(by, "asked to drain, and to stop");
        let begun = handle.drain().await?;
        return Ok(Ok(Draining { open: count(begun.open), at_most: Some(seconds(begun.at_most)) }));
    };
    let deed = Deed { target: Target { route, upstream }, act: Some(Act::Drain), lasts, force };
    let done = by_hand(handle, deed, by).await?;
    Ok(done.map(|done| Draining { open: count(done.open), at_most: done.at_most.map(seconds) }))
}

/// What is wanted by hand, as it was asked for.
pub(super) struct Deed {
    target: Target,
    act: Option<Act>,
    lasts: Option<String>,
    force: bool,
}

impl From<Disable> for Deed {
    fn from(Disable { route, upstream, lasts, force }: Disable) -> Deed {
        Deed { target: Target { route, upstream }, act: Some(Act::Disable), lasts, force }
    }
}

impl From<Enable> for Deed {
    fn from(Enable { route, upstream }: Enable) -> Deed {
        Deed { target: Target { route, upstream }, act: None, lasts: None, force: false }
    }
}

impl From<Weight> for Deed {
    fn from(Weight { route, upstream, weight, lasts, force }: Weight) -> Deed {
        let target = Target { route, upstream: Some(upstream) };
        Deed { target, act: Some(Act::Weight(weight)), lasts, force }
    }
}

/// Steers a route or an upstream by hand.
pub(super) async fn steer(
    handle: &Handle,
    deed: Deed,
    by: String,
) -> Result<Result<Steered, Refusal>, Stopping> {
    let done = by_hand(handle, deed, by).await?;
    Ok(done.map(|done| Steered { changed: done.changed, open: count(done.open) }))
}

async fn by_hand(handle: &Handle, deed: Deed, by: String) -> Result<Result<Obeyed, Refusal>, Stopping> {
    let Deed { mut target, act, lasts, force } = deed;
    let lasts = match lasts.map(|text| units::duration(&text, Duration::from_secs(1))).transpose() {
        Ok(lasts) => lasts,
        Err(fault) => return Ok(Err(Refusal::wrong(Problem::new(fault.message, fault.help)))),
    };
    if let Some(Act::Weight(weight)) = act
        && weight > LARGEST_WEIGHT
    {
        let problem = Problem::new(format!("{weight} is no weight"), "give a number from 0 to 1000");
        return Ok(Err(Refusal::wrong(problem)));
    }
    let view = handle.view().await?;
    if let Some(typed) = &target.upstream {
        // An upstream may be written in several ways.
        let known = view.routes.iter().chain(&view.held).find(|view| view.route.name == target.route);
        let spec = known.and_then(|view| names::entry(&view.route, typed));
        target.upstream = spec.map(ToString::to_string).or(target.upstream);
    }
    let order = Order { target: target.clone(), act, lasts, force, by };
    Ok(handle.by_hand(order).await?.map_err(|why| not_done(&view, &target, why)))
}

fn not_done(view: &View, target: &Target, why: NotDone) -> Refusal {
    let (route, upstream) = (&target.route, target.upstream.as_deref().unwrap_or_default());
    let (error, help) = match why {
        NotDone::NoRoute if view.disabled.iter().any(|disabled| disabled.name == *route) => (
            format!("the route `{route}` has `enabled = false`"),
            "edit the file: what is not in force cannot be steered".to_owned(),
        ),
        NotDone::NoRoute => return names::no_route(view, route),
        NotDone::NoUpstream => return names::no_upstream(view, Some(route), upstream),
        NotDone::LastUsable => (
            format!("`{upstream}` is the last upstream of `{route}` that is up and gets new connections"),
            "enable another one first, or say --force: new clients then find no upstream".to_owned(),
        ),
        NotDone::OfTheFile => (
            format!("the file itself lets `{upstream}` drain"),
            "remove `state = \"drain\"` there".to_owned(),
        ),
        NotDone::Address(addr, fault) => {
            (format!("`{route}` stays out: it cannot listen on {addr}: {}", fault.message), fault.help)
        }
    };
    Refusal { status: 409, problem: Problem::new(error, help) }
}

/// The body of a reload: there may be none.
pub(super) fn read_reload(body: &[u8]) -> Result<ReloadFile, Refusal> {
    if body.trim_ascii().is_empty() {
        Ok(ReloadFile::default())
    } else {
        Ok(read::<Option<ReloadFile>>(body)?.unwrap_or_default())
    }
}

/// Reads the file again, and waits for the outcome.
pub(super) async fn reload(handle: &Handle, ReloadFile { keep }: ReloadFile) -> Result<Reloaded, Stopping> {
    let reloaded = |outcome, generation| Reloaded { outcome, generation, changed: None, report: None };
    Ok(match handle.reload(keep).await? {
        history::Reloaded::Taken(generation, None) => reloaded(ReloadOutcome::Unchanged, generation),
        history::Reloaded::Taken(generation, changed) => {
            Reloaded { changed, ..reloaded(ReloadOutcome::Reloaded, generation) }
        }
        history::Reloaded::Refused(generation, report, changed) => {
            let report = Some(report.render(false));
            Reloaded { changed, report, ..reloaded(ReloadOutcome::Refused, generation) }
        }
        history::Reloaded::NoFile(generation) => reloaded(ReloadOutcome::NoFile, generation),
    })
}

/// Lets another program take over. Only whoever may start programs on this host may say which one.
pub(super) async fn upgrade(
    handle: &Handle,
    Upgrade { binary, check, in_place }: Upgrade,
    shown: Shown,
) -> Result<Result<Upgraded, Refusal>, Stopping> {
    if binary.is_some() && shown < Shown::Owner {
        let error = "the path of a program is taken on a Unix socket only";
        let help = "leave it out for the program that runs, or let [admin] listen on \"unix:/run/portway/admin.sock\"";
        return Ok(Err(Refusal { status: 403, problem: Problem::new(error, help) }));
    }
    let done = handle.upgrade(UpgradeOrder { binary: binary.map(Into::into), check, in_place }).await?;
    let upgraded = done.map(|done| Upgraded {
        checked: done.checked,
        pid: done.pid,
        in_place: done.in_place,
        build: done.build,
        was: BUILD.to_owned(),
        moved: count(done.moved),
        moved_sessions: count(done.sessions),
        draining: count(done.draining.all),
        draining_tls: count(done.draining.tls),
        draining_sessions: count(done.draining.sessions),
        at_most: seconds(done.at_most),
        pause: seconds(done.pause),
    });
    Ok(upgraded.map_err(|why| {
        let mut problem = Problem::new(why.to_string(), why.help());
        problem.report = why.report().map(ToOwned::to_owned);
        Refusal { status: 409, problem }
    }))
}
