//! One table of the document to one type, with every fault of its keys, and the place of each value.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::placed::Placed;
use super::suggest::{list, nearest, nearest_free};
use super::table_schema::{TableSchema, TypedTable};
use crate::model::Fault;

/// A table of the document, for finding places in it.
#[derive(Clone, Copy)]
pub(super) struct Place<'t> {
    /// Its keys.
    pub schema: &'t TableSchema,
    pub table: &'t DeTable<'t>,
    header: (usize, usize),
}

impl<'t> Place<'t> {
    pub(super) fn new(schema: &'t TableSchema, table: &'t DeTable<'t>, header: Range<usize>) -> Self {
        Place { schema, table, header: (header.start, header.end) }
    }

    /// Of a table of this type.
    pub(super) fn of<T: TypedTable>(table: &'t DeTable<'t>, header: Range<usize>) -> Self {
        Place::new(T::schema(), table, header)
    }

    /// Whether the table has a key that is not known: that is a fault, noted elsewhere.
    pub(super) fn has_unknown_keys(self) -> bool {
        self.table.keys().any(|key| !self.schema.has(key.get_ref()))
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
pub(super) fn read<T: TypedTable>(place: Place<'_>, faults: &mut Vec<Placed>) -> T {
    let known = T::schema();
    let mut left_out = dates(place, known, faults);
    // serde stops at the first fault: each turn leaves one key out, and there are only so many known keys.
    loop {
        let wanted = |key: &str| known.has(key) && !left_out.contains(&key);
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
        let entry = entries.find(|item| item.span() == at);
        // Of a list of tables, where one table belongs, the brackets are wrong.
        let one_table = place.schema.table_of(key.get_ref()).is_some();
        let entry = entry.filter(|entry| !(one_table && entry.get_ref().is_table()));
        let of_list = entry.is_some();
        let value = entry.unwrap_or(value);
        let wrong = Wrong { key: key.get_ref(), value: value.get_ref(), of_list };
        let fault = wrong_value(place.schema, wrong, error.message());
        faults.push(Placed::new(value.span(), fault));
        left_out.push(key.get_ref());
    }
}

/// Notes the dates of known keys, of which none takes one, and returns these keys. serde would give a date as a table.
fn dates<'t>(place: Place<'t>, known: &TableSchema, faults: &mut Vec<Placed>) -> Vec<&'t str> {
    let is_date = |value: &&Spanned<DeValue<'_>>| matches!(value.get_ref(), DeValue::Datetime(_));
    let mut keys = Vec::new();
    for (key, value) in place.table.iter().filter(|(key, _)| known.has(key.get_ref())) {
        let key: &str = key.get_ref();
        let Some(date) = place.items(key).find(is_date) else { continue };
        let wrong = Wrong { key, value: date.get_ref(), of_list: value.get_ref().is_array() };
        faults.push(Placed::new(date.span(), wrong_value(place.schema, wrong, "")));
        keys.push(key);
    }
    keys
}

/// Whether a key that the table does not know was probably meant to be this one.
pub(super) fn is_misspelt(place: Place<'_>, key: &str) -> bool {
    let mut unknown = place.table.keys().filter(|typed| !place.schema.has(typed.get_ref()));
    unknown.any(|typed| meant(place.table, place.schema, typed.get_ref()) == Some(key))
}

/// The key that was probably meant. What other programs call it may be one of two: then the one that the table lacks.
pub(super) fn meant<'s>(table: &DeTable<'_>, schema: &'s TableSchema, typed: &str) -> Option<&'s str> {
    nearest_free(typed, &schema.known(), |word| !table.contains_key(word))
}

/// A value that a key does not take.
#[derive(Clone, Copy)]
struct Wrong<'w> {
    key: &'w str,
    value: &'w DeValue<'w>,
    /// It is an entry of the key's list.
    of_list: bool,
}

/// A value of a type, or a word, that the key does not take.
fn wrong_value(schema: &TableSchema, wrong: Wrong<'_>, reason: &str) -> Fault {
    let Wrong { key, value, of_list } = wrong;
    let words = schema.words(key);
    let quoted = || list(words.iter().map(|word| format!("\"{word}\"")), "or");
    if let Some(fault) = in_brackets(schema, key, value) {
        return fault;
    }
    match (key, value) {
        (_, DeValue::String(word)) if !words.is_empty() => {
            let help = match nearest(word, &words) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("write {}", quoted()),
            };
            Fault::new(format!("`{key}` cannot be `{word}`"), help)
        }
        (_, DeValue::Array(items)) if let Some(word) = joined(items, &words) => Fault::new(
            format!("`{key}` takes one word, which may be for several"),
            format!("write \"{word}\""),
        ),
        _ if !words.is_empty() => {
            Fault::new(format!("`{key}` takes a word, not {}", kind(value)), format!("write {}", quoted()))
        }
        _ => match schema.example(key) {
            Some(example) => Fault::new(
                match value {
                    DeValue::Float(_) if example.is_number() => format!("`{key}` takes a whole number"),
                    _ => format!("`{key}` takes {}, not {}", taken(example, of_list), kind(value)),
                },
                format!("write it like this: {key} = {}", as_toml(example)),
            ),
            None => Fault::new(reason, ""),
        },
    }
}

/// The word that stands for all of a list: "tcp+udp" for ["tcp", "udp"].
fn joined<'w>(items: &[Spanned<DeValue<'_>>], words: &[&'w str]) -> Option<&'w str> {
    let mut parts: Vec<&str> = items.iter().filter_map(|item| item.get_ref().as_str()).collect();
    parts.sort_unstable();
    words.iter().find(|word| parts.len() > 1 && **word == parts.join("+").to_lowercase()).copied()
}

/// The fault of a list with one entry, or of `[[route.tls]]`, where one value or table belongs.
fn in_brackets(schema: &TableSchema, key: &str, value: &DeValue<'_>) -> Option<Fault> {
    let DeValue::Array(items) = value else { return None };
    let takes_table = schema.table_of(key).is_some();
    let table = !items.is_empty() && items.iter().all(|item| item.get_ref().is_table());
    let message = match (table && takes_table, schema.takes_list(key)) {
        (true, true) => format!("`{key}` takes one table, not a list of them"),
        (true, false) => format!("`{key}` is a table, not a list"),
        (false, false) if items.len() == 1 => format!("`{key}` takes one value, not a list"),
        _ => return None,
    };
    Some(Fault::new(message, "remove the brackets around it: `[` and `]`"))
}

/// The type of an example, or of the entries of its list, for a person.
fn taken(example: &serde_json::Value, of_list: bool) -> &'static str {
    match example {
        serde_json::Value::Array(_) if !of_list => "a list",
        serde_json::Value::Array(items) => items.first().map_or("text", |entry| taken(entry, false)),
        serde_json::Value::Number(_) => "a whole number",
        serde_json::Value::Bool(_) => "`true` or `false`",
        serde_json::Value::Object(_) => "a table",
        _ => "text",
    }
}

/// An example as a person writes it: JSON and TOML differ in tables only.
pub(super) fn as_toml(example: &serde_json::Value) -> String {
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
