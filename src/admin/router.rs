//! What is asked, and who answers it.

use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;

use super::api::Problem;
use super::http::{Answer, Method, Request};
use super::plan::{NoPlan, plan};
use super::render::{self, Snapshot};
use super::rights::{self, Right};
use super::{acts, metrics, openapi, page};
use crate::server::Handle;
use crate::server::handle::Stopping;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// A server that does not answer for so long does not live.
const ALIVE: Duration = Duration::from_secs(10);

/// Answers a request that has come whole.
pub(super) async fn answer(handle: &Handle, request: &Request) -> Answer {
    let right = match (request.method, request.path.as_str()) {
        (_, "/healthz" | "/readyz" | "/") => Right::None,
        (Method::Get | Method::Head, _) => Right::Read,
        // A plan of any text connects wherever that leads, and reads the lists that it names: who may only look may not.
        (Method::Post, _) => Right::Change,
    };
    let settings = handle.admin.borrow().as_ref().map(|door| door.settings.clone());
    let Some(settings) = settings else { return stopping(Stopping) };
    if let Err((status, said)) = rights::check(&settings, request, right) {
        let mut answer = json(status, &said);
        if status == 401 {
            answer.more = "www-authenticate: Bearer\r\n";
        }
        return answer;
    }
    let answered = match request.method {
        Method::Get | Method::Head => get(handle, request).await,
        Method::Post => post(handle, request).await,
    };
    answered.unwrap_or_else(stopping)
}

async fn get(handle: &Handle, request: &Request) -> Result<Answer, Stopping> {
    Ok(match request.path.as_str() {
        "/" => page::answer(),
        "/healthz" => match timeout(ALIVE, handle.is_alive()).await {
            Ok(Ok(_)) => text("ok\n"),
            Ok(Err(stopped)) => return Err(stopped),
            Err(_) => problem(503, "the server does not answer", "see its log, and start it again"),
        },
        "/readyz" => match handle.is_alive().await? {
            false => text("ready\n"),
            true => problem(503, "Portway is draining", "send new clients elsewhere"),
        },
        "/v1/openapi.json" => json(200, openapi::document()),
        "/v1/connections" => match render::connections(handle, &request.query) {
            Ok(page) => json(200, &page),
            Err(said) => json(400, &said),
        },
        "/v1/status" => json(200, &render::status(&Snapshot::take(handle).await?)),
        "/v1/routes" => json(200, &render::routes(&Snapshot::take(handle).await?)),
        "/v1/upstreams" => json(200, &render::upstreams(&Snapshot::take(handle).await?)),
        "/v1/plan" => planned(plan(handle, None).await)?,
        "/metrics" => metrics::answer(&Snapshot::take(handle).await?, &request.accept),
        _ => problem(404, "there is nothing here", "see /v1/openapi.json"),
    })
}

async fn post(handle: &Handle, request: &Request) -> Result<Answer, Stopping> {
    Ok(match request.path.as_str() {
        "/v1/kill" => match acts::read(&request.body).and_then(|kill| acts::kill(handle, &kill)) {
            Ok(killed) => json(200, &killed),
            Err(said) => json(400, &said),
        },
        "/v1/reload" => json(200, &acts::reload(handle).await?),
        "/v1/drain" => match acts::read(&request.body) {
            Ok(drain) => match acts::drain(handle, drain).await? {
                Some(begun) => json(202, &begun),
                None => problem(404, "no route in force is called so", "see /v1/routes"),
            },
            Err(said) => json(400, &said),
        },
        "/v1/plan" => planned(plan(handle, Some(request.body.clone())).await)?,
        path => {
            let shown: String = path.chars().take(100).collect();
            problem(404, &format!("nothing takes a POST at {shown}"), "see /v1/openapi.json")
        }
    })
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

fn stopping(stopping: Stopping) -> Answer {
    problem(503, &stopping.to_string(), "start it again")
}

/// An answer that is not what was asked for.
pub(super) fn problem(status: u16, error: &str, help: &str) -> Answer {
    json(status, &Problem::new(error, help))
}

fn text(text: &str) -> Answer {
    Answer { status: 200, kind: TEXT, body: text.as_bytes().to_vec(), more: "" }
}

fn json(status: u16, value: &impl Serialize) -> Answer {
    // Of these values none fails to serialize.
    let mut body = serde_json::to_vec(value).unwrap_or_default();
    body.push(b'\n');
    Answer { status, kind: JSON, body, more: "" }
}
