//! What a backend is to do.

use std::time::Duration;

use crate::model::ListenAddr;

/// What a [`Whoami`](super::Whoami) is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where; port 0 takes a free one.
    pub listen: ListenAddr,
    /// Echo as it is, without prefix or page.
    pub raw: bool,
    /// Before each answer; with `raw` once, before the first byte.
    pub delay: Duration,
    /// Stands in every answer.
    pub name: String,
}

impl Options {
    /// A backend that answers at once, under a name.
    pub fn named(name: impl Into<String>, listen: ListenAddr) -> Self {
        Options { listen, raw: false, delay: Duration::ZERO, name: name.into() }
    }
}
