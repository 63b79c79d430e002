//! The description of the endpoint (OpenAPI 3.1): its paths here, its values from their types.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::api;

/// The whole document.
pub(super) fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(build);
    &DOCUMENT
}

/// The values' schemas, in the making.
struct Schemas(SchemaGenerator);

impl Schemas {
    fn of<T: JsonSchema>(&mut self) -> Value {
        self.0.subschema_for::<T>().to_value()
    }

    /// An answer with a value.
    fn answer<T: JsonSchema>(&mut self, what: &str) -> Value {
        json!({ "description": what, "content": { "application/json": { "schema": self.of::<T>() } } })
    }

    /// A path that is read.
    fn get<T: JsonSchema>(&mut self, summary: &str, parameters: Value) -> Value {
        let (answer, problem) =
            (self.answer::<T>("What was asked for."), self.answer::<api::Problem>(WHY_NOT));
        json!({ "get": {
            "summary": summary,
            "parameters": parameters,
            "responses": { "200": answer, "default": problem },
        } })
    }

    /// A path that is told something.
    fn post<B: JsonSchema, T: JsonSchema>(&mut self, summary: &str, status: &str) -> Value {
        let (answer, problem) = (self.answer::<T>("What came of it."), self.answer::<api::Problem>(WHY_NOT));
        let body = self.of::<B>();
        json!({ "post": {
            "summary": summary,
            "requestBody": { "required": true, "content": { "application/json": { "schema": body } } },
            "responses": { status: answer, "default": problem },
            "security": [{ "token": [] }, {}],
        } })
    }
}

const WHY_NOT: &str = "Why not, and what to do about it.";

fn build() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = Schemas(SchemaGenerator::new(settings));
    let paths = paths(&mut schemas);
    let definitions = schemas.0.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portway's admin endpoint",
            "version": "1",
            "description": "Reading needs no token on a Unix socket, and on a loopback address without `read_token`. Changing \
                            (POST) needs the `token`, or a Unix socket.",
        },
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn paths(schemas: &mut Schemas) -> Map<String, Value> {
    let none = || json!([]);
    let mut paths = Map::new();
    let mut path = |name: &str, value: Value| drop(paths.insert(name.to_owned(), value));
    path("/v1/status", schemas.get::<api::Status>("The proxy as a whole", none()));
    path("/v1/routes", schemas.get::<api::Routes>("Every route", none()));
    path("/v1/upstreams", schemas.get::<api::Upstreams>("Every upstream of every route", none()));
    path(
        "/v1/connections",
        schemas.get::<api::Connections>("Open connections, page by page", of_connections()),
    );
    path("/v1/kill", schemas.post::<api::Kill, api::Killed>("Resets connections", "200"));
    path(
        "/v1/reload",
        schemas.post::<(), api::Reloaded>("Reads the file again, and waits for the outcome", "200"),
    );
    path(
        "/v1/drain",
        schemas.post::<api::Drain, api::Draining>("Takes a route out, or ends the process", "202"),
    );
    let mut plan = schemas.get::<api::Plan>("What the file, as it stands now, would change", none());
    let mut of_text =
        schemas.post::<(), api::Plan>("What a text would change; the body is the text of a file", "200");
    of_text["post"]["requestBody"]["content"] =
        json!({ "application/toml": { "schema": { "type": "string" } } });
    plan["post"] = of_text["post"].take();
    path("/v1/plan", plan);
    path("/v1/openapi.json", of_text_kind("This document", "application/json"));
    path("/metrics", of_text_kind("Metrics for Prometheus, as `Accept` asks for them", "text/plain"));
    path("/", of_text_kind("The page: the same, for people. Needs no right", "text/html"));
    path("/healthz", of_text_kind("Whether it lives. Needs no right", "text/plain"));
    path("/readyz", of_text_kind("Whether it takes new connections. Needs no right", "text/plain"));
    paths
}

fn of_connections() -> Value {
    let query = |name: &str, kind: &str, description: &str| json!({ "name": name, "in": "query", "schema": { "type": kind }, "description": description });
    json!([
        query("route", "string", "Of this route."),
        query("client", "string", "Of this client: an address, a network, or an address with its port."),
        query("older", "string", "Open for longer than this: \"1h\"."),
        query("after", "integer", "The page after this id."),
        query("limit", "integer", "So many on a page: 100 without it, 1000 at most."),
        query("tcp", "boolean", "With the kernel's view of both sockets."),
    ])
}

fn of_text_kind(summary: &str, kind: &str) -> Value {
    json!({ "get": {
        "summary": summary,
        "responses": {
            "200": { "description": "What was asked for.", "content": { kind: {} } },
            "default": { "description": WHY_NOT },
        },
    } })
}
