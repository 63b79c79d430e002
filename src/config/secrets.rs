//! Keeps secrets out of reports: whatever stands in `[admin]` but its address and its mode, and every token wherever it stands, is shown
//! as stars. Found by its span in the document; where the syntax is broken, by the line as well.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::parse;
use crate::model::{ListenSpec, UpstreamSpec};

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
    for Span { at, certain } in spans {
        let secret = text.get(at.clone()).unwrap_or_default();
        // Word processors' quotes are no part of it.
        let words = secret.split(is_kept).map(|word| word.trim_matches(|c: char| !c.is_ascii_graphic()));
        hidden.extend(words.filter(|word| is_quoted(word, certain)).map(ToOwned::to_owned));
        // What stands behind a secret may be an older one.
        let line_end = text[at.end..].find('\n').map_or(text.len(), |newline| at.end + newline);
        for byte in bytes[at.start..line_end].iter_mut().filter(|byte| !is_kept(char::from(**byte))) {
            *byte = b'*';
        }
    }
    // Stars and what was whole characters before.
    let text = String::from_utf8(bytes).unwrap_or_default();
    (!hidden.is_empty() || text.contains('*')).then_some(Masked { text, hidden })
}

/// Where a secret stands. `certain`: its key says so. Otherwise it may as well be the value of a misspelt key.
struct Span {
    at: Range<usize>,
    certain: bool,
}

/// Whether a message may not have this word: it may be a secret, and is no key. The shortest token has 16 characters.
fn is_quoted(word: &str, certain: bool) -> bool {
    let is_key =
        ["admin", "listen", "token", "read_token", "file", "env", "route", "upstream"].contains(&word);
    let is_address = word.parse::<ListenSpec>().is_ok() || word.parse::<UpstreamSpec>().is_ok();
    !is_key && !is_address && word.len() > if certain { 4 } else { 15 }
}

/// The form of a value is shown, its words are not.
fn is_kept(c: char) -> bool {
    c.is_ascii_whitespace() || matches!(c, '"' | '\'' | '{' | '}' | '[' | ']' | ',' | '=')
}

/// Whether the value of a key of `[admin]` may be shown: an address, or what is too short for a secret that was put in
/// the wrong place. The shortest token has 16 characters.
fn is_public(key: &str, value: &DeValue<'_>) -> bool {
    let text = value.as_str().unwrap_or_default();
    match key {
        "listen" => true,
        "mode" | "group" => text.len() < 16,
        "file" => is_path(text),
        "env" => is_plain_name(text) || variable_of(text).is_some(),
        _ => false,
    }
}

/// The keys that say where a token stands.
const SOURCES: [&str; 2] = ["file", "env"];

/// Whether a text can only be a path: tokens in base64 have slashes too, but no long one lacks capitals.
fn is_path(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "/._-".contains(c);
    let absolute = text.starts_with('/') && text.contains(['.', '-', '_']) || text.starts_with("/run/");
    text.len() < 16
        || absolute
        || text.starts_with("./")
        || (text.contains('/') && text.chars().all(is_plain))
}

/// Whether a text can be the name of a variable, as shells have them.
pub(super) fn is_variable(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty() && text.chars().all(is_plain) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// Whether a text can only be such a name. Tokens in hex, base32 or base64 have no capitals with a `_` between.
fn is_plain_name(text: &str) -> bool {
    is_variable(text) && (text.len() < 16 || (text.contains('_') && !text.contains(char::is_lowercase)))
}

/// The name in `${NAME}` or `$NAME`, as templates have it.
pub(super) fn variable_of(text: &str) -> Option<&str> {
    let name = text.strip_prefix('$')?;
    match name.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
        Some(name) => is_variable(name).then_some(name),
        None => is_plain_name(name).then_some(name),
    }
}

/// Notes the spans of secrets. `admin`: all values here are, but for those that [`is_public`] names.
fn in_table(table: &DeTable<'_>, admin: bool, spans: &mut Vec<Span>) {
    for (key, value) in table {
        let name: &str = key.get_ref();
        let (certain, section) = (name.contains("tok"), name == "admin");
        match value.get_ref() {
            // Of a table in the place of a secret the keys are as secret as the values.
            DeValue::Table(inner) if certain => {
                let keys = inner.keys().filter(|key| !SOURCES.contains(&&**key.get_ref()));
                spans.extend(keys.map(|key| Span { at: key.span(), certain }));
                in_table(inner, true, spans);
            }
            DeValue::Table(inner) => in_table(inner, admin || section, spans),
            DeValue::Array(items) if items.iter().all(|item| item.get_ref().is_table()) => {
                let tables = items.iter().filter_map(|item| item.get_ref().as_table());
                tables.for_each(|inner| in_table(inner, admin || section || certain, spans));
            }
            // It names a variable, and everybody may know its name.
            DeValue::String(text) if certain && variable_of(text).is_some() => {}
            _ if certain || section || (admin && !is_public(name, value.get_ref())) => {
                spans.push(Span { at: value.span(), certain: certain || section });
            }
            _ => {}
        }
    }
}

