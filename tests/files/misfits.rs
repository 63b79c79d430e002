//! Values beside a JSON Schema.

use serde_json::Value;

/// Where a value does not fit a schema of the kind that ours is.
pub fn misfits(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (keyword, wanted) in schema.as_object().unwrap() {
        let fits = match keyword.as_str() {
            "$schema" | "title" | "description" | "default" | "examples" => true,
            "type" => match wanted.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "integer" => value.is_i64(),
                "boolean" => value.is_boolean(),
                other => panic!("type {other}"),
            },
            "minimum" => value.as_i64().is_none_or(|number| number >= wanted.as_i64().unwrap()),
            "maximum" => value.as_i64().is_none_or(|number| number <= wanted.as_i64().unwrap()),
            "enum" => wanted.as_array().unwrap().contains(value),
            "minLength" => value.as_str().is_none_or(|text| text.len() as u64 >= wanted.as_u64().unwrap()),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= wanted.as_u64().unwrap()),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= wanted.as_u64().unwrap()),
            "minProperties" => {
                value.as_object().is_none_or(|keys| keys.len() as u64 >= wanted.as_u64().unwrap())
            }
            "maxProperties" => {
                value.as_object().is_none_or(|keys| keys.len() as u64 <= wanted.as_u64().unwrap())
            }
            "pattern" => {
                let pattern = regex_lite::Regex::new(wanted.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "anyOf" => wanted.as_array().unwrap().iter().any(|one| misfits(one, value, at).is_empty()),
            "required" => value.as_object().is_none_or(|object| {
                wanted.as_array().unwrap().iter().all(|key| object.contains_key(key.as_str().unwrap()))
            }),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    wrong.extend(misfits(wanted, item, &format!("{at}[{index}]")));
                }
                true
            }
            "properties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = wanted.get(key) {
                        wrong.extend(misfits(schema, value, &format!("{at}.{key}")));
                    }
                }
                true
            }
            "additionalProperties" => {
                assert_eq!(wanted, &Value::Bool(false));
                let keys = value.as_object().into_iter().flatten();
                keys.map(|(key, _)| key).all(|key| schema["properties"].get(key).is_some())
            }
            other => panic!("the schema uses {other}"),
        };
        if !fits {
            wrong.push(format!("{at}: {keyword} {wanted}"));
        }
    }
    wrong
}
