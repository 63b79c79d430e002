//! The JSON Schema of the file, and what it says about a key.

use std::sync::LazyLock;

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::file;

/// A table of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Root,
    Log,
    /// The policy keys.
    Defaults,
    /// All keys of a route: the policy keys, and its own.
    Route,
    /// The keys of a route that `[defaults]` does not have.
    Own,
    /// An entry of `upstream` that is a table.
    Upstream,
    /// The policy keys of the client's side.
    Clients,
    /// The other policy keys.
    Policy,
    /// `allow` or `deny` as a table.
    ListFile,
    /// `bandwidth` as a table.
    Bandwidth,
    Limits,
    Admin,
    ProxyProtocol,
    /// The table of `health`.
    Health,
    /// The table of `tls`.
    Tls,
    /// The table of `upstream` in it.
    UpstreamTls,
}

/// The keys of a section.
pub(super) fn keys(section: Section) -> &'static [&'static str] {
    // Each route asks for them: ten thousand walks through the schema would cost more than reading the file.
    static KEYS: LazyLock<[Vec<&'static str>; 16]> = LazyLock::new(|| {
        let keys = |section| properties(section).into_iter().flatten().map(|(key, _)| key.as_str());
        let shared: Vec<_> = keys(Section::Defaults).collect();
        let own = keys(Section::Route).filter(|key| !shared.contains(key)).collect();
        let whole = [Section::Root, Section::Log, Section::Route, Section::Upstream, Section::Health];
        let [root, log, route, upstream, health] = whole.map(|section| keys(section).collect());
        let whole =
            [Section::ListFile, Section::Bandwidth, Section::Limits, Section::Admin, Section::ProxyProtocol];
        let [list_file, bandwidth, limits, admin, proxy] = whole.map(|section| keys(section).collect());
        let [tls, upstream_tls] = [Section::Tls, Section::UpstreamTls].map(|section| keys(section).collect());
        let clients: Vec<_> = keys(Section::Clients).collect();
        let policy = shared.iter().filter(|key| !clients.contains(key)).copied().collect();
        [
            root,
            log,
            shared,
            route,
            own,
            upstream,
            clients,
            policy,
            list_file,
            bandwidth,
            limits,
            admin,
            proxy,
            health,
            tls,
            upstream_tls,
        ]
    });
    &KEYS[section as usize]
}

/// The words that a key takes, where it takes only certain ones.
pub(super) fn words(section: Section, key: &str) -> Vec<&'static str> {
    let words = property(section, key).and_then(|key| key.get("enum")?.as_array());
    words.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A value that the key takes. What JSON shows of it, TOML takes too.
pub(super) fn example(section: Section, key: &str) -> Option<&'static Value> {
    property(section, key)?.get("examples")?.get(0)
}

fn property(section: Section, key: &str) -> Option<&'static Value> {
    properties(section)?.get(key)
}

fn properties(section: Section) -> Option<&'static Map<String, Value>> {
    let table = match section {
        Section::Root => Some(&*SCHEMA),
        Section::Log => SCHEMA.pointer("/properties/log"),
        Section::Defaults | Section::Policy => SCHEMA.pointer("/properties/defaults"),
        Section::Clients => Some(&*CLIENTS),
        Section::ListFile => CLIENTS.pointer("/properties/allow/anyOf/1"),
        Section::Bandwidth => CLIENTS.pointer("/properties/bandwidth/anyOf/1"),
        Section::ProxyProtocol => CLIENTS.pointer("/properties/proxy_protocol/anyOf/1"),
        Section::Tls => CLIENTS.pointer("/properties/tls/anyOf/1"),
        Section::UpstreamTls => CLIENTS.pointer("/properties/tls/anyOf/1/properties/upstream/anyOf/1"),
        Section::Limits => SCHEMA.pointer("/properties/limits"),
        Section::Admin => SCHEMA.pointer("/properties/admin"),
        Section::Route | Section::Own => SCHEMA.pointer("/properties/route/items"),
        Section::Upstream => SCHEMA.pointer("/properties/route/items/properties/upstream/anyOf/1"),
        Section::Health => SCHEMA.pointer("/properties/defaults/properties/health/anyOf/1"),
    };
    table?.get("properties")?.as_object()
}

/// The JSON Schema of the file (draft 7, which editors know best), for people and for this room.
pub fn schema() -> &'static Value {
    &SCHEMA
}

/// The schema of one type, without what TOML has not.
fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut root = SchemaGenerator::new(settings).into_root_schema_for::<T>().to_value();
    without_null(&mut root);
    root
}

/// The policy keys of the client's side.
static CLIENTS: LazyLock<Value> = LazyLock::new(of::<file::Clients>);

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let mut root = of::<file::File>();
    if let (Some(Value::Object(clients)), Some(Value::Object(defaults))) =
        (CLIENTS.get("properties"), root.pointer_mut("/properties/defaults/properties"))
    {
        defaults.extend(clients.clone());
    }
    let policy = root.pointer("/properties/defaults/properties").cloned();
    if let (Some(Value::Object(policy)), Some(Value::Object(route))) =
        (policy, root.pointer_mut("/properties/route/items/properties"))
    {
        route.extend(policy);
    }
    if let Value::Object(root) = &mut root {
        root.insert("title".into(), json!("Portway"));
        root.insert("additionalProperties".into(), json!(false));
    }
    if let Some(Value::Object(routes)) = root.pointer_mut("/properties/route") {
        routes.insert("minItems".into(), json!(1));
    }
    root
});

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
