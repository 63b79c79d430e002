//! Describes calls in OpenAPI 3.1, from the types of their values.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use super::api::Problem;

const WHY_NOT: &str = "Why not, and what to do about it.";

/// Collects the schemas of the values while calls are described.
pub(super) struct Schemas(pub SchemaGenerator);

impl Schemas {
    fn of<T: JsonSchema>(&mut self) -> Value {
        self.0.subschema_for::<T>().to_value()
    }

    /// An answer with a value.
    fn answer<T: JsonSchema>(&mut self, what: &str) -> Value {
        json!({ "description": what, "content": { "application/json": { "schema": self.of::<T>() } } })
    }

    /// Describes a call that reads a value.
    pub fn get<T: JsonSchema>(&mut self) -> Value {
        let (answer, problem) = (self.answer::<T>("What was asked for."), self.answer::<Problem>(WHY_NOT));
        json!({ "parameters": [], "responses": { "200": answer, "default": problem } })
    }

    /// Describes a call that does something, with a body in JSON.
    pub fn post<B: JsonSchema, T: JsonSchema>(&mut self, status: &str) -> Value {
        let body = json!({ "application/json": { "schema": self.of::<B>() } });
        self.post_of::<T>(body, status)
    }

    /// Describes a call whose body is the text of a file.
    pub fn post_text<T: JsonSchema>(&mut self) -> Value {
        self.post_of::<T>(json!({ "application/toml": { "schema": { "type": "string" } } }), "200")
    }

    fn post_of<T: JsonSchema>(&mut self, body: Value, status: &str) -> Value {
        let (answer, problem) = (self.answer::<T>("What came of it."), self.answer::<Problem>(WHY_NOT));
        json!({
            "requestBody": { "required": true, "content": body },
            "responses": { status: answer, "default": problem },
            "security": [{ "token": [] }, {}],
        })
    }

    /// Describes a call that answers with text of this media type.
    pub fn text(kind: &str) -> Value {
        json!({ "responses": {
            "200": { "description": "What was asked for.", "content": { kind: {} } },
            "default": { "description": WHY_NOT },
        } })
    }
}
