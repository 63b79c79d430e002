//! A text that does not run, and why.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::blocking::blocking;
use super::disk;
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
    /// What runs in its place. `None`: it is not about one file.
    pub instead: Option<LastGood>,
}

/// The last good text of a file, which runs.
#[derive(Clone, Debug)]
pub struct LastGood {
    /// The path of the file.
    pub path: PathBuf,
    /// Its text.
    pub text: Arc<[u8]>,
}

impl LastGood {
    /// Whether the file has this text now.
    pub async fn is_on_disk(self) -> bool {
        let same = move || disk::read(&self.path).is_ok_and(|content| *content.bytes == *self.text);
        blocking(same).await.unwrap_or(false)
    }
}

impl Pending {
    /// What was found now.
    pub fn new(report: Report, instead: Option<LastGood>) -> Pending {
        Pending { headline: report.headline(), report, since: SystemTime::now(), instead }
    }

    /// Whether the file has the running text again: one that was just mended may not have been looked at yet.
    pub async fn is_over(&self) -> bool {
        match self.instead.clone() {
            Some(last) => last.is_on_disk().await,
            None => false,
        }
    }
}
