//! The calls of the endpoint, each once: its path, the right that it needs, its description.

use hyper::Method;
use serde_json::{Value, json};

use super::api;
use super::rights::Right;
use super::schemas::Schemas;

/// A call of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Page,
    Healthz,
    Readyz,
    Metrics,
    OpenApi,
    Status,
    Routes,
    Upstreams,
    Connections,
    Plan,
    PlanText,
    Kill,
    Reload,
    Drain,
    Disable,
    Enable,
    Weight,
    Upgrade,
}

/// One row of the table of calls: how a call is found, permitted and described.
pub(super) struct Row {
    pub call: Call,
    pub method: Method,
    pub path: &'static str,
    pub right: Right,
    pub summary: &'static str,
    pub describe: fn(&mut Schemas) -> Value,
}

impl Row {
    const fn get(call: Call, path: &'static str, summary: &'static str, describe: Describe) -> Row {
        Row { call, method: Method::GET, path, right: Right::Read, summary, describe }
    }

    const fn open(call: Call, path: &'static str, summary: &'static str, describe: Describe) -> Row {
        Row { call, method: Method::GET, path, right: Right::None, summary, describe }
    }

    const fn post(call: Call, path: &'static str, summary: &'static str, describe: Describe) -> Row {
        Row { call, method: Method::POST, path, right: Right::Change, summary, describe }
    }
}

type Describe = fn(&mut Schemas) -> Value;

/// Every call.
pub(super) static CALLS: [Row; 18] = [
    Row::open(Call::Page, "/", "The page: the same, for people. Needs no right", |_| {
        Schemas::text("text/html")
    }),
    Row::open(Call::Healthz, "/healthz", "Whether it lives. Needs no right", |_| Schemas::text("text/plain")),
    Row::open(Call::Readyz, "/readyz", "Whether it takes new connections. Needs no right", |_| {
        Schemas::text("text/plain")
    }),
    Row::get(Call::Metrics, "/metrics", "Metrics for Prometheus, as `Accept` asks for them", |_| {
        Schemas::text("text/plain")
    }),
    Row::get(Call::OpenApi, "/v1/openapi.json", "This document", |_| Schemas::text("application/json")),
    Row::get(Call::Status, "/v1/status", "The proxy as a whole", Schemas::get::<api::Status>),
    Row::get(Call::Routes, "/v1/routes", "Every route", Schemas::get::<api::Routes>),
    Row::get(Call::Upstreams, "/v1/upstreams", "Every upstream of every route, or of one", |schemas| {
        let mut described = schemas.get::<api::Upstreams>();
        described["parameters"] = json!([query("route", "string", "Of this route.")]);
        described
    }),
    Row::get(Call::Connections, "/v1/connections", "Open connections, page by page", connections),
    Row::get(
        Call::Plan,
        "/v1/plan",
        "What the file, as it stands now, would change",
        Schemas::get::<api::Plan>,
    ),
    // A plan of any text connects to wherever the text says, and reads the files that it names: the right to read is
    // not enough.
    Row::post(
        Call::PlanText,
        "/v1/plan",
        "What a text would change; the body is the text of a file",
        |schemas| {
            let mut described = schemas.post_text::<api::Plan>();
            let description = "The path of the text's file: of an included one only that is planned.";
            described["parameters"] = json!([query("file", "string", description)]);
            described
        },
    ),
    Row::post(Call::Kill, "/v1/kill", "Resets connections", |schemas| {
        schemas.post::<api::Kill, api::Killed>("200")
    }),
    Row::post(Call::Reload, "/v1/reload", "Reads the file again, and waits for the outcome", |schemas| {
        schemas.post::<api::ReloadFile, api::Reloaded>("200")
    }),
    Row::post(Call::Drain, "/v1/drain", "Drains an upstream or a route, or ends the process", |schemas| {
        schemas.post::<api::Drain, api::Draining>("202")
    }),
    Row::post(Call::Disable, "/v1/disable", "Takes out a route or an upstream at once", |schemas| {
        schemas.post::<api::Disable, api::Steered>("200")
    }),
    Row::post(Call::Enable, "/v1/enable", "Undoes what was done by hand", |schemas| {
        schemas.post::<api::Enable, api::Steered>("200")
    }),
    Row::post(Call::Weight, "/v1/weight", "Gives an upstream another weight", |schemas| {
        schemas.post::<api::Weight, api::Steered>("200")
    }),
    Row::post(
        Call::Upgrade,
        "/v1/upgrade",
        "Lets another program take over, and the old process end",
        |schemas| schemas.post::<api::Upgrade, api::Upgraded>("200"),
    ),
];

/// A key of a query.
fn query(name: &str, kind: &str, description: &str) -> Value {
    json!({ "name": name, "in": "query", "schema": { "type": kind }, "description": description })
}

fn connections(schemas: &mut Schemas) -> Value {
    let mut described = schemas.get::<api::Connections>();
    described["parameters"] = json!([
        query("route", "string", "Of this route."),
        query("client", "string", "Of this client: an address, a network, or an address with its port."),
        query("upstream", "string", "To this upstream: as in the file, or the address that is connected."),
        query("older", "string", "Open for longer than this: \"1h\"."),
        query("after", "integer", "The page after this id."),
        query("limit", "integer", "So many on a page: 100 without it, 1000 at most."),
        query("tcp", "boolean", "With the kernel's view of both sockets."),
    ]);
    described
}
