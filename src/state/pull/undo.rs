//! A text that fared worse than the one before it, and was undone.

use std::sync::Arc;
use std::time::Instant;

use super::values::{News, Offer, Undone};
use super::{Phase, Pull};

impl Pull {
    /// This text was undone because it fared worse: the one that runs instead is written back, and this one is not taken again,
    /// however often the store offers it. Its signature stays on disk, so that a start does not take it either. Does nothing
    /// if it is not the text of the file as the store has it.
    pub fn undone(&mut self, text: &Arc<[u8]>, runs: &Arc<[u8]>, why: &str, now: Instant) -> Vec<News> {
        let Some(text) = self.on_disk.clone().filter(|written| written == text) else { return Vec::new() };
        self.undone = Some(Undone { text, why: why.to_owned() });
        self.phase =
            Phase::Writing(Offer { text: runs.clone(), signature: None, serial: self.standing.serial });
        self.refuse(why.to_owned(), now).into_iter().collect()
    }
}
