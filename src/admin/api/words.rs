//! Words of the access log in the API, each described with what it means.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::model::{DataPath, Outcome};

/// How many connections ended in each way.
pub(super) fn outcomes(_: &mut SchemaGenerator) -> Schema {
    let described = |outcome: Outcome| {
        let (meaning, blame, look_at) = (outcome.meaning(), outcome.blame(), outcome.look_at());
        let description = format!("{meaning} Blame: {blame}. Look at: {look_at}.");
        (outcome.label().to_owned(), json!({ "type": "integer", "minimum": 0, "description": description }))
    };
    let properties: Map<String, Value> = Outcome::ALL.into_iter().map(described).collect();
    let more = json!({ "type": "integer", "minimum": 0 });
    json_schema!({ "type": "object", "properties": properties, "additionalProperties": more })
}

/// One of the data paths.
pub(super) fn paths(_: &mut SchemaGenerator) -> Schema {
    let described = |path: DataPath| {
        let description = format!("{} Why: {}.", path.meaning(), path.why());
        json!({ "const": path.label(), "description": description })
    };
    json_schema!({ "oneOf": DataPath::ALL.map(described) })
}
