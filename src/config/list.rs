//! A list of networks in a file of its own.

use std::borrow::Cow;

use super::document;
use super::placed::Placed;
use super::report::Report;
use crate::model::NetworkSet;
use crate::model::cidr::read_list;

/// Reads a list of networks: one a line; `#` begins a comment. `name` is what the report calls it.
pub fn network_list(name: &str, bytes: &[u8]) -> Result<NetworkSet, Report> {
    let text = plain_lines(document::decode(name, bytes)?);
    read_list(&text).map_err(|bad| {
        let placed = bad.into_iter().map(|line| Placed::new(line.at, line.error));
        Report::new(name, text.as_ref().into(), placed.collect())
    })
}

/// The text of the same length, with LF where CR alone ends a line, and without the byte-order marks of files that were
/// put together: a comment must not hide what stands behind it.
fn plain_lines(text: &str) -> Cow<'_, str> {
    const MARK: char = '\u{feff}';
    let bare = text.bytes().filter(|byte| *byte == b'\r').count() > text.matches("\r\n").count();
    if !bare && !text.contains(MARK) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() != Some(&'\n') => plain.push('\n'),
            MARK => plain.push_str("   "),
            c => plain.push(c),
        }
    }
    Cow::Owned(plain)
}
