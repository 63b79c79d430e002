//! The tables of a text in its order, for a comparison of two texts that needs no meaning.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document;
use super::parse;

/// A table of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What tells it from others: of a route its `name`, or else its `listen`, as for the default of `name`.
    pub id: String,
    /// Its keys, those of tables in it included (`health.interval`).
    pub keys: BTreeSet<String>,
}

/// The tables of a text, in its order. `None`: its syntax is broken.
pub fn sections(bytes: &[u8]) -> Option<Vec<Section>> {
    let text = document::decode("", bytes).ok()?;
    let (document, errors) = parse::document(text).ok()?;
    if !errors.is_empty() {
        return None;
    }
    let mut found: Vec<(usize, Section)> = Vec::new();
    for (key, value) in &document {
        match value.get_ref() {
            DeValue::Array(items) => {
                found
                    .extend(items.iter().map(|item| (item.span().start, section(text, key.get_ref(), item))));
            }
            _ => found.push((key.span().start, section(text, key.get_ref(), value))),
        }
    }
    found.sort_by_key(|(start, _)| *start);
    Some(found.into_iter().map(|(_, section)| section).collect())
}

fn section(text: &str, key: &str, value: &Spanned<DeValue<'_>>) -> Section {
    let (mut id, mut keys) = (key.to_owned(), BTreeSet::new());
    if let DeValue::Table(table) = value.get_ref() {
        note_keys(table, "", &mut keys);
        if let Some(name) = table.get("name").or_else(|| table.get("listen")).filter(|_| key == "route") {
            let written = name.get_ref().as_str().or_else(|| text.get(name.span()));
            id = written.unwrap_or_default().to_owned();
        }
    }
    Section { id, keys }
}

fn note_keys(table: &DeTable<'_>, before: &str, keys: &mut BTreeSet<String>) {
    for (key, value) in table {
        let path = format!("{before}{}", key.get_ref());
        if let DeValue::Table(table) = value.get_ref() {
            note_keys(table, &format!("{path}."), keys);
        }
        keys.insert(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<Vec<String>> {
        let keys = |section: &Section| section.keys.iter().cloned().collect::<Vec<_>>().join(" ");
        let sections = sections(text.as_bytes())?;
        Some(sections.iter().map(|section| format!("{}: {}", section.id, keys(section))).collect())
    }

    #[test]
    fn tables_come_in_the_order_of_the_text() {
        let text = "log.level = \"info\"\n[[route]]\nname = \"web\"\nlisten = \"80\"\n[route.health]\ninterval = \"1s\"\n\
            [admin]\nlisten = \"81\"\n[[route]] # and no name\nlisten = [\"82\",\n\"83\"]\n";
        let expected = [
            "log: level",
            "web: health health.interval listen name",
            "admin: listen",
            "[\"82\",\n\"83\"]: listen",
        ];
        assert_eq!(shown(text).unwrap(), expected);
    }

    #[test]
    fn a_broken_text_has_no_tables() {
        for text in ["[[route]]\nlisten = \"80", "[[rou", "listen ="] {
            assert_eq!(shown(text), None, "{text}");
        }
        assert_eq!(shown(""), Some(Vec::new()));
    }
}
