//! Values of a table: from what was typed to what it means. Each function notes what is wrong, with its place.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::or_table::CountOrOff;
use super::place::{Place, is_misspelt, kind};
use super::placed::{At, Placed};
use super::several;
use super::table_schema::TableSchema;
use super::values::{Span, SpanOrOff, Text};
use crate::model::{Fault, units};

/// A text, unless its quotes are missing.
pub(super) fn text<'a>(
    key: &str,
    typed: &'a Text,
    value: &Spanned<DeValue<'_>>,
    faults: &mut Vec<Placed>,
) -> Option<&'a str> {
    if value.get_ref().is_str() {
        return Some(&typed.0);
    }
    let message = format!("`{key}` takes text, not {}", kind(value.get_ref()));
    let fault = Fault::new(message, format!("put it in quotes: \"{}\"", typed.0));
    faults.push(Placed::new(value.span(), fault));
    None
}

/// A duration of at least a millisecond. `None` where the key is absent or has a fault.
pub(super) fn duration(
    place: Place<'_>,
    key: &str,
    typed: Option<Span>,
    faults: &mut Vec<Placed>,
) -> Option<Duration> {
    Spans { place, faults }.required(key, typed, Duration::from_millis(1))
}

/// Durations of one table. `None` where the key is absent or has a fault.
pub(super) struct Spans<'t, 'f> {
    pub place: Place<'t>,
    pub faults: &'f mut Vec<Placed>,
}

impl Spans<'_, '_> {
    pub fn required(&mut self, key: &str, typed: Option<Span>, least: Duration) -> Option<Duration> {
        let typed = typed?.0;
        self.note(key, &typed, |text| units::duration(text, least))
    }

    pub fn or_off(
        &mut self,
        key: &str,
        typed: Option<SpanOrOff>,
        least: Duration,
    ) -> Option<Option<Duration>> {
        let typed = typed?.0;
        self.note(key, &typed, |text| units::duration_or_off(text, least))
    }

    fn note<T>(&mut self, key: &str, typed: &Text, read: impl Fn(&str) -> Result<T, Fault>) -> Option<T> {
        let value = self.place.table.get(key)?;
        let number = matches!(value.get_ref(), DeValue::Integer(_) | DeValue::Float(_));
        let fault = if number && !typed.0.starts_with('-') {
            let off = if typed.0 == "0" && read("off").is_ok() { "off" } else { "" };
            let cure = if off.is_empty() { format!("{}s", typed.0) } else { off.to_owned() };
            Fault::new(format!("the duration `{}` has no unit", typed.0), format!("write \"{cure}\""))
        } else if typed.0 == "false" && read("off").is_ok() {
            Fault::new(format!("`{key}` cannot be `false`"), "write \"off\"")
        } else {
            match read(&typed.0) {
                Ok(read) => return Some(read),
                Err(fault) => fault,
            }
        };
        self.faults.push(Placed::new(value.span(), fault));
        None
    }
}

/// A line that has the key, as it should be.
fn example(schema: &TableSchema, key: &str) -> String {
    schema.example(key).map_or_else(|| key.to_owned(), |example| format!("{key} = {example}"))
}

/// Notes a list that is not there, or has no entries.
pub(super) fn listed(place: Place<'_>, key: &str, entries: Option<usize>, faults: &mut Vec<Placed>) {
    let example = || example(place.schema, key);
    if !place.table.contains_key(key) && !is_misspelt(place, key) {
        let fault =
            Fault::new(format!("the route has no `{key}`"), format!("add a line like this: {}", example()));
        faults.push(Placed::new(place.header(), fault));
    }
    if entries == Some(0) {
        let fault = Fault::new(format!("`{key}` is an empty list"), format!("write {}", example()));
        faults.push(Placed::new(place.value(key), fault));
    }
}

