//! The description of the endpoint (OpenAPI 3.1), from the table of calls.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::answer::json as json_answer;
use super::calls::CALLS;
use super::http::Answer;
use super::schemas::Schemas;

/// The whole document, as it is sent: it is the same at every time.
pub(super) fn document() -> Answer {
    static DOCUMENT: LazyLock<Answer> = LazyLock::new(|| json_answer(200, &build()));
    DOCUMENT.clone()
}

fn build() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = Schemas(schemars::SchemaGenerator::new(settings));
    let mut paths = Map::new();
    for row in &CALLS {
        let mut described = (row.describe)(&mut schemas);
        described["summary"] = row.summary.into();
        let path = paths.entry(row.path).or_insert_with(|| json!({}));
        path[row.method.as_str().to_ascii_lowercase()] = described;
    }
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
