//! Bytes to a TOML document, with every fault of the syntax.

use std::collections::HashSet;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::other_languages;
use super::parse::{self, DEEPEST};
use super::placed::Placed;
use super::report::Report;
use super::syntax::{self, Complaint};
use crate::model::Fault;

/// The text of a file, without a byte-order mark.
pub(super) fn decode<'b>(name: &str, bytes: &'b [u8]) -> Result<&'b str, Report> {
    let refuse = |bytes: &[u8], at: Range<usize>, message: String, help: String| {
        // Lossy: up to the first odd byte it is the same, and only lines up to there are shown.
        Err(Report::at(name, &String::from_utf8_lossy(bytes), at, Fault::new(message, help)))
    };
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(Report::about_file(name, Fault::new("the file is UTF-16", "save it as UTF-8")));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            let byte = bytes.get(at).copied().unwrap_or_default();
            let latin = match char::from(byte) {
                c if c.is_alphabetic() => format!(" (in Latin-1 it would be `{c}`)"),
                _ => String::new(),
            };
            let message = format!("the byte 0x{byte:02X} is not UTF-8 here");
            return refuse(
                bytes,
                at..at + char::REPLACEMENT_CHARACTER.len_utf8(),
                message,
                format!("save the file as UTF-8{latin}"),
            );
        }
    };
    if let Some(at) = text.find('\0') {
        let message = format!("the file has {} NUL bytes, the first one here", text.matches('\0').count());
        let message = message.replace("has 1 NUL bytes, the first one here", "has a NUL byte here");
        let help = "a full disk or a crash may have left it half written: write the file again";
        return refuse(bytes, at..at, message, help.into());
    }
    Ok(text)
}

/// The document, as far as it could be read, and the faults of its syntax.
pub(super) fn parse(text: &str) -> (DeTable<'_>, Vec<Placed>) {
    let (document, errors) = match parse::document(text) {
        Ok(parsed) => parsed,
        Err(at) => {
            let fault = Fault::new(
                format!("the key has more than {DEEPEST} parts"),
                "no key of Portway has dots in it: remove the line",
            );
            return (DeTable::new(), vec![Placed::new(at, fault)]);
        }
    };
    let of_file = if errors.is_empty() { Vec::new() } else { other_languages::of_file(text) };
    if !of_file.is_empty() {
        return (DeTable::new(), of_file);
    }
    let complaints = errors
        .into_iter()
        .map(|error| Complaint { message: error.message().to_owned(), at: error.span().unwrap_or_default() });
    let faults = syntax::faults(text, &document, complaints.collect());
    (document, faults)
}

/// Drops the faults that touch a part of the file in which the syntax has one as well: they may be its echo. A part is
/// a header and what follows it.
pub(super) fn without_echoes(document: &DeTable<'_>, syntax: &[Placed], faults: Vec<Placed>) -> Vec<Placed> {
    let mut headers: Vec<usize> = document
        .values()
        .flat_map(|value| match value.get_ref() {
            DeValue::Array(items) => items.iter().map(|item| item.span().start).collect(),
            _ => vec![value.span().start],
        })
        .collect();
    headers.sort_unstable();
    let part = |at: &Range<usize>| headers.partition_point(|header| *header <= at.start);
    let broken: HashSet<usize> = syntax.iter().filter_map(|placed| placed.at.as_ref()).map(part).collect();
    let places = |placed: &Placed| -> Vec<usize> {
        placed.at.iter().chain(placed.also.iter().map(|(at, _)| at)).map(part).collect()
    };
    faults
        .into_iter()
        .filter(|placed| placed.at.is_some() && places(placed).iter().all(|part| !broken.contains(part)))
        .collect()
}