/// The same by lines: what a broken document has lost may be a secret too.
fn in_lines(text: &str, spans: &mut Vec<Span>) {
    let (mut at, mut inside) = (0, false);
    for line in text.split_inclusive('\n') {
        let bare: String = line.chars().filter(|c| !matches!(c, '"' | '\'' | ' ' | '\t')).collect();
        let is_header = bare.starts_with('[');
        if is_header {
            inside = bare.trim_start_matches('[').starts_with("admin");
        }
        let certain = bare.contains("tok");
        if (!is_header || bare.contains('=')) && (inside || bare.contains("admin") || certain) {
            let is_listen = bare.starts_with("listen") && !certain;
            let from = match line.find("tok") {
                Some(token) => line[token..].find('=').map(|equals| token + equals),
                _ => line.find('='),
            };
            if !is_listen {
                // With the end of the line: what stands in the next one may be the value, and is masked, too.
                spans.push(Span { at: at + from.unwrap_or(0)..at + line.len(), certain });
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
        let of_socket = "[admin]\nlisten = \"unix:/run/a\"\nmode = 0o660\ngroup = \"ops, dev\"\n";
        assert!(super::masked(of_socket).is_none());
        let misplaced = format!("[admin]\nlisten = \"unix:/run/a\"\ngroup = \"{SECRET}\"\n");
        assert!(!super::masked(&misplaced).unwrap().text.contains(SECRET));
        let text = "[log]\nlevel = \"info\"\n[admin]\nlisten = \"127.0.0.1:9180\"\ntoken = \"s3cret-s3cret-s3cret\"\n\
                    tokn = 'ünicode' # comment\n[[route]]\nlisten = \"80\"\n";
        let masked = masked(text).unwrap().text;
        assert_eq!(masked.len(), text.len());
        assert!(!masked.contains("s3cret") && !masked.contains("nicode"), "{masked}");
        assert!(masked.contains("127.0.0.1:9180") && masked.contains("level = \"info\""), "{masked}");
        assert!(masked.ends_with(" * *******\n[[route]]\nlisten = \"80\"\n"), "{masked}");
        assert!(super::masked("[[route]]\nlisten = \"80\"\n").is_none());
    }

    #[test]
    fn every_spelling_of_a_token_is_masked() {
        for shown in [
            "[admin]\ntoken = { file = \"/run/secrets/portway\" }\n",
            "[admin]\ntoken = { file = \"secrets/portway-token\" }\n",
            "[admin.token]\nenv = \"PORTWAY_ADMIN_TOKEN\"\n",
            "[admin]\ntoken = \"${PORTWAY_ADMIN_TOKEN}\"\n",
        ] {
            assert!(masked(shown).is_none(), "{shown}");
        }
        for text in [
            "[admin]\ntoken = { file = \"S\" }\n",
            "[admin]\ntoken = { env = \"S\" }\n",
            "[admin]\ntoken = { env = \"s3cretABCDEFGHIJ0123\" }\n",
            "[admin]\ntoken = { file = \"s3cret/ABC+DEFGHIJ0123=\" }\n",
            "[admin]\ntoken = \"${TOKEN:-S}\"\n",
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
            "[admin]\ntoken = \"short\" # before: S\n",
            "admin = \"S\"\n",
            "[admin] Token = \"\"\"S\"\"\"\n",
            "[admin] tokn = \"S\"\n",
            "[admin]\nread_token = { \"S\" = 1 }\n",
            "{ \"admin\": { \"secret\": \"S\" } }\n",
            "{ \"admin\": {\n \"secret\": \"S\" } }\n",
            "admin:\n  password: \"S\"\n",
            "admin.token =\n\"S\"\n",
            "admin.token = \"\nS\"\n",
            "  token: |\n    S\n",
            "token \"\"\"\nfirst\nS\n\"\"\"\n",
            "token '''\nfirst\nS\n'''\n",
            "[admin] read_token = \"S\"\n",
            "admin:\n  tokn: \"S\"\n",
        ] {
            let text = text.replace('S', SECRET);
            let masked = masked(&text).unwrap();
            assert!(!masked.text.contains("s3cret"), "{text}\n{}", masked.text);
            assert_eq!(masked.text.len(), text.len());
        }
    }

    #[test]
    fn what_stands_in_tables_of_secrets_is_masked() {
        for text in [
            "[admin]\nother = \"S\"\n",
            "[admin.x]\nother = \"S\"\n",
            "[[admin]]\nother = \"S\"\n",
            "[admin]\n[[admin.x]]\nother = \"S\"\n",
            "[[tokens]]\nother = \"S\"\n",
            "[[admn]]\ntoken = \"S\"\n",
        ] {
            let masked = masked(&text.replace('S', SECRET)).unwrap();
            assert!(!masked.text.contains("s3cret"), "{text}\n{}", masked.text);
        }
    }

    #[test]
    fn in_a_broken_text_each_line_is_masked_by_itself() {
        let text = "[log]\nlevel = \"information\" # a long line\n\n[admin]\nlisten = \"[::1]:80\"\n\
                    read_token = \"S3cret\"\ntoken \"S3cret\"\nx = 1\n[[route]]\nlisten = \"8080\"\n";
        let masked = masked(text).unwrap();
        assert_eq!(
            masked.text,
            "[log]\nlevel = \"information\" # a long line\n\n[admin]\nlisten = \"[::1]:80\"\n\
             read_token = \"******\"\n***** \"******\"\n* = *\n[[*****]]\nlisten = \"8080\"\n"
        );
        // Behind the sign of a token, not of a table.
        let text = super::masked("admin = { token = \"S3cret\"\n").unwrap().text;
        assert_eq!(text, "admin = { token = \"******\"\n");
    }

    #[test]
    fn what_can_only_be_a_path_or_the_name_of_a_variable_is_shown() {
        for (line, shown) in [
            // With 16 characters it may be a token.
            ("token = { file = \"Tok/AAAAAAAAAAA\" }", true),
            ("token = { file = \"Tok/AAAAAAAAAAAA\" }", false),
            ("token = { env = \"aaaaaaaaaaaaaaa\" }", true),
            ("token = { env = \"aaaaaaaaaaaaaaaa\" }", false),
            ("group = \"aaaaaaaaaaaaaaa\"", true),
            ("group = \"aaaaaaaaaaaaaaaa\"", false),
            ("mode = \"aaaaaaaaaaaaaaa\"", true),
            ("mode = \"aaaaaaaaaaaaaaaa\"", false),
            // Base64 has slashes, and no other sign of a path.
            ("token = { file = \"/SRV/AAAA.AAAAAAAAA\" }", true),
            ("token = { file = \"/SRV/AAAA-AAAAAAAAA\" }", true),
            ("token = { file = \"/SRV/AAAA_AAAAAAAAA\" }", true),
            ("token = { file = \"/SRV/AAAAAAAAAAAAAA\" }", false),
            ("token = { file = \"SRV/AAAA.AAAAAAAAAA\" }", false),
            ("token = { file = \"/run/AAAAAAAAAAAAAA\" }", true),
            ("token = { file = \"./AAAAAAAAAAAAAAAAA\" }", true),
            ("token = { file = \"srv/t0ken.of-the_node\" }", true),
            ("token = { file = \"srv/token/of/Portway\" }", false),
            ("token = { file = \"srvtokenofportway\" }", false),
            // Capitals with a `_` between are a name.
            ("token = { env = \"AAAA_AAAA_AAAA_AAAA\" }", true),
            ("token = { env = \"AAAA_AAAA_AAAA_AAAa\" }", false),
            ("token = { env = \"AAAAAAAAAAAAAAAAAAA\" }", false),
            ("token = { env = \"1AAA_AAAA_AAAA_AAAA\" }", false),
            ("token = { env = \"AAAA-AAAA\" }", false),
            ("token = { env = \"$AAAA_AAAA_AAAA_AAAA\" }", true),
            ("token = { env = \"$aaaaaaaaaaaaaaaa\" }", false),
            ("token = { env = \"${aaaaaaaaaaaaaaaa}\" }", true),
            ("token = { env = \"${aaaaaaaa-aaaaaaa}\" }", false),
        ] {
            assert_eq!(masked(&format!("[admin]\n{line}\n")).is_none(), shown, "{line}");
        }
    }

    #[test]
    fn a_message_keeps_what_is_too_short_for_a_secret_or_is_an_address() {
        for (line, said, shown) in [
            ("token = \"abcd abcde\"", "abcd and abcde", "abcd and ***"),
            ("other = \"abcdefghijklmno\"", "abcdefghijklmno", "abcdefghijklmno"),
            ("other = \"abcdefghijklmnop\"", "abcdefghijklmnop", "***"),
            (
                "token = \"upstream 10.0.0.1:8080 app:3000\"",
                "upstream 10.0.0.1:8080 app:3000",
                "upstream 10.0.0.1:8080 app:3000",
            ),
        ] {
            let mut message = said.to_owned();
            masked(&format!("[admin]\n{line}\n")).unwrap().scrub(&mut message);
            assert_eq!(message, shown);
        }
    }

    #[test]
    fn a_message_loses_whole_secrets_only() {
        let masked = masked("[admin]\ntoken = \"s3cret\"\n").unwrap();
        for (said, shown) in [
            ("not `s3cret`", "not `***`"),
            ("s3cret", "***"),
            ("s3crets xs3cret s3cret1", "s3crets xs3cret s3cret1"),
            ("s3cret and (s3cret)", "*** and (***)"),
        ] {
            let mut message = said.to_owned();
            masked.scrub(&mut message);
            assert_eq!(message, shown);
        }
    }
}
