//! Judges a text that was read, by comparing it with the one that runs. Pure, and the only place that decides whether a
//! text is whole.
//!
//! * What its writer has open does not count yet.
//! * A text that takes something away (a route, a network, a certificate) counts once its writer has closed it, or once
//!   nothing has changed for [`STILL`](super::schedule::STILL) where no event says so.
//! * A text whose last line has no end, and may be the beginning of a longer one, is cut off. So is one that takes a
//!   table away and ends within another: a writer who was killed closes the file too.
//! * Where such a writer stopped exactly at the end of a table, nobody can know: it is taken, with a warning. Of a table that
//!   is new, every line behind the keys that it needs may be the end.

use std::sync::Arc;

use super::loss::{Form, Loss};
use super::reading::{How, Reading, Text, Writer};
use crate::model::Fault;

/// What a text that was read means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has been judged already.
    Known,
    /// It is what runs.
    Runs,
    /// It may be half written: to be read again.
    Unfinished,
    /// It looks cut off.
    CutOff(Cut),
    /// It could not be read.
    Unreadable(Fault),
    /// It is new, and to be compiled. With a loss to warn of: its writer may have been stopped there.
    New(Arc<[u8]>, Option<Loss>),
}

/// Why a text looks cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Its last line has no end.
    InLine,
    /// It ends within a table, and others are gone.
    InTable(Loss),
}

/// Judges a text: `running` is the one that runs, `last` the one that was judged last.
pub fn verdict(form: Form, reading: &Reading, running: &[u8], last: &Text) -> Verdict {
    if reading.text == *last && matches!(reading.how, How::Settled | How::Snatched) {
        return Verdict::Known;
    }
    let text = match &reading.text {
        Ok(text) => text,
        Err(fault) => return Verdict::Unreadable(fault.clone()),
    };
    if **text == *running {
        return Verdict::Runs;
    }
    if reading.how == How::Asked {
        return Verdict::New(text.clone(), None);
    }
    if reading.writer == Writer::Busy {
        return Verdict::Unfinished;
    }
    // An empty text never runs, so there is nothing to wait for. By rename a text comes whole, except for its end.
    let loss = match text.is_empty() || reading.writer == Writer::Renamed {
        true => Loss::default(),
        false => Loss::of(form, running, text),
    };
    if !loss.gone.is_empty() && reading.writer == Writer::Unknown {
        Verdict::Unfinished
    } else if form != Form::Blocks && ends_within_a_line(text, running, reading.writer, &loss) {
        Verdict::CutOff(Cut::InLine)
    } else if !loss.keys.is_empty() {
        Verdict::CutOff(Cut::InTable(loss))
    } else {
        Verdict::New(text.clone(), loss.ends_after.is_some().then_some(loss))
    }
}

/// What a text takes away of the one that runs. `None`: it looks cut off.
pub fn taken_away(form: Form, running: &[u8], text: &[u8]) -> Option<Vec<String>> {
    let loss = Loss::of(form, running, text);
    let is_cut = !loss.keys.is_empty() || ends_within_a_line(text, running, Writer::Done, &loss);
    (!is_cut).then_some(loss.gone)
}

/// Whether the last line lacks its end and looks cut off: something is gone, or it is the beginning of a line that runs. Where
/// a text ends as the running one does, its writer came to the end: some editors write no last newline.
fn ends_within_a_line(text: &[u8], running: &[u8], writer: Writer, loss: &Loss) -> bool {
    if text.is_empty() || text.ends_with(b"\n") {
        return false;
    }
    let last = last_line(text).trim_ascii_end();
    let begins = |line: &[u8]| line.starts_with(last) && line.trim_ascii_end().len() > last.len();
    // A copy that was cut off, and was put there all the same.
    let missing = running.strip_prefix(text).unwrap_or_default();
    let is_beginning = running.ends_with(b"\n") && !missing.trim_ascii().is_empty();
    match writer {
        _ if is_beginning => true,
        Writer::Renamed => false,
        _ if loss.ends_after.is_some() => true,
        _ if last == last_line(running.trim_ascii_end()) => false,
        _ => !loss.gone.is_empty() || running.split(|byte| *byte == b'\n').any(begins),
    }
}

fn last_line(text: &[u8]) -> &[u8] {
    text.rsplit(|byte| *byte == b'\n').next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
