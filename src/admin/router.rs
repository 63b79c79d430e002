//! What is asked, and who answers it.

use serde::Serialize;

use super::api::Problem;
use super::http::{Answer, Method, Request};
use super::render::{self, Snapshot};
use super::rights::{self, Right};
use super::{acts, page};
use crate::server::Handle;
use crate::server::handle::Stopping;

const JSON: &str = "application/json";

/// Answers a request that has come whole.
pub(super) async fn answer(handle: &Handle, request: &Request) -> Answer {
    let right = match (request.method, request.path.as_str()) {
        (_, "/healthz" | "/readyz" | "/") => Right::None,
        (Method::Get | Method::Head, _) => Right::Read,
        (Method::Post, "/v1/plan") => Right::Read,
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
    match (request.method, request.path.as_str()) {
        (Method::Get | Method::Head, path) => get(handle, path, &request.query).await,
        (Method::Post, path) => post(handle, path, request).await,
    }
}

async fn get(handle: &Handle, path: &str, query: &str) -> Answer {
    match path {
        "/" => page::answer(),
        "/v1/connections" => match render::connections(handle, query) {
            Ok(page) => json(200, &page),
            Err(said) => json(400, &said),
        },
        "/v1/status" | "/v1/routes" | "/v1/upstreams" => {
            let snapshot = match Snapshot::take(handle).await {
                Ok(snapshot) => snapshot,
                Err(stopped) => return stopping(stopped),
            };
            match path {
                "/v1/status" => json(200, &render::status(&snapshot)),
                "/v1/routes" => json(200, &render::routes(&snapshot)),
                _ => json(200, &render::upstreams(&snapshot)),
            }
        }
        _ => problem(404, "there is nothing here", "see /v1/openapi.json"),
    }
}

async fn post(handle: &Handle, path: &str, request: &Request) -> Answer {
    match path {
        "/v1/kill" => match acts::read(&request.body).and_then(|kill| acts::kill(handle, &kill)) {
            Ok(killed) => json(200, &killed),
            Err(said) => json(400, &said),
        },
        "/v1/reload" => match acts::reload(handle).await {
            Ok(reloaded) => json(200, &reloaded),
            Err(stopped) => stopping(stopped),
        },
        _ => not_found(request),
    }
}

fn not_found(request: &Request) -> Answer {
    let error = format!("nothing takes a POST at {}", request.path.chars().take(100).collect::<String>());
    problem(404, &error, "see /v1/openapi.json")
}

fn stopping(stopping: Stopping) -> Answer {
    problem(503, &stopping.to_string(), "start it again")
}

/// An answer that is not what was asked for.
pub(super) fn problem(status: u16, error: &str, help: &str) -> Answer {
    json(status, &Problem { error: error.to_owned(), help: help.to_owned() })
}

fn json(status: u16, value: &impl Serialize) -> Answer {
    // Of these values none fails to serialize.
    let mut body = serde_json::to_vec(value).unwrap_or_default();
    body.push(b'\n');
    Answer { status, kind: JSON, body, more: "" }
}
