//! The options of a backend.

use std::time::Duration;

use crate::model::ListenAddr;

/// How a [`Whoami`](super::Whoami) listens and answers.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub listen: ListenAddr,
    /// Echo as it is, without prefix or page.
    pub raw: bool,
    /// How long it waits before each answer; with `raw` once, before the first byte.
    pub delay: Duration,
    /// The name in every answer.
    pub name: String,
}

impl Options {
    /// A backend that answers at once, under a name.
    pub fn named(name: impl Into<String>, listen: ListenAddr) -> Self {
        Options { listen, raw: false, delay: Duration::ZERO, name: name.into() }
    }
}
