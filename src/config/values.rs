//! Values of the file as they are typed: texts, durations, lists.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{
    Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor, value::SeqAccessDeserializer,
};

/// A text. Numbers and booleans are taken too: `compile` sees in the document that the quotes are missing, and says so.
#[derive(Clone, Debug)]
pub(super) struct Text(pub String);

/// A duration with its unit.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Span(pub Text);

/// A duration with its unit, or `"off"`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SpanOrOff(pub Text);

/// One text, or a list of them.
#[derive(Clone, Debug)]
pub(super) struct List(pub Vec<Text>);

/// A text, or a table: which of its keys are wrong is found in the document.
#[derive(Clone, Debug)]
pub(super) struct MaybeText(pub Option<Text>);

/// Anything but a table or a list, as text.
pub(super) struct Scalar;

impl Visitor<'_> for Scalar {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_owned()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<Text, E> {
        Ok(Text(yes.to_string()))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(Scalar)
    }
}

/// One text or several.
pub(super) struct Texts;

impl<'de> Visitor<'de> for Texts {
    type Value = List;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a list of texts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<List, E> {
        Scalar.visit_str(text).map(|text| List(vec![text]))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<List, E> {
        Scalar.visit_i64(number).map(|text| List(vec![text]))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<List, E> {
        Scalar.visit_f64(number).map(|text| List(vec![text]))
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<List, E> {
        Scalar.visit_bool(yes).map(|text| List(vec![text]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<List, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(items)).map(List)
    }
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(Texts)
    }
}

/// A text, or a table that is passed over.
pub(super) struct TextOrTable;

impl<'de> Visitor<'de> for TextOrTable {
    type Value = MaybeText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a table")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<MaybeText, E> {
        Scalar.visit_str(text).map(|text| MaybeText(Some(text)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<MaybeText, E> {
        Scalar.visit_i64(number).map(|text| MaybeText(Some(text)))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<MaybeText, E> {
        Scalar.visit_f64(number).map(|text| MaybeText(Some(text)))
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<MaybeText, E> {
        Scalar.visit_bool(yes).map(|text| MaybeText(Some(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<MaybeText, A::Error> {
        while table.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(MaybeText(None))
    }
}

impl<'de> Deserialize<'de> for MaybeText {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(TextOrTable)
    }
}

impl JsonSchema for Text {
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

impl JsonSchema for List {
    fn schema_name() -> Cow<'static, str> {
        "List".into()
    }

    fn json_schema(texts: &mut SchemaGenerator) -> Schema {
        let text = texts.subschema_for::<Text>();
        json_schema!({ "anyOf": [text, { "type": "array", "items": text, "minItems": 1 }] })
    }
}

/// Numbers with their units, as `humantime` reads them.
macro_rules! span_pattern {
    ($start:literal) => {
        concat!(
            "^\\s*(",
            $start,
            "([0-9]+(\\.[0-9]+)?\\s*(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds|second|secs|sec|s|minutes|minute|mins|min|m",
            "|hours|hour|hrs|hr|h|days|day|d|weeks|week|wks|wk|w|months|month|M|years|year|yrs|yr|y)\\s*)+)\\s*$"
        )
    };
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": span_pattern!("") })
    }
}

impl JsonSchema for SpanOrOff {
    fn schema_name() -> Cow<'static, str> {
        "DurationOrOff".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": span_pattern!("off|") })
    }
}
