//! Builds answers: JSON, plain text, problems.

use serde::Serialize;

use super::api::Problem;
use super::http::Answer;
use crate::server::handle::Stopping;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// An error answer: what is wrong, and what to do about it.
pub(super) fn problem(status: u16, error: &str, help: &str) -> Answer {
    json(status, &Problem::new(error, help))
}

/// The answer while the process is stopping: 503.
pub(super) fn stopping(stopping: Stopping) -> Answer {
    problem(503, &stopping.to_string(), "start it again")
}

pub(super) fn text(text: &str) -> Answer {
    Answer { status: 200, kind: TEXT, body: text.as_bytes().to_vec(), more: &[] }
}

pub(super) fn json(status: u16, value: &impl Serialize) -> Answer {
    // None of these values fails to serialize.
    let mut body = serde_json::to_vec(value).unwrap_or_default();
    body.push(b'\n');
    Answer { status, kind: JSON, body, more: &[] }
}
