//! A text that does not run, and why.

use std::time::SystemTime;

use crate::config::Report;

/// What a file says does not run.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The first fault in one line.
    pub headline: String,
    /// All of them.
    pub report: Report,
    /// When the first fault came after the last good text.
    pub since: SystemTime,
}
