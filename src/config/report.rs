//! Faults, and how they are shown.

use std::fmt::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use super::placed::{Elsewhere, Placed};
use super::{picture, secrets};
use crate::model::Fault;

/// The longest quoted value in a message, in characters. A longer one is a value that nobody wants to read whole.
const LONGEST_VALUE: usize = 200;

/// The longest text of a fault, in characters.
const LONGEST: usize = 2000;

/// Printable, and not too long. A list of keys stays whole.
fn tidy(text: &mut String) {
    let odd = |c: char| c.is_control() && c != '\n';
    if text.contains(odd) {
        *text = text.replace(odd, "\u{fffd}");
    }
    if text.chars().nth(LONGEST_VALUE).is_some() {
        let parts = text.split_inclusive(['`', '"']).map(|part| shortened(part, LONGEST_VALUE));
        let shorter: String = parts.collect();
        *text = shortened(&shorter, LONGEST);
    }
}

/// The beginning and the end of a text of more than so many characters.
fn shortened(text: &str, longest: usize) -> String {
    if text.chars().nth(longest).is_none() {
        return text.to_owned();
    }
    let head: String = text.chars().take(longest / 2).collect();
    let tail: Vec<char> = text.chars().rev().take(longest / 4).collect();
    format!("{head} ... {}", tail.into_iter().rev().collect::<String>())
}

/// Every fault of one reading of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    name: String,
    text: Arc<str>,
    /// The first ones, at most [`DRAWN`].
    faults: Vec<Placed>,
    /// Those of other files.
    more: Vec<Report>,
    /// How many faults there are in this one.
    count: usize,
    /// Whether one of them is a key that nobody knows.
    unknown_key: bool,
}

/// How many pictures a report draws. A file of another kind has a fault in each line.
const DRAWN: usize = 50;

impl Report {
    /// A fault of the file as a whole: it cannot be read, or is none.
    pub fn about_file(name: &str, fault: Fault) -> Report {
        Report::new(name, "".into(), vec![Placed::whole(fault)])
    }

    /// A fault at one place of the text (a range of bytes; it may be empty, and past the end means at the end).
    pub fn at(name: &str, text: &str, span: Range<usize>, fault: Fault) -> Report {
        Report::new(name, text.into(), vec![Placed::new(span, fault)])
    }

    pub(super) fn new(name: &str, text: Arc<str>, mut faults: Vec<Placed>) -> Report {
        let count = faults.len();
        let unknown_key = faults.iter().any(|placed| placed.unknown_key);
        in_order(&mut faults);
        // The rest is never shown: hiding thousands of words in thousands of messages would take seconds.
        faults.truncate(DRAWN);
        let masked = secrets::masked(&text);
        for Placed { fault, elsewhere, .. } in &mut faults {
            for Elsewhere { text, .. } in elsewhere {
                if let Some(masked) = secrets::masked(text) {
                    *text = masked.text.into();
                }
            }
            for part in [&mut fault.message, &mut fault.help] {
                if let Some(masked) = &masked {
                    masked.scrub(part);
                }
                tidy(part);
            }
        }
        let text = masked.map_or(text, |masked| masked.text.into());
        Report { name: name.to_owned(), text, faults, more: Vec::new(), count, unknown_key }
    }

    /// Both reports in one.
    pub fn and(mut self, mut other: Report) -> Report {
        if (&self.name, &self.text) == (&other.name, &other.text) {
            self.faults.append(&mut other.faults);
            in_order(&mut self.faults);
            self.faults.truncate(DRAWN);
            self.count += other.count;
            self.unknown_key |= other.unknown_key;
            self.more.append(&mut other.more);
        } else {
            self.more.push(other);
        }
        self
    }

    /// What of it is about the file of this name. `None`: nothing is.
    pub fn about(&self, name: &str) -> Option<Report> {
        if self.name == name {
            return Some(Report { more: Vec::new(), ..self.clone() });
        }
        self.more.iter().find_map(|report| report.about(name))
    }

    /// Both values, or every fault of both.
    pub fn both<A, B>(a: Result<A, Report>, b: Result<B, Report>) -> Result<(A, B), Report> {
        match (a, b) {
            (Ok(a), Ok(b)) => Ok((a, b)),
            (Err(a), Err(b)) => Err(a.and(b)),
            (Err(report), Ok(_)) | (Ok(_), Err(report)) => Err(report),
        }
    }

    /// How many faults there are.
    pub fn count(&self) -> usize {
        self.count + self.more.iter().map(Report::count).sum::<usize>()
    }

    /// The first fault as one line, `file:line:column: message; help`, and how many there are besides.
    pub fn headline(&self) -> String {
        let Some(first) = self.faults.first() else { return self.name.clone() };
        let mut line = self.name.clone();
        if let Some(at) = &first.at {
            let (row, column) = picture::position(&self.text, at.start);
            let _ = write!(line, ":{row}:{column}");
        }
        let _ = write!(line, ": {}", first.fault.message);
        if !first.fault.help.is_empty() {
            let _ = write!(line, "; {}", first.fault.help);
        }
        match self.count().saturating_sub(1) {
            0 => {}
            1 => line.push_str(" (and 1 more fault)"),
            more => {
                let _ = write!(line, " (and {more} more faults)");
            }
        }
        line.replace('\n', " ")
    }

    /// The whole report in the look of rustc, with or without colour.
    pub fn render(&self, colour: bool) -> String {
        let mut out = String::new();
        for placed in &self.faults {
            out.push_str(&picture::draw(&self.name, &self.text, placed, colour));
            out.push_str("\n\n");
        }
        let _ = match self.count {
            1 => write!(out, "{}: 1 fault", self.name),
            all if all > DRAWN => write!(out, "{}: {all} faults; the first {DRAWN} are shown", self.name),
            all => write!(out, "{}: {all} faults", self.name),
        };
        out.push_str(if self.unknown_key { "; `portway example` shows every key\n" } else { "\n" });
        for report in &self.more {
            out.push('\n');
            out.push_str(&report.render(colour));
        }
        out
    }
}

/// By place, and those of one place by their message: they may come from tables without an order.
fn in_order(faults: &mut [Placed]) {
    faults.sort_by_cached_key(|placed| {
        (placed.at.as_ref().map(|at| (at.start, at.end)), placed.fault.message.clone())
    });
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}
