//! Faults of the syntax, in our words. The parser says what it expected; a person wants to know what to type.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::line::Line;
use super::other_languages::{self, QUOTES};
use super::placed::Placed;
use super::suggest::nearest;
use super::unknown::route_schema;
use crate::model::Fault;

/// What the parser found wrong.
pub(super) struct Complaint {
    pub message: String,
    pub at: Range<usize>,
}

/// The complaints as faults: one for each line, and without those that only echo an earlier one.
pub(super) fn faults(text: &str, document: &DeTable<'_>, mut complaints: Vec<Complaint>) -> Vec<Placed> {
    let routes_twice = |complaint: &Complaint| {
        complaint.message == DUPLICATE && text.get(complaint.at.clone()) == Some("route")
    };
    let echo_of_routes = complaints.iter().any(routes_twice);
    // The structure comes first, then what stands in it: on each line the first word is the structure's.
    complaints.sort_by_cached_key(|complaint| Line::of(text, complaint.at.start).start);
    let mut faults = Vec::new();
    let (mut last, mut block, mut in_list) = (None, 0, false);
    for complaint in &complaints {
        let line = Line::of(text, complaint.at.start);
        let again = last.replace(line.start) == Some(line.start) || line.start < block;
        let again = again || (in_list && complaint.message.starts_with(MISSING_COMMA));
        in_list = false;
        let echo = echo_of_routes && complaint.message == DUPLICATE && !routes_twice(complaint);
        if again || echo {
            continue;
        }
        block = other_languages::end_of_block(text, &line).unwrap_or(block);
        if let Some(fault) = other_languages::of_line(&line) {
            faults.push(fault);
            // What stood behind the last comma of a list, so the next entry is a complaint too.
            in_list = true;
            continue;
        }
        if let Some(open) = open_list(text, complaint) {
            faults.push(open);
            // The list swallows what follows, and each line of it is a complaint.
            break;
        }
        faults.push(describe(text, document, complaint));
    }
    faults
}

/// A list that was never closed: the complaint is about the next key or header, and the fault is before it.
fn open_list(text: &str, complaint: &Complaint) -> Option<Placed> {
    let line = Line::of(text, complaint.at.start);
    let before = text.get(..complaint.at.start)?;
    let entry = line.text.trim_start().starts_with(['"', '\'']);
    let first = text.get(line.start..complaint.at.start)?.trim().is_empty();
    if !complaint.message.starts_with(MISSING_COMMA) || entry || !first {
        return None;
    }
    let end = before.trim_end().len();
    let fault = Fault::new("the `]` of a list is missing", "put `]` after the last entry");
    let placed = Placed::new(end..end, fault);
    Some(match before.rfind("= [").map(|list| list + 2) {
        Some(list) => placed.also(list..list, "the list begins here"),
        None => placed,
    })
}

const DUPLICATE: &str = "duplicate key";
const MISSING_COMMA: &str = "missing comma between array";

fn describe(text: &str, document: &DeTable<'_>, complaint: &Complaint) -> Placed {
    let Complaint { message, at } = complaint;
    if message == DUPLICATE {
        return duplicate(text, document, at);
    }
    let line = Line::of(text, at.start);
    if let Some(fault) = unquoted(&line, message) {
        return fault;
    }
    if message.starts_with("unexpected key or value") {
        let rest = text.get(at.start..line.start + line.text.len()).unwrap_or_default();
        return Placed::new(at.clone(), behind(&line, rest.trim()));
    }
    if message.starts_with("key with no value") {
        return Placed::new(at.clone(), no_equals(&line));
    }
    if message.starts_with("invalid basic string") || message.starts_with("invalid literal string") {
        let quote = if message.contains("basic") { '"' } else { '\'' };
        let rest = text.get(at.start..line.start + line.text.len()).unwrap_or_default();
        let fault = match rest.chars().next() {
            None => Fault::new("the text has no closing quote", format!("put {quote} at its end")),
            Some(_) => {
                Fault::new("this cannot stand in a text", format!("remove it, or put {quote} before it"))
            }
        };
        return Placed::new(at.clone(), fault);
    }
    if message.starts_with("unclosed array table") || message.starts_with("unclosed table") {
        let name = line.text.trim().trim_matches(['[', ']']);
        let (open, close) = if message.contains("array") { ("[[", "]]") } else { ("[", "]") };
        let fault = Fault::new(format!("`{close}` is missing"), format!("write {open}{name}{close}"));
        return Placed::new(at.clone(), fault);
    }
    let placed = |(ours, cure): (&str, &str)| Placed::new(at.clone(), Fault::new(ours, cure));
    let ours = OURS.iter().find(|(start, ..)| message.starts_with(start));
    match ours {
        Some((_, ours, cure)) => placed((ours, cure)),
        None => placed((message, "a line is [[route]], or key = \"value\", or a comment after #")),
    }
}

