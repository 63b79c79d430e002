//! `health`: a table, or "off".

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::{MaybeText, Span, Text};

/// How each upstream is checked, beside what failed connects tell.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Health {
    /// From the beginning of one check to that of the next. At least "100ms".
    #[schemars(extend("default" = "5s", "examples" = ["5s"]))]
    pub interval: Option<Span>,
    /// For the whole check; no longer than the interval. At least "1ms".
    #[schemars(extend("default" = "2s", "examples" = ["2s"]))]
    pub timeout: Option<Span>,
    /// So many checks in a row must pass before an upstream that is down is used again: 1 to 100.
    #[schemars(range(min = 1, max = 100), extend("default" = 2, "examples" = [2]))]
    pub rise: Option<i64>,
    /// So many checks in a row must fail before an upstream is down: 1 to 100.
    #[schemars(range(min = 1, max = 100), extend("default" = 3, "examples" = [3]))]
    pub fall: Option<i64>,
    /// The port to be checked, where it is not the upstream's own.
    #[schemars(range(min = 1, max = 65535), extend("examples" = [8081]))]
    pub port: Option<i64>,
    /// What is sent once it is connected: text, or bytes as "hex:0d0a".
    #[schemars(extend("examples" = ["PING\r\n"]))]
    pub send: Option<Text>,
    /// What the answer must have in it: text, bytes as "hex:0d0a", or a pattern as "regex:^HTTP/1\\.[01] 2".
    #[schemars(extend("examples" = ["PONG"]))]
    pub expect: Option<Text>,
}

/// A table of [`Health`], or `"off"`: which of its keys are wrong is found in the document.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::config) struct HealthOrOff(pub MaybeText);

impl JsonSchema for HealthOrOff {
    fn schema_name() -> Cow<'static, str> {
        "HealthOrOff".into()
    }

    /// `schema::Section::Health` looks for the table at the second place.
    fn json_schema(types: &mut SchemaGenerator) -> Schema {
        let table = types.subschema_for::<Health>();
        json_schema!({ "anyOf": [{ "type": "string", "enum": ["off"] }, table] })
    }
}
