//! Keeps secrets out of reports: whatever stands in `[admin]` but its `listen`, and every token wherever it stands, is shown
//! as stars. Found by its span in the document; where the syntax is broken, by the line as well.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::parse;

/// A text without its secrets.
#[derive(Debug)]
pub(super) struct Masked {
    /// Of the same length, with stars where secrets stand.
    pub text: String,
    /// The words of the secrets, which a message could quote.
    hidden: Vec<String>,
}

impl Masked {
    /// Hides the secrets that a message quotes.
    pub fn scrub(&self, message: &mut String) {
        for word in &self.hidden {
            let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
            let mut from = 0;
            while let Some(found) = message[from..].find(word.as_str()) {
                let (start, end) = (from + found, from + found + word.len());
                // A word of the message may begin as a secret does.
                let whole =
                    !is_part(message[..start].chars().next_back()) && !is_part(message[end..].chars().next());
                if whole {
                    message.replace_range(start..end, "***");
                }
                from = if whole { start + 3 } else { end };
            }
        }
    }
}

/// Hides the secrets of a text. `None`: it has none.
pub(super) fn masked(text: &str) -> Option<Masked> {
    // An escape may stand in a key.
    if !["admin", "token", "\\"].iter().any(|sign| text.contains(sign)) {
        return None;
    }
    let mut spans = Vec::new();
    let is_broken = match parse::document(text) {
        Ok((document, errors)) => {
            in_table(&document, false, &mut spans);
            !errors.is_empty()
        }
        Err(_) => true,
    };
    if is_broken {
        in_lines(text, &mut spans);
    }
    let mut bytes = text.as_bytes().to_vec();
    let mut hidden = Vec::new();
    for span in spans {
        let (span, secret) = (span.clone(), text.get(span).unwrap_or_default());
        hidden.extend(secret.split(is_kept).filter(|word| is_quoted(word)).map(ToOwned::to_owned));
        for byte in bytes.get_mut(span).into_iter().flatten().filter(|byte| !is_kept(char::from(**byte))) {
            *byte = b'*';
        }
    }
    // Stars and what was whole characters before.
    let text = String::from_utf8(bytes).unwrap_or_default();
    (!hidden.is_empty() || text.contains('*')).then_some(Masked { text, hidden })
}

/// Whether a message may not have this word: it may be a secret, and is no key.
fn is_quoted(word: &str) -> bool {
    word.len() > 4 && !["admin", "listen", "token", "read_token", "route", "upstream"].contains(&word)
}

/// The form of a value is shown, its words are not.
fn is_kept(c: char) -> bool {
    c.is_ascii_whitespace() || matches!(c, '"' | '\'' | '{' | '}' | '[' | ']' | ',' | '=')
}

/// Notes the spans of secrets. `admin`: all values here are, but for `listen`.
fn in_table(table: &DeTable<'_>, admin: bool, spans: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        let key: &str = key.get_ref();
        let is_secret = key.contains("token") || (admin && key != "listen");
        if is_secret && !matches!(value.get_ref(), DeValue::Table(_)) {
            spans.push(value.span());
            continue;
        }
        in_value(value.get_ref(), is_secret || key == "admin", spans);
    }
}

fn in_value(value: &DeValue<'_>, admin: bool, spans: &mut Vec<Range<usize>>) {
    match value {
        DeValue::Table(table) => in_table(table, admin, spans),
        DeValue::Array(items) => items.iter().for_each(|item| in_value(item.get_ref(), admin, spans)),
        _ => {}
    }
}

/// The same by lines: what a broken document has lost may be a secret too.
fn in_lines(text: &str, spans: &mut Vec<Range<usize>>) {
    let (mut at, mut inside) = (0, false);
    for line in text.split_inclusive('\n') {
        let bare: String = line.chars().filter(|c| !matches!(c, '"' | '\'' | ' ' | '\t')).collect();
        if bare.starts_with('[') && !bare.contains('=') {
            inside = bare.trim_start_matches('[').starts_with("admin");
        } else if inside || bare.starts_with("admin") || bare.contains("token") {
            let is_listen = bare.starts_with("listen") && !bare.contains("token");
            let from = match line.find("tok") {
                Some(token) if !is_listen => line[token..].find('=').map(|equals| token + equals + 1),
                _ => line.find('=').map(|equals| equals + 1),
            };
            if !is_listen {
                spans.push(at + from.unwrap_or(0)..at + line.len());
            }
            // The rest of the text may be in the string that begins here.
            inside |= line.contains("\"\"\"") || line.contains("'''");
        }
        at += line.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cret-s3cret-s3cret";

    #[test]
    fn secrets_are_masked_and_nothing_else_is() {
        let text = "[log]\nlevel = \"info\"\n[admin]\nlisten = \"127.0.0.1:9180\"\ntoken = \"s3cret-s3cret-s3cret\"\n\
                    tokn = 'ünicode' # comment\n[[route]]\nlisten = \"80\"\n";
        let masked = masked(text).unwrap().text;
        assert_eq!(masked.len(), text.len());
        assert!(!masked.contains("s3cret") && !masked.contains("nicode"), "{masked}");
        assert!(masked.contains("127.0.0.1:9180") && masked.contains("level = \"info\""), "{masked}");
        assert!(masked.ends_with("# comment\n[[route]]\nlisten = \"80\"\n"), "{masked}");
        assert!(super::masked("[[route]]\nlisten = \"80\"\n").is_none());
    }

    #[test]
    fn every_spelling_of_a_token_is_masked() {
        for text in [
            "[admin]\ntoken = 'S'\n",
            "[ admin ]\n\"token\" = \"S\"\n",
            "[\"admin\"]\ntoken = \"S\"\n",
            "['admin']\n'read_token' = 'S'\n",
            "admin.token = \"S\"\n",
            "\"admin\".token = \"S\"\n",
            "'admin' . \"token\" = \"S\"\n",
            "admin = { listen = \"1\", token = \"S\" }\n",
            "\"admin\" = { token = 'S', listen = \"1\" }\n",
            "[admin]\ntoken = \"\"\"\nS\"\"\"\n",
            "[admin]\ntoken = '''\nS'''\n",
            "[admin]\ntoken = [\"S\", \"S\"]\n",
            "[[admin]]\ntoken = \"S\"\n",
            "[\"\\u0061dmin\"]\n\"tok\\u0065n\" = \"S\"\n",
            "[admn]\ntoken = \"S\"\n",
            // Not TOML any more.
            "[admin]\ntoken = S\n",
            "[\"admin\"\ntoken = \"S\"\n",
            "admin = { token = \"S\"\n",
            "'admin'.token = \"S\n",
            "[admin]\ntoken \"S\"\n",
            "admin.token = \"\"\"\nS\n",
        ] {
            let text = text.replace('S', SECRET);
            let masked = masked(&text).unwrap();
            assert!(!masked.text.contains("s3cret"), "{text}\n{}", masked.text);
            assert_eq!(masked.text.len(), text.len());
        }
    }
}
