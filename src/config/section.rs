//! One table of the document to one type, with every fault of its keys, and the place of each value.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::report::Placed;
use super::schema::{self, Section};
use super::suggest::{list, nearest};
use crate::model::Fault;

/// A table of the document, for finding places in it.
#[derive(Clone, Copy)]
pub(super) struct Place<'t> {
    pub section: Section,
    pub table: &'t DeTable<'t>,
    header: (usize, usize),
}

impl<'t> Place<'t> {
    pub(super) fn new(section: Section, table: &'t DeTable<'t>, header: Range<usize>) -> Self {
        Place { section, table, header: (header.start, header.end) }
    }

    /// The header of the table, or the whole of an inline one.
    pub(super) fn header(self) -> Range<usize> {
        self.header.0..self.header.1
    }

    /// The place of a key's value.
    pub(super) fn value(self, key: &str) -> Range<usize> {
        self.table.get(key).map_or_else(|| self.header(), Spanned::span)
    }

    /// The value of a key that takes one text or a list, as a list.
    pub(super) fn items(self, key: &str) -> impl Iterator<Item = &'t Spanned<DeValue<'t>>> {
        let value = self.table.get(key);
        let items: &[_] = match value.map(Spanned::get_ref) {
            Some(DeValue::Array(items)) => items.as_ref(),
            _ => value.map_or(&[], std::slice::from_ref),
        };
        items.iter()
    }
}

/// Reads a table. What is wrong with a key is noted, and the key left out of the value.
pub(super) fn read<T: DeserializeOwned + Default>(
    place: Place<'_>,
    keys: Section,
    faults: &mut Vec<Placed>,
) -> T {
    let known = schema::keys(keys);
    let mut left_out: Vec<&str> = Vec::new();
    // serde stops at the first fault: each turn leaves one key out, and there are only so many known keys.
    loop {
        let wanted = |key: &str| known.contains(&key) && !left_out.contains(&key);
        let kept = place.table.iter().filter(|(key, _)| wanted(key.get_ref()));
        let table: DeTable<'_> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        if table.is_empty() {
            return T::default();
        }
        let value = Spanned::new(place.header(), DeValue::Table(table));
        let error = match T::deserialize(ValueDeserializer::from(value)) {
            Ok(typed) => return typed,
            Err(error) => error,
        };
        let at = error.span().unwrap_or_default();
        let culprit = place.table.iter().find(|(key, value)| {
            wanted(key.get_ref()) && value.span().start <= at.start && at.end <= value.span().end
        });
        let Some((key, value)) = culprit else {
            faults.push(Placed::new(place.header(), Fault::new(error.message(), "")));
            return T::default();
        };
        let mut entries = value.get_ref().as_array().into_iter().flat_map(|items| items.iter());
        let entry = entries.find(|item| item.span() == at && value.span() != at);
        let value = entry.unwrap_or(value);
        let fault = wrong_value(place.section, key.get_ref(), value.get_ref(), error.message());
        faults.push(Placed::new(value.span(), fault));
        left_out.push(key.get_ref());
    }
}

/// How many unknown keys of one table are noted. A table with more of them is not meant for us.
const NOTED: usize = 1000;

/// Notes the keys that the section does not know.
pub(super) fn unknown_keys(place: Place<'_>, faults: &mut Vec<Placed>) {
    let known = schema::keys(place.section);
    let unknown = place.table.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
    for key in unknown.take(NOTED) {
        faults.push(Placed::new(key.span(), unknown_key(place.section, key.get_ref())));
    }
}

