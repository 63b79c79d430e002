//! The entries of `listen` and of `upstream`: each is an address, or a table with an address and what belongs to it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::values::{MaybeText, Text, TextOrTable};

/// One entry, or a list of them: texts, or tables `T`.
#[derive(Clone, Debug)]
pub(super) struct Entries<T>(pub Vec<MaybeText>, PhantomData<T>);

impl<T> Entries<T> {
    fn new(entries: Vec<MaybeText>) -> Self {
        Entries(entries, PhantomData)
    }
}

struct OneOrMany<T>(PhantomData<T>);

impl<'de, T> Visitor<'de> for OneOrMany<T> {
    type Value = Entries<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a table or a list of them")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        TextOrTable.visit_str(text).map(|one| Entries::new(vec![one]))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        TextOrTable.visit_i64(number).map(|one| Entries::new(vec![one]))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        TextOrTable.visit_f64(number).map(|one| Entries::new(vec![one]))
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<Self::Value, E> {
        TextOrTable.visit_bool(yes).map(|one| Entries::new(vec![one]))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Self::Value, A::Error> {
        TextOrTable.visit_map(table).map(|one| Entries::new(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(items)).map(Entries::new)
    }
}

impl<'de, T> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(OneOrMany(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Entries<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}Entries", T::schema_name()).into()
    }

    /// `TableSchema::table_of` finds the table.
    fn json_schema(types: &mut SchemaGenerator) -> Schema {
        let (text, table) = (types.subschema_for::<Text>(), types.subschema_for::<T>());
        let list = json_schema!({ "type": "array", "items": { "anyOf": [text, table] }, "minItems": 1 });
        json_schema!({ "anyOf": [text, table, list] })
    }
}
