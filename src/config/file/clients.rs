//! The policy keys of the client's side, as they are typed.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{List, Scalar, Text, Texts};

/// The client's side: of `[defaults]`, and of each route.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Clients {
    /// Which networks may come in: one, a list, or { file = "path" } with one a line. "all": every one.
    #[schemars(extend("default" = "all", "examples" = [["10.0.0.0/8", "2001:db8::/32"]]))]
    pub allow: Option<OrTable<List, ListFile>>,
    /// Which may not, even if they are allowed: as `allow`. "none": no one is kept out.
    #[schemars(extend("default" = "none", "examples" = [["192.0.2.0/24"]]))]
    pub deny: Option<OrTable<List, ListFile>>,
}

/// A list in a file of its own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ListFile {
    /// Its path: absolute, or from the folder of this file. One network a line; `#` begins a comment. It is watched.
    #[schemars(required, extend("examples" = ["/etc/portway/networks.txt"]))]
    pub file: Option<Text>,
}

/// A value `V`, or a table `T`: which of the table's keys are wrong is found in the document.
#[derive(Clone, Debug)]
pub(in crate::config) enum OrTable<V, T> {
    Value(V),
    Table(PhantomData<T>),
}

struct Either<V, T>(PhantomData<(V, T)>);

impl<'de, V: Typed, T> Visitor<'de> for Either<V, T> {
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
pub(in crate::config) trait Typed: Sized {
    /// Of one value.
    fn one(text: Text) -> Self;
    /// Of a list.
    fn many<'de, A: SeqAccess<'de>>(items: A) -> Result<Self, A::Error>;
}

impl Typed for List {
    fn one(text: Text) -> Self {
        List(vec![text])
    }

    fn many<'de, A: SeqAccess<'de>>(items: A) -> Result<Self, A::Error> {
        Texts.visit_seq(items)
    }
}

impl<'de, V: Typed, T> Deserialize<'de> for OrTable<V, T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(Either(PhantomData))
    }
}

impl<V: JsonSchema, T: JsonSchema> JsonSchema for OrTable<V, T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}Or{}", V::schema_name(), T::schema_name()).into()
    }

    /// `schema::Section` looks for the table at the second place.
    fn json_schema(types: &mut SchemaGenerator) -> Schema {
        let (value, table) = (types.subschema_for::<V>(), types.subschema_for::<T>());
        json_schema!({ "anyOf": [value, table] })
    }
}