/// What stands behind the end of a line that is whole.
fn behind(line: &Line<'_>, rest: &str) -> Fault {
    let header = line.text.trim_start().starts_with('[');
    match rest {
        "," => Fault::new("a line ends without a comma", "remove the `,`"),
        "]" | "]]" if header => {
            let name = line.text.trim().trim_matches(['[', ']']);
            let cure = if nearest(name, &["route"]).is_some() {
                format!("write [[{name}]]")
            } else {
                format!("write [{name}]")
            };
            Fault::new("the header has more brackets on one side", cure)
        }
        _ => Fault::new("the line goes on behind its end", "put what stands here on a line of its own"),
    }
}

fn no_equals(line: &Line<'_>) -> Fault {
    let words = line.text.trim().trim_start_matches("- ").trim_end_matches(';');
    // As shells and other languages assign.
    let assigned =
        ["set ", "let ", "export ", "var ", "const "].iter().find_map(|word| words.strip_prefix(word));
    let words = assigned.unwrap_or(words);
    let (key, value) = words.split_once([':', ' ', '\t', '=']).unwrap_or((words, ""));
    let value =
        value.trim_start_matches([' ', '\t', ':', '=', '-', '>']).trim().trim_matches(straight_or_not);
    if matches!(words, "}" | "};" | ")" | "]" | "end") {
        return Fault::new(format!("nothing ends with `{words}` here"), "remove the line");
    }
    let known = route_schema().known();
    let ours = if known.contains(&key) { key } else { nearest(key, &known).unwrap_or(key) };
    let help = match value {
        "" | "{" if nearest(key, &["route"]).is_some() => "write [[route]]".to_owned(),
        "" => format!("write {key} = \"value\""),
        number if ours.starts_with("max_") && number.parse::<u32>().is_ok() => {
            format!("write {ours} = {number}")
        }
        value => format!("write {ours} = \"{value}\""),
    };
    Fault::new("there is no `=` after the key", help)
}

/// Quotes, also those of word processors.
fn straight_or_not(c: char) -> bool {
    matches!(c, '"' | '\'') || QUOTES.contains(&c)
}

/// The start of the parser's message, ours, and the cure.
const OURS: &[(&str, &str, &str)] = &[
    (MISSING_COMMA, "a comma is missing between two entries", "put a comma between the entries"),
    ("extra `=`", "there is one `=` too many", "remove it"),
    ("unclosed array", "the `]` of a list is missing", "put `]` after the last entry"),
    (
        "missing escaped value",
        "after a backslash only certain letters can stand",
        "for a backslash write \\\\, or put the text in single quotes",
    ),
    (
        "cannot recurse further",
        "lists or tables stand too deep in each other",
        "Portway needs two levels: remove the brackets",
    ),
    (
        "carriage return must",
        "a line ends with a bare carriage return",
        "save the file with line ends of Unix (LF) or Windows (CR LF)",
    ),
    ("unquoted keys cannot be empty", "there is no key before `=`", "write a key, or remove the line"),
    ("unclosed inline table", "the `}` of a table is missing", "put `}` after its last value"),
    ("missing key for inline table", "a table in braces has keys and values", "write { key = \"value\" }"),
    (
        "invalid unquoted key",
        "a key has letters, digits, `_` and `-`",
        "put the text of a value in quotes, after `=`",
    ),
];

