//! Answers of each kind.

use serde::Serialize;

use super::api::Problem;
use super::http::Answer;
use crate::server::handle::Stopping;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// An answer that is not what was asked for.
pub(super) fn problem(status: u16, error: &str, help: &str) -> Answer {
    json(status, &Problem::new(error, help))
}

/// The process is ending.
pub(super) fn stopping(stopping: Stopping) -> Answer {
    problem(503, &stopping.to_string(), "start it again")
}

pub(super) fn text(text: &str) -> Answer {
    Answer { status: 200, kind: TEXT, body: text.as_bytes().to_vec(), more: &[] }
}

pub(super) fn json(status: u16, value: &impl Serialize) -> Answer {
    // Of these values none fails to serialize.
    let mut body = serde_json::to_vec(value).unwrap_or_default();
    body.push(b'\n');
    Answer { status, kind: JSON, body, more: &[] }
}
