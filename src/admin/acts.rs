//! Carries out the POST calls: kill, drain, reload.

use serde::de::DeserializeOwned;

use super::api::{Drain, Draining, Kill, Killed, Problem, ReloadOutcome, Reloaded};
use super::render::connections::Wanted;
use super::units::{count, seconds};
use crate::server::Handle;
use crate::server::handle::Stopping;
use crate::server::history;

/// How many connections one pass of a kill resets. Between passes connections may begin and end.
const PART: usize = 1000;

/// Parses the JSON body of a request.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        Problem::new(
            format!("the body is not what is expected here: {error}"),
            "send JSON, as /v1/openapi.json describes it".to_owned(),
        )
    })
}

/// Resets connections and sessions, by id or by a filter. Those that begin meanwhile are left alone.
pub(super) fn kill(handle: &Handle, kill: &Kill) -> Result<Killed, Problem> {
    let nobody = || {
        Problem::new(
            "it does not say which connections are meant".to_owned(),
            "give ids, or a filter with at least one of route, client and older".to_owned(),
        )
    };
    if kill.ids.is_empty() && kill.filter.is_none()
        || kill.filter.as_ref().is_some_and(|filter| filter.is_empty())
    {
        return Err(nobody());
    }
    let open = &handle.shared.open;
    let mut killed = Killed { killed: 0, unknown: Vec::new() };
    if let Some(filter) = &kill.filter {
        let wanted = Wanted::of(filter)?;
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

/// Begins to drain a route, or the process, which then ends. `None`: there is no such route.
pub(super) async fn drain(handle: &Handle, drain: Drain) -> Result<Option<Draining>, Stopping> {
    let begun = handle.drain(drain.route).await?;
    Ok(begun.map(|begun| Draining { open: count(begun.open), at_most: seconds(begun.at_most) }))
}

/// Reads the file again, and waits for the outcome.
pub(super) async fn reload(handle: &Handle) -> Result<Reloaded, Stopping> {
    let reloaded = |outcome, generation| Reloaded { outcome, generation, changed: None, report: None };
    Ok(match handle.reload().await? {
        history::Reloaded::Taken(generation, None) => reloaded(ReloadOutcome::Unchanged, generation),
        history::Reloaded::Taken(generation, changed) => {
            Reloaded { changed, ..reloaded(ReloadOutcome::Reloaded, generation) }
        }
        history::Reloaded::Refused(generation, report) => {
            Reloaded { report: Some(report.render(false)), ..reloaded(ReloadOutcome::Refused, generation) }
        }
        history::Reloaded::NoFile(generation) => reloaded(ReloadOutcome::NoFile, generation),
    })
}
