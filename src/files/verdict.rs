//! Judges a text that was read, by comparing it with the one that runs.

use std::sync::Arc;

use super::disk::Identity;
use super::reading::{FileState, How, Text};
use crate::model::Fault;

/// The text that runs.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its bytes.
    pub text: Arc<[u8]>,
    /// The file that it was read from. `None`: it could not be looked at.
    pub file: Option<Identity>,
}

/// What a text that was read means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has been judged already.
    Known,
    /// It is what runs.
    Runs,
    /// It looks cut off.
    CutOff(Cut),
    /// It could not be read.
    Unreadable(Fault),
    /// It is new, and to be compiled.
    New(Arc<[u8]>),
}

/// How much of the running text a cut-off text still has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Bytes that are there.
    pub bytes: Part,
    /// Lines that are there, the unfinished last one included.
    pub lines: Part,
    /// The file was written in place, not replaced.
    pub in_place: bool,
}

/// A part of a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// How many there are.
    pub there: usize,
    /// How many there were.
    pub of: usize,
}

/// Judges a text: `running` is what runs, `last` what was judged last.
pub fn verdict(text: &Text, state: FileState, how: How, running: &Running, last: &Text) -> Verdict {
    if text == last && matches!(how, How::Settled | How::Snatched) {
        return Verdict::Known;
    }
    let text = match text {
        Ok(text) => text,
        Err(fault) => return Verdict::Unreadable(fault.clone()),
    };
    if *text == running.text {
        return Verdict::Runs;
    }
    let in_place = state.ok().zip(running.file).is_some_and(|(now, then)| now.is_same_file(&then));
    match cut_off(text, in_place, &running.text) {
        Some(cut) if how != How::Asked => Verdict::CutOff(cut),
        _ => Verdict::New(text.clone()),
    }
}

/// Whether a text is the beginning of the running one, and looks like an accident: written in place, where a reader can
/// meet a half-written file, or without the end of its last line. An empty one is a fault by itself.
fn cut_off(text: &[u8], in_place: bool, running: &[u8]) -> Option<Cut> {
    let missing = running.strip_prefix(text)?;
    let deliberate = !in_place && text.ends_with(b"\n");
    if text.is_empty() || deliberate || missing.trim_ascii().is_empty() {
        return None;
    }
    let part = |count: fn(&[u8]) -> usize| Part { there: count(text), of: count(running) };
    Some(Cut { bytes: part(<[u8]>::len), lines: part(lines), in_place })
}

/// Lines, the unfinished last one included.
fn lines(text: &[u8]) -> usize {
    text.split_inclusive(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests;
