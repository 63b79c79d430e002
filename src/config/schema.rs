//! The JSON Schema of the file (draft 7, which editors know best).

use std::sync::LazyLock;

use schemars::JsonSchema;
use serde_json::{Value, json};

use super::admin::Admin;
use super::edits::Edits;
use super::fleet::Fleet;
use super::keys;
use super::log::Log;
use super::own::Own;
use super::process::Process;
use super::process_limits::Limits;
use super::table_schema::schema_of;
use super::unknown::route_schema;
use super::values::List;

/// What Portway forwards, route by route.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read table by table; this type is the root of the schema")]
struct File {
    /// More files, each with routes and `[defaults]` of its own: paths, in which `*` and `?` stand for characters of a name. Relative
    /// ones begin at the folder of this file.
    #[schemars(extend("examples" = ["routes.d/*.toml"]))]
    include: Option<List>,
    /// What the process is to the system.
    process: Option<Process>,
    /// What Portway says about itself and about each connection.
    log: Option<Log>,
    /// What all routes share.
    limits: Option<Limits>,
    /// How edits of the file are taken.
    edits: Option<Edits>,
    /// The nodes that serve the same routes side by side.
    fleet: Option<Fleet>,
    /// The admin endpoint: it shows and controls the running proxy. Without it there is none.
    admin: Option<Admin>,
    /// Policy keys for all routes that do not set them.
    defaults: Option<Defaults>,
    /// One route: where it listens, and where it forwards to.
    route: Vec<Own>,
}

/// The policy keys: of `[defaults]`, and of each route.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Defaults {}

/// The schema of the file, for people and their editors.
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(build);
    &SCHEMA
}

fn build() -> Value {
    let mut root = schema_of::<File>();
    for (place, keys) in
        [("/properties/defaults", keys::schema()), ("/properties/route/items", route_schema())]
    {
        if let Some(table) = root.pointer_mut(place) {
            table["properties"] = keys.properties();
        }
    }
    root["title"] = json!("Portway");
    root["additionalProperties"] = json!(false);
    root["properties"]["route"]["minItems"] = json!(1);
    root["anyOf"] = json!([{ "required": ["route"] }, { "required": ["include"] }]);
    if let Some(root) = root.as_object_mut() {
        root.remove("required");
    }
    root
}
