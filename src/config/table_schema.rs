//! What the JSON Schema says of one table of the file: its keys, the words and the example of each.

use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// The keys of one table.
#[derive(Debug)]
pub(super) struct TableSchema {
    /// As JSON Schema has them.
    pub properties: Map<String, Value>,
    /// In the order of the alphabet.
    pub keys: BTreeSet<String>,
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
        let properties = match schema_of::<T>() {
            Value::Object(mut schema) => match schema.remove("properties") {
                Some(Value::Object(properties)) => properties,
                _ => Map::new(),
            },
            _ => Map::new(),
        };
        TableSchema::with(properties)
    }

    /// Of these properties.
    pub fn with(properties: Map<String, Value>) -> Self {
        let keys = properties.keys().cloned().collect();
        TableSchema { properties, keys }
    }

    /// Whether it has a key.
    pub fn has(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// Its keys, for a person.
    pub fn known(&self) -> Vec<&str> {
        self.keys.iter().map(String::as_str).collect()
    }

    /// The words that the key takes, where it takes only certain ones.
    pub fn words(&self, key: &str) -> Vec<&str> {
        let words = self.properties.get(key).and_then(|key| key.get("enum")?.as_array());
        words.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// A value that the key takes. What JSON shows of it, TOML takes too.
    pub fn example(&self, key: &str) -> Option<&Value> {
        self.properties.get(key)?.get("examples")?.get(0)
    }

    /// Whether the key takes a list.
    pub fn takes_list(&self, key: &str) -> bool {
        self.properties.get(key).is_some_and(is_list)
    }

    /// The keys of the table that a key takes, where it takes one.
    pub fn table_of(&self, key: &str) -> Option<TableSchema> {
        let choices = self.properties.get(key)?.get("anyOf")?.as_array()?;
        let properties = choices.iter().find_map(|choice| choice.get("properties")?.as_object());
        properties.map(|properties| TableSchema::with(properties.clone()))
    }

    /// The keys of the tables in the list that a key takes, where it takes one.
    pub fn tables_of(&self, key: &str) -> Option<TableSchema> {
        let schema = self.properties.get(key)?;
        let choices = schema.get("anyOf").and_then(Value::as_array);
        let mut lists = choices.into_iter().flatten().chain([schema]).filter_map(|list| list.get("items"));
        lists.find_map(|items| {
            let choices = items.get("anyOf").and_then(Value::as_array);
            let mut tables = choices.into_iter().flatten().chain([items]);
            let properties = tables.find_map(|table| table.get("properties")?.as_object());
            properties.map(|properties| TableSchema::with(properties.clone()))
        })
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
