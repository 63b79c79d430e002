//! Follows which files the patterns of `include` mean.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::included_file::{FileLink, Told};
use crate::files::{FollowedGlobs, Found, FsEventSource};
use crate::model::Glob;

/// Patterns, and how their task reaches the server.
#[derive(Clone, Debug)]
pub(super) struct IncludedFolders {
    /// The folder of the main file.
    pub folder: PathBuf,
    pub globs: Vec<Glob>,
    pub events: FsEventSource,
    pub tell: mpsc::Sender<Told>,
    pub link: Arc<FileLink>,
}

/// Follows the patterns: what they mean is told at first, when it changes, and to whoever asks.
pub(super) async fn follow(of: IncludedFolders) {
    let IncludedFolders { folder, globs, events, tell, link } = of;
    let mut globs = FollowedGlobs::new(&folder, globs, &events);
    let mut told: Option<Found> = None;
    // What was asked for, and not answered yet.
    let mut asked = link.wanted();
    loop {
        let found = tokio::select! {
            biased;
            number = link.asked() => {
                asked = number;
                globs.ask();
                continue;
            }
            found = globs.next() => found,
        };
        #[cfg(test)]
        crate::tasks::faults::here(&folder.display().to_string());
        if asked == 0 && told.as_ref() == Some(&found) {
            continue;
        }
        told = Some(found.clone());
        if tell.send(Told::Found(found, std::mem::take(&mut asked))).await.is_err() {
            // Nobody listens any more: the process is stopping.
            return;
        }
    }
}
