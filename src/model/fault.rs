//! What is wrong with something that a person wrote, and the cure.

/// What is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What is wrong, without a full stop.
    pub message: String,
    /// What to do about it, or what to write instead.
    pub help: String,
}

impl Fault {
    /// `message` says what is wrong, `help` what to do about it.
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Fault { message: message.into(), help: help.into() }
    }
}
