//! What the JSON Schema says of one table of the file: its keys, the words and the example of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// The keys of one table, in the order of the alphabet. Those that several tables have are there once.
#[derive(Debug, Default)]
pub(super) struct TableSchema(BTreeMap<String, Arc<KeySchema>>);

/// One key.
#[derive(Debug)]
struct KeySchema {
    /// As JSON Schema has it.
    json: Value,
    /// The keys of the table that it takes, where it takes one.
    table: Option<TableSchema>,
    /// The keys of the tables in the list that it takes, where it takes one.
    tables: Option<TableSchema>,
}

/// A table as it is typed. Which of its keys are wrong is found in the document.
pub(super) trait TypedTable: DeserializeOwned + Default {
    /// Its schema, made once.
    fn schema() -> &'static TableSchema;
}

/// Makes the schema of a typed table once.
macro_rules! typed_table {
    ($type:ty) => {
        impl $crate::config::table_schema::TypedTable for $type {
            fn schema() -> &'static $crate::config::table_schema::TableSchema {
                use std::sync::LazyLock;
                use $crate::config::table_schema::TableSchema;
                static SCHEMA: LazyLock<TableSchema> = LazyLock::new(TableSchema::of::<$type>);
                &SCHEMA
            }
        }
    };
}

pub(super) use typed_table;

impl TableSchema {
    /// Of a type.
    pub fn of<T: JsonSchema>() -> Self {
        match schema_of::<T>().get("properties") {
            Some(Value::Object(properties)) => TableSchema::with(properties),
            _ => TableSchema::default(),
        }
    }

    /// Of these words, which say nothing of their values.
    pub fn of_words(words: &[&str]) -> Self {
        TableSchema::with(&words.iter().map(|key| ((*key).to_owned(), Value::Null)).collect())
    }

    /// Of the keys of several.
    pub fn join<'s>(several: impl IntoIterator<Item = &'s TableSchema>) -> Self {
        let keys = several.into_iter().flat_map(|schema| &schema.0);
        TableSchema(keys.map(|(key, schema)| (key.clone(), schema.clone())).collect())
    }

    fn with(properties: &Map<String, Value>) -> Self {
        let key = |(key, json): (&String, &Value)| (key.clone(), Arc::new(KeySchema::new(json)));
        TableSchema(properties.iter().map(key).collect())
    }

    /// As JSON Schema has them.
    pub fn properties(&self) -> Value {
        self.0.iter().map(|(key, schema)| (key.clone(), schema.json.clone())).collect::<Map<_, _>>().into()
    }

    /// Whether it has a key.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Its keys, for a person.
    pub fn known(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// The words that the key takes, where it takes only certain ones.
    pub fn words(&self, key: &str) -> Vec<&str> {
        let words = self.0.get(key).and_then(|key| key.json.get("enum")?.as_array());
        words.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// A value that the key takes. What JSON shows of it, TOML takes too.
    pub fn example(&self, key: &str) -> Option<&Value> {
        self.0.get(key)?.json.get("examples")?.get(0)
    }

    /// Whether the key takes a list.
    pub fn takes_list(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|key| is_list(&key.json))
    }

    /// The keys of the table that a key takes, where it takes one.
    pub fn table_of(&self, key: &str) -> Option<&TableSchema> {
        self.0.get(key)?.table.as_ref()
    }

    /// The keys of the tables in the list that a key takes, where it takes one.
    pub fn tables_of(&self, key: &str) -> Option<&TableSchema> {
        self.0.get(key)?.tables.as_ref()
    }
}

impl KeySchema {
    fn new(json: &Value) -> Self {
        let choices = || json.get("anyOf").and_then(Value::as_array).into_iter().flatten();
        let table = choices().find_map(|choice| choice.get("properties")?.as_object());
        let tables = choices().chain([json]).filter_map(|list| list.get("items")).find_map(|items| {
            let choices = items.get("anyOf").and_then(Value::as_array);
            let mut tables = choices.into_iter().flatten().chain([items]);
            tables.find_map(|table| table.get("properties")?.as_object())
        });
        KeySchema {
            table: table.map(TableSchema::with),
            tables: tables.map(TableSchema::with),
            json: json.clone(),
        }
    }
}

fn is_list(schema: &Value) -> bool {
    let choices = schema.get("anyOf").and_then(Value::as_array);
    schema.get("type") == Some(&json!("array")) || choices.is_some_and(|choices| choices.iter().any(is_list))
}

/// The schema of one type (draft 7, which editors know best), without what TOML has not.
pub(super) fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut root = SchemaGenerator::new(settings).into_root_schema_for::<T>().to_value();
    without_null(&mut root);
    root
}

/// TOML has no null: takes out what `Option` puts in.
fn without_null(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(object) => {
            object.values_mut().for_each(without_null);
            // Of a number: the Rust type, which is nothing to an editor.
            if object.get("format").is_some_and(Value::is_string) {
                object.remove("format");
            }
            if let Some(Value::Array(words)) = object.get_mut("enum") {
                words.retain(|word| !word.is_null());
            }
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
                choices.retain(|choice| choice.get("type") != Some(&json!("null")));
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    object.remove("anyOf");
                    object.extend(only);
                }
            }
        }
        _ => {}
    }
}