fn unknown_key(section: Section, key: &str) -> Fault {
    let known = schema::keys(section);
    let shown = |key: &str| match (section, key) {
        (Section::Root, "route") => "`[[route]]`".to_owned(),
        (Section::Root, key) => format!("`[{key}]`"),
        (_, key) => format!("`{key}`"),
    };
    let message = match section {
        Section::Root => format!("`{key}` is not known here"),
        Section::Log => format!("`[log]` has no key `{key}`"),
        Section::Defaults | Section::Policy | Section::Clients => format!("`[defaults]` has no key `{key}`"),
        Section::Route | Section::Own => format!("a route has no key `{key}`"),
        Section::Upstream => format!("an upstream has no key `{key}`"),
        Section::ListFile => format!("a list in a file has no key `{key}`"),
        Section::Bandwidth => format!("`bandwidth` has no key `{key}`"),
        Section::Limits => format!("`[limits]` has no key `{key}`"),
        Section::Admin => format!("`[admin]` has no key `{key}`"),
        Section::ProxyProtocol => format!("`proxy_protocol` has no key `{key}`"),
        Section::Tls => format!("`tls` has no key `{key}`"),
        Section::UpstreamTls => format!("`tls.upstream` has no key `{key}`"),
        Section::Health => format!("`health` has no key `{key}`"),
    };
    let belongs = |section| schema::keys(section).contains(&key);
    let help = if section != Section::Route && belongs(Section::Route) && !belongs(Section::Defaults) {
        format!("`{key}` belongs to a route: put it below a line `[[route]]`")
    } else if section == Section::Root && belongs(Section::Defaults) {
        format!("for all routes put `{key}` below a line `[defaults]`, for one below its `[[route]]`")
    } else if section != Section::Log && belongs(Section::Log) {
        format!("`{key}` belongs to `[log]`")
    } else if section == Section::Route && belongs(Section::Upstream) {
        let example = schema::example(Section::Upstream, key).map(ToString::to_string).unwrap_or_default();
        format!("`{key}` belongs to an upstream: upstream = {{ address = \"app:3000\", {key} = {example} }}")
    } else if section == Section::Route && belongs(Section::Health) {
        let example = schema::example(Section::Health, key).map(ToString::to_string).unwrap_or_default();
        format!("`{key}` belongs to `health`: health = {{ {key} = {example} }}")
    } else if section == Section::Route && belongs(Section::Tls) {
        let example = schema::example(Section::Tls, key).map(ToString::to_string).unwrap_or_default();
        format!("`{key}` belongs to `tls`: tls = {{ {key} = {example} }}")
    } else if let Some(near) = nearest(key, known) {
        format!("did you mean {}?", shown(near))
    } else {
        format!("the keys are {}", list(known.iter().map(|key| shown(key)), "and"))
    };
    Fault::new(message, help)
}

/// Whether a key that the section does not know was probably meant to be this one.
pub(super) fn is_misspelt(place: Place<'_>, key: &str) -> bool {
    let known = schema::keys(place.section);
    let mut unknown = place.table.keys().filter(|typed| !known.contains(&typed.get_ref().as_ref()));
    unknown.any(|typed| nearest(typed.get_ref(), known) == Some(key))
}

/// A value of a type, or a word, that the key does not take.
fn wrong_value(section: Section, key: &str, value: &DeValue<'_>, reason: &str) -> Fault {
    let words = schema::words(section, key);
    let quoted = || list(words.iter().map(|word| format!("\"{word}\"")), "or");
    match (key, value) {
        (_, DeValue::String(word)) if !words.is_empty() => {
            let help = match nearest(word, &words) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("write {}", quoted()),
            };
            Fault::new(format!("`{key}` cannot be `{word}`"), help)
        }
        _ if !words.is_empty() => {
            Fault::new(format!("`{key}` takes a word, not {}", kind(value)), format!("write {}", quoted()))
        }
        _ => match schema::example(section, key) {
            Some(example) => Fault::new(
                match value {
                    DeValue::Float(_) if example.is_number() => format!("`{key}` takes a whole number"),
                    _ => format!("`{key}` takes {}, not {}", taken(example), kind(value)),
                },
                format!("write it like this: {key} = {}", as_toml(example)),
            ),
            None => Fault::new(reason, ""),
        },
    }
}

/// The type of an example, for a person.
fn taken(example: &serde_json::Value) -> &'static str {
    match example {
        serde_json::Value::Number(_) => "a whole number",
        serde_json::Value::Bool(_) => "`true` or `false`",
        serde_json::Value::Object(_) => "a table",
        _ => "text",
    }
}

/// An example as a person writes it: JSON and TOML differ in tables only.
fn as_toml(example: &serde_json::Value) -> String {
    match example {
        serde_json::Value::Object(table) => {
            let pairs: Vec<String> =
                table.iter().map(|(key, value)| format!("{key} = {}", as_toml(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        serde_json::Value::Array(items) => {
            format!("[{}]", items.iter().map(as_toml).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// The type of a value, for a person.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(true) => "`true`",
        DeValue::Boolean(false) => "`false`",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
