//! The page of the file in the manual, portway.toml(5). What is said of a key is the text of `config/every-key.toml`; of the
//! keys of its tables, and where the file is silent, that of the schema.

use clap_mangen::roff::{Inline, Roff, bold, roman};
use serde_json::{Map, Value};

use super::example;
use crate::config;

/// A table of the file: its header, what it is, its keys.
struct Section<'t> {
    header: &'t str,
    about: String,
    keys: Vec<Key<'t>>,
}

/// A key as `config/every-key.toml` shows it.
struct Key<'t> {
    name: &'t str,
    value: &'t str,
    about: String,
}

/// What the page says before its keys.
const DESCRIPTION: &[&str] = &[
    "Portway forwards what clients send to the addresses of each `[[route]]`. The file is TOML. The running program takes each \
     edit over within about a second, and disturbs nothing that the edit does not name; an edit with a fault changes \
     nothing. `portway check` shows every fault, `portway plan` what an edit would do.",
    "Where a key has a value here, that is what holds without it. `portway example` prints all of them as a file.",
];

/// The page, for man(1).
pub(super) fn page() -> String {
    let mut roff = Roff::new();
    let source = concat!("portway ", env!("CARGO_PKG_VERSION"));
    // Without a date, which would be no part of the text.
    roff.control("TH", ["portway.toml", "5", "\"\"", source, "Portway"]);
    heading(&mut roff, "NAME");
    roff.text([roman("portway.toml - what Portway forwards, route by route")]);
    heading(&mut roff, "SYNOPSIS");
    roff.text([roman("/etc/portway/portway.toml, or the file that --config or PORTWAY_CONFIG names")]);
    heading(&mut roff, "DESCRIPTION");
    for paragraph in DESCRIPTION {
        roff.control("PP", []).text(marked(paragraph));
    }
    for section in sections(example::file("every-key").unwrap_or_default()) {
        table(&mut roff, &section);
    }
    heading(&mut roff, "EXAMPLE");
    roff.control("nf", []);
    for line in example::file("portway").unwrap_or_default().lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    heading(&mut roff, "SEE ALSO");
    roff.text([roman(
        "portway(1), portway-example(1), portway-check(1), portway-plan(1), portway-schema(1)",
    )]);
    roff.render()
}

fn heading(roff: &mut Roff, text: &str) {
    roff.control("SH", [text]);
}

/// A table of the file, with its keys.
fn table(roff: &mut Roff, section: &Section<'_>) {
    let schema = schema_of(section.header);
    heading(roff, section.header);
    let about = if section.about.is_empty() { description(&schema) } else { section.about.as_str() };
    roff.text(marked(about));
    if section.header == "[[route]]" {
        roff.control("PP", []).text(marked("Each key of `[defaults]` may stand here, too."));
    }
    let known = keys_of(&schema);
    for key in &section.keys {
        let schema = known.get(key.name).unwrap_or(&Value::Null);
        let default = schema.get("default").is_some().then_some(key.value);
        let about = if key.about.is_empty() { description(schema) } else { key.about.as_str() };
        entry(roff, key.name, default, about);
        if default.is_none() {
            roff.control("br", []).text([roman("Example: "), bold(format!("{} = {}", key.name, key.value))]);
        }
        within(roff, key.name, schema);
    }
}

/// The keys of the tables that a key takes, and of those within.
fn within(roff: &mut Roff, path: &str, schema: &Value) {
    let keys = keys_of(schema);
    if keys.is_empty() {
        return;
    }
    roff.control("RS", []);
    for (name, schema) in &keys {
        let path = format!("{path}.{name}");
        let default = schema.get("default").map(Value::to_string);
        entry(roff, &path, default.as_deref(), description(schema));
        within(roff, &path, schema);
    }
    roff.control("RE", []);
}

/// A key, with what holds without it, and what it says.
fn entry(roff: &mut Roff, name: &str, default: Option<&str>, about: &str) {
    let default = default.map(|value| roman(format!(" = {value}")));
    let tag: Vec<Inline> = std::iter::once(bold(name)).chain(default).collect();
    roff.control("TP", []).text(tag).text(marked(about));
}

/// The schema of a table of the file, by its header.
fn schema_of(header: &str) -> Value {
    let name = header.trim_matches(['[', ']']);
    config::schema().pointer(&format!("/properties/{name}")).cloned().unwrap_or_default()
}

fn description(schema: &Value) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

/// The keys of each table that a schema admits: it is one, a list of them, or a choice with one in it.
fn keys_of(schema: &Value) -> Map<String, Value> {
    let mut keys = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let choices = ["anyOf", "oneOf"].iter().filter_map(|choice| schema.get(choice)?.as_array()).flatten();
    for inner in choices.chain(schema.get("items")) {
        keys.extend(keys_of(inner));
    }
    keys
}

/// Text whose words between backticks are bold.
fn marked(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate().filter(|(_, part)| !part.is_empty());
    parts.map(|(at, part)| if at % 2 == 0 { roman(part) } else { bold(part) }).collect()
}

/// Reads the tables and keys of `config/every-key.toml`, also those that are comments, each with the comment above it.
fn sections(text: &str) -> Vec<Section<'_>> {
    let (mut sections, mut above): (Vec<Section<'_>>, Vec<&str>) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if line.starts_with('[') && line.ends_with(']') {
            let about = std::mem::take(&mut above).join(" ");
            sections.push(Section { header: line, about, keys: Vec::new() });
        } else if let Some((name, value)) = line.split_once(" = ").filter(|(name, _)| is_key(name)) {
            let about = std::mem::take(&mut above).join(" ");
            if let Some(section) = sections.last_mut() {
                section.keys.push(Key { name, value, about });
            }
        } else if line.is_empty() {
            above.clear();
        } else {
            above.push(line);
        }
    }
    sections
}

fn is_key(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_schema_is_on_the_page_once() {
        let page = page();
        let mut count = 0;
        for header in ["[process]", "[log]", "[limits]", "[admin]", "[defaults]", "[[route]]"] {
            let keys = keys_of(&schema_of(header));
            assert!(!keys.is_empty() && page.contains(&format!("\n.SH {header}\n")), "{header}");
            for (key, schema) in &keys {
                // As roff has it: bold, at the beginning of a line.
                let tags = |key: &str| page.matches(&format!("\n\\fB{key}\\fR")).count();
                // Of the process and of a route; of the endpoint and of a route.
                let tables = if ["max_connections", "listen"].contains(&key.as_str()) { 2 } else { 1 };
                assert_eq!(tags(key), tables, "{key}");
                for inner in keys_of(schema).keys() {
                    assert_eq!(tags(&format!("{key}.{inner}")), 1, "{key}.{inner}");
                }
                count += 1;
            }
        }
        assert!(count > 40, "{count}");
    }
}