/// A value without its quotes.
fn unquoted(line: &Line<'_>, message: &str) -> Option<Placed> {
    const SCALAR: &[&str] = &[
        "string values must be quoted",
        "invalid float",
        "invalid integer",
        "invalid boolean",
        "invalid datetime",
        "invalid value",
        "missing value",
        "unexpected leading zero",
        "redundant",
        "radix must",
        "integers with",
        "`_` may only",
        "unexpected sign",
    ];
    if !SCALAR.iter().any(|start| message.starts_with(start)) {
        return None;
    }
    let equals = line.text.find('=')?;
    let after = &line.text[equals + 1..];
    let value = after.split('#').next()?.trim();
    let start = line.start + equals + 1 + (after.len() - after.trim_start().len());
    let fault = if value.is_empty() {
        let key = line.text[..equals].trim();
        let start = line.start + equals;
        let fault = Fault::new(
            format!("`{key}` has no value"),
            format!("write {key} = \"value\", or remove the line"),
        );
        return Some(Placed::new(start..start, fault));
    } else if value.contains(['"', '\'', '[', '{', ',']) {
        return None;
    } else {
        let bare = value.trim_matches(straight_or_not);
        let message = match bare == value {
            true => format!("`{value}` stands without quotes"),
            false => format!("`{value}` does not stand in straight quotes"),
        };
        Fault::new(message, format!("write \"{bare}\""))
    };
    Some(Placed::new(start..start + value.len(), fault))
}

fn duplicate(text: &str, document: &DeTable<'_>, at: &Range<usize>) -> Placed {
    let key = text.get(at.clone()).unwrap_or_default();
    let line = Line::of(text, at.start);
    if !line.text.trim_start().starts_with('[') {
        let fault = Fault::new(format!("`{key}` is set twice"), "remove one of them");
        let placed = Placed::new(at.clone(), fault);
        return match first_of(document, key, at) {
            Some(first) => placed.also(first, "first here"),
            None => placed,
        };
    }
    let fault = match key {
        "route" => Fault::new(
            "`[route]` stands here twice",
            "of a list of routes each begins with [[route]], the first one too",
        ),
        _ => Fault::new(format!("`[{key}]` stands here twice"), "put its keys below one header"),
    };
    let placed = Placed::new(at.clone(), fault);
    let header = format!("[{key}]");
    let mut before = text[..line.start].split_inclusive('\n').scan(0, |end, line| {
        *end += line.len();
        Some((*end - line.len(), line))
    });
    match before.find(|(_, line)| line.trim_start().starts_with(&header)) {
        Some((start, line)) => {
            let start = start + (line.len() - line.trim_start().len()) + 1;
            placed.also(start..start + key.len(), "first here")
        }
        None => placed,
    }
}

/// Where the key stands first, in the table that the place is in.
fn first_of(document: &DeTable<'_>, key: &str, again: &Range<usize>) -> Option<Range<usize>> {
    let tables = document.values().flat_map(|value| match value.get_ref() {
        DeValue::Table(table) => vec![(value.span(), table)],
        DeValue::Array(items) => {
            items.iter().filter_map(|item| Some((item.span(), item.get_ref().as_table()?))).collect()
        }
        _ => Vec::new(),
    });
    let (_, table) = tables
        .filter(|(header, _)| header.start < again.start)
        .max_by_key(|(header, _)| header.start)
        .unwrap_or((0..0, document));
    let first = table.get_key_value(key).map(|(key, _)| Spanned::span(key))?;
    (first.start < again.start).then_some(first)
}