/// Reads one address, of the value that it was typed as.
pub(super) fn address<T: FromStr<Err = Fault>>(
    place: Place<'_>,
    key: &str,
    typed: &Text,
    value: &Spanned<DeValue<'_>>,
    faults: &mut Vec<Placed>,
) -> Option<At<T>> {
    let fault = match typed.0.parse::<T>() {
        _ if value.get_ref().is_bool() => {
            let message = format!("`{key}` takes text, not `{}`", typed.0);
            Fault::new(message, format!("write {}", example(place.schema, key)))
        }
        Ok(spec) => {
            text(key, typed, value, faults)?;
            return Some(At { value: spec, at: value.span() });
        }
        Err(fault) => several::fault(place, key, value, |entry| entry.parse::<T>().is_ok()).unwrap_or(fault),
    };
    faults.push(Placed::new(value.span(), fault));
    None
}

/// A number from 1, or "off". `None` where the key is absent or has a fault.
pub(super) fn count(
    place: Place<'_>,
    key: &str,
    typed: Option<CountOrOff>,
    faults: &mut Vec<Placed>,
) -> Option<Option<u32>> {
    let (value, typed) = (place.table.get(key)?, typed?.0.0);
    let (number, off) = (value.get_ref().is_integer(), value.get_ref().as_str() == Some("off"));
    let cure = || format!("write a number from 1, or \"off\": {key} = 100");
    let fault = match typed.parse::<i64>().ok().map(u32::try_from) {
        _ if off => return Some(None),
        Some(Ok(0)) if number => Fault::new(
            format!("with `{key} = 0` no client could connect"),
            "write a number from 1; to keep all out, remove the route",
        ),
        Some(Ok(count)) if number => return Some(Some(count)),
        Some(_) if number => {
            Fault::new(format!("`{key}` cannot be {typed}"), format!("the most is {}", u32::MAX))
        }
        Some(_) => Fault::new(
            format!("`{key}` takes a number, not text"),
            format!("remove the quotes: {key} = {typed}"),
        ),
        None => Fault::new(format!("`{key}` cannot be `{typed}`"), cure()),
    };
    faults.push(Placed::new(value.span(), fault));
    None
}

/// A text that means something, or "off". `None` where the key is absent or has a fault.
pub(super) fn or_off<T: FromStr<Err = Fault>>(
    place: Place<'_>,
    key: &str,
    typed: Option<Text>,
    faults: &mut Vec<Placed>,
) -> Option<Option<T>> {
    let (value, typed) = (place.table.get(key)?, typed?);
    let fault = match typed.0.parse::<T>() {
        _ if value.get_ref().as_str() == Some("off") => return Some(None),
        Ok(read) => {
            text(key, &typed, value, faults)?;
            return Some(Some(read));
        }
        Err(fault) => fault,
    };
    faults.push(Placed::new(value.span(), fault));
    None
}

/// The path of a file that is read. `None` where the key is absent or has a fault.
pub(super) fn path(
    place: Place<'_>,
    key: &str,
    typed: Option<Text>,
    faults: &mut Vec<Placed>,
) -> Option<PathBuf> {
    path_of(key, typed.as_ref()?, place.table.get(key)?, faults)
}

/// The path of a file, of the value that it was typed as.
pub(super) fn path_of(
    key: &str,
    typed: &Text,
    value: &Spanned<DeValue<'_>>,
    faults: &mut Vec<Placed>,
) -> Option<PathBuf> {
    let text = text(key, typed, value, faults)?;
    let fault = match text {
        "" if key == "file" => Fault::new("the path is empty", "write the path of a file"),
        "" => Fault::new("the path is empty", "write the path of a file in PEM"),
        text if text.contains(['\0', '\n']) => {
            Fault::new("the path has a NUL byte or a new line in it", "remove it")
        }
        text => return Some(text.into()),
    };
    faults.push(Placed::new(value.span(), fault));
    None
}

/// A number from 1 to `most`.
pub(super) fn number(
    place: Place<'_>,
    key: &str,
    typed: Option<i64>,
    most: u32,
    faults: &mut Vec<Placed>,
) -> Option<u32> {
    let typed = typed?;
    match u32::try_from(typed) {
        Ok(number) if (1..=most).contains(&number) => return Some(number),
        _ => {}
    }
    let fault = Fault::new(format!("`{key}` cannot be {typed}"), format!("write a number from 1 to {most}"));
    faults.push(Placed::new(place.value(key), fault));
    None
}
