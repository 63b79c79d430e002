//! Values that may also be a table or the word "off", as they are typed.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::values::{List, Scalar, Text, Texts};

/// A value `V`, or a table `T`: which of the table's keys are wrong is found in the document.
#[derive(Clone, Debug)]
pub(super) enum OrTable<V, T> {
    Value(V),
    Table(PhantomData<T>),
}

struct Either<V, T>(PhantomData<(V, T)>);

impl<'de, V: OneOrMany, T> Visitor<'de> for Either<V, T> {
    type Value = OrTable<V, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a table")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Scalar.visit_str(text).map(|text| OrTable::Value(V::one(text)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Scalar.visit_i64(number).map(|text| OrTable::Value(V::one(text)))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Scalar.visit_f64(number).map(|text| OrTable::Value(V::one(text)))
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<Self::Value, E> {
        Scalar.visit_bool(yes).map(|text| OrTable::Value(V::one(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        V::many(items).map(OrTable::Value)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Self::Value, A::Error> {
        while table.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(OrTable::Table(PhantomData))
    }
}

/// What may stand where a table may stand too.
pub(super) trait OneOrMany: Sized {
    /// Of one value.
    fn one(text: Text) -> Self;
    /// Of a list.
    fn many<'de, A: SeqAccess<'de>>(items: A) -> Result<Self, A::Error>;
}

impl OneOrMany for List {
    fn one(text: Text) -> Self {
        List(vec![text])
    }

    fn many<'de, A: SeqAccess<'de>>(items: A) -> Result<Self, A::Error> {
        Texts.visit_seq(items)
    }
}

impl OneOrMany for Text {
    fn one(text: Text) -> Self {
        text
    }

    fn many<'de, A: SeqAccess<'de>>(_: A) -> Result<Self, A::Error> {
        Err(A::Error::custom("a list"))
    }
}

impl<'de, V: OneOrMany, T> Deserialize<'de> for OrTable<V, T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(Either(PhantomData))
    }
}

impl<V: JsonSchema, T: JsonSchema> JsonSchema for OrTable<V, T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}Or{}", V::schema_name(), T::schema_name()).into()
    }

    /// `TableSchema::table_of` finds the table.
    fn json_schema(types: &mut SchemaGenerator) -> Schema {
        let (value, table) = (types.subschema_for::<V>(), types.subschema_for::<T>());
        json_schema!({ "anyOf": [value, table] })
    }
}

/// "off".
#[derive(Clone, Debug)]
pub(super) struct Off(pub Text);

impl JsonSchema for Off {
    fn schema_name() -> Cow<'static, str> {
        "Off".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["off"] })
    }
}

impl OneOrMany for Off {
    fn one(text: Text) -> Self {
        Off(text)
    }

    fn many<'de, A: SeqAccess<'de>>(_: A) -> Result<Self, A::Error> {
        Err(A::Error::custom("a list"))
    }
}

/// A number from 1, or "off".
#[derive(Clone, Debug, Deserialize)]
pub(super) struct CountOrOff(pub Text);

impl JsonSchema for CountOrOff {
    fn schema_name() -> Cow<'static, str> {
        "CountOrOff".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let number = json_schema!({ "type": "integer", "minimum": 1, "maximum": u32::MAX });
        json_schema!({ "anyOf": [number, { "enum": ["off"] }] })
    }
}

/// `true` or `false`.
#[derive(Clone, Debug)]
pub(super) struct Whether(pub Text);

impl JsonSchema for Whether {
    fn schema_name() -> Cow<'static, str> {
        "Whether".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "boolean" })
    }
}

impl OneOrMany for Whether {
    fn one(text: Text) -> Self {
        Whether(text)
    }

    fn many<'de, A: SeqAccess<'de>>(_: A) -> Result<Self, A::Error> {
        Err(A::Error::custom("a list"))
    }
}
