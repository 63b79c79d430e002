//! A text that does not run, and why.

use std::time::SystemTime;

use crate::config::Report;

/// Why the text of a file does not run.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The first fault in one line.
    pub headline: String,
    /// All faults.
    pub report: Report,
    /// When the first fault after the last good text was found.
    pub since: SystemTime,
}
