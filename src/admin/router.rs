//! Finds the call of a request, checks whether it may be made, and answers it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper::{Method, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answer::{json, problem, stopping, text};
use super::api::Problem;
use super::calls::{CALLS, Call};
use super::guests::Guests;
use super::http::{Answer, Request};
use super::plan::{NoPlan, PlanOf, PostedText, plan};
use super::render::{connections, routes, status, upstreams};
use super::rights::{self, Refusal, Right, Shown};
use super::snapshot::Snapshot;
use super::who::Who;
use super::{acts, api, metrics, openapi, page, query};
use crate::net::within;
use crate::server::handle::Stopping;
use crate::server::{AdminSocket, Handle};

/// A server task that does not answer for this long is dead.
const ALIVE: Duration = Duration::from_secs(10);

/// The call that a request makes, and what right it has shown. `None`: there is no such call. Fails, with the answer, if
/// it may not be made.
pub(super) fn permitted(
    handle: &Handle,
    of: &Weak<AdminSocket>,
    request: &Request,
) -> Result<(Option<Call>, Shown), Answer> {
    let posts = request.method == Method::POST;
    let row = CALLS.iter().find(|row| row.path == request.path && (row.method == Method::POST) == posts);
    // A client without rights does not learn which paths do not exist.
    let right = row.map_or(if posts { Right::Change } else { Right::Read }, |row| row.right);
    let now = handle.admin.borrow().clone();
    let Some(now) = now else { return Err(stopping(Stopping)) };
    // Another socket gives other rights.
    if !of.ptr_eq(&Arc::downgrade(&now.socket)) {
        return Err(problem(503, "the admin endpoint has moved", "ask where [admin] listens now"));
    }
    match rights::check(&now.settings, &now.tokens, request, right) {
        Ok(shown) => Ok((row.map(|row| row.call), shown)),
        Err(refusal) => {
            let mut answer = json(refusal.status, &refusal.problem);
            if refusal.status == 401 {
                answer.more = &[(header::WWW_AUTHENTICATE, "Bearer")];
            }
            Err(answer)
        }
    }
}

/// Whether a call may take seconds, and uses what is bounded elsewhere: such calls take turns.
pub(super) fn takes_long(call: Option<Call>) -> bool {
    matches!(call, Some(Call::Plan | Call::PlanText))
}

/// The answer while too many wait for their turn.
pub(super) fn busy() -> Answer {
    problem(
        503,
        "too many plans and large bodies wait for their turn",
        "try again once one of them is answered",
    )
}

/// What an answer is made of, besides the head of its request.
pub(super) struct Posted<'g> {
    pub body: Vec<u8>,
    /// What right its client has shown.
    pub shown: Shown,
    /// Who asks.
    pub by: &'g Who,
    /// The connections of the endpoint.
    pub guests: &'g Guests,
}

/// Answers a request whose body has arrived.
pub(super) async fn answer(
    handle: &Handle,
    call: Option<Call>,
    request: &Request,
    posted: Posted<'_>,
) -> Answer {
    match call {
        Some(call) => answer_call(handle, call, request, posted).await.unwrap_or_else(stopping),
        None if request.method == Method::POST => {
            let shown: String = request.path.chars().take(100).collect();
            problem(404, &format!("nothing takes a POST at {shown}"), "see /v1/openapi.json")
        }
        None => problem(404, "there is nothing here", "see /v1/openapi.json"),
    }
}

async fn answer_call(
    handle: &Handle,
    call: Call,
    request: &Request,
    Posted { body, shown, by, guests }: Posted<'_>,
) -> Result<Answer, Stopping> {
    let snapshot = || Snapshot::take(handle);
    Ok(match call {
        Call::Page => page::answer(),
        Call::Healthz => match within(ALIVE, handle.is_alive()).await {
            Ok(Ok(_)) => text("ok\n"),
            Ok(Err(stopped)) => return Err(stopped),
            Err(_) => problem(503, "the server does not answer", "see its log, and start it again"),
        },
        Call::Readyz => match handle.is_alive().await? {
            false => text("ready\n"),
            true => problem(503, "Portway is draining", "send new clients elsewhere"),
        },
        Call::Metrics => metrics::answer(&snapshot().await?, guests, &request.accept),
        Call::OpenApi => openapi::document(),
        Call::Status => json(200, &status::status(&snapshot().await?)),
        Call::Routes => json(200, &routes::routes(&snapshot().await?)),
        Call::Upstreams => done(200, upstreams::asked(&snapshot().await?, &request.query)),
        Call::Connections => done(200, connections::connections(handle, &request.query).await?),
        Call::Plan => planned(plan(handle, PlanOf::File).await)?,
        Call::PlanText => {
            let file = query::pairs(&request.query).and_then(|pairs| {
                pairs
                    .into_iter()
                    .find_map(|(key, value)| (key == "file").then(|| std::path::PathBuf::from(value)))
            });
            planned(plan(handle, PlanOf::Text(PostedText { text: body, shown, file })).await)?
        }
        Call::Kill => match acts::read(&body) {
            Ok(kill) => done(200, acts::kill(handle, &kill, by.name()).await?),
            Err(wrong) => refused(&wrong),
        },
        Call::Reload => match acts::read_reload(&body) {
            Ok(reload) => json(200, &acts::reload(handle, reload).await?),
            Err(wrong) => refused(&wrong),
        },
        Call::Drain => match acts::read(&body) {
            Ok(drain) => done(202, acts::drain(handle, drain, by.name()).await?),
            Err(wrong) => refused(&wrong),
        },
        Call::Disable => steered::<api::Disable>(handle, &body, by).await?,
        Call::Enable => steered::<api::Enable>(handle, &body, by).await?,
        Call::Weight => steered::<api::Weight>(handle, &body, by).await?,
        Call::Upgrade => match acts::read(&body) {
            Ok(upgrade) => done(200, acts::upgrade(handle, upgrade, shown).await?),
            Err(wrong) => refused(&wrong),
        },
    })
}

/// The answer to a deed by hand.
async fn steered<T: DeserializeOwned + Into<acts::Deed>>(
    handle: &Handle,
    body: &[u8],
    by: &Who,
) -> Result<Answer, Stopping> {
    Ok(match acts::read::<T>(body) {
        Ok(deed) => done(200, acts::steer(handle, deed.into(), by.name()).await?),
        Err(wrong) => refused(&wrong),
    })
}

/// The answer to what was asked for, or why not.
fn done<T: Serialize>(status: u16, done: Result<T, Refusal>) -> Answer {
    done.map_or_else(|refusal| refused(&refusal), |value| json(status, &value))
}

fn refused(refusal: &Refusal) -> Answer {
    json(refusal.status, &refusal.problem)
}

fn planned(plan: Result<super::api::Plan, NoPlan>) -> Result<Answer, Stopping> {
    match plan {
        Ok(plan) => Ok(json(200, &plan)),
        Err(NoPlan::Stopping(stopped)) => Err(stopped),
        Err(NoPlan::Faults(report)) => {
            let mut said = Problem::new(report.headline(), "mend the text: nothing has changed");
            said.report = Some(report.render(false));
            Ok(json(422, &said))
        }
    }
}
