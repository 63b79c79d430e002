//! What can be a token, wherever it stands, and what only stands for one: everybody may know such a text.

use super::secrets::{is_variable, variable_of};
use crate::model::{Fault, Secret};

/// A shorter secret could be guessed.
const SHORTEST: usize = 16;

/// The token of a file that holds nothing else. What editors and other systems put around it is no part of it: a byte-order
/// mark, spaces, the end of the line. No fault quotes the text.
pub fn token(bytes: &[u8]) -> Result<Secret, Fault> {
    const CURE: &str = "write the token into it, and nothing else: openssl rand -hex 16";
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(Fault::new("the file is UTF-16", "save it as UTF-8"));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(Fault::new("the file is not text", CURE));
    };
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{feff}');
    match text.lines().count() {
        0 => Err(Fault::new("the file is empty", CURE)),
        1 if variable_of(text).is_some() => {
            Err(Fault::new("nothing is filled in here: the token is a placeholder", CURE))
        }
        1 => match mistaken("token", text) {
            Some(Mistake { what, .. }) => Err(Fault::new(what, CURE)),
            None => fit("the token", text.to_owned()),
        },
        lines => Err(Fault::new(format!("the file has {lines} lines, and a token is one"), CURE)),
    }
}

/// The token that stands in the routes' file itself, at this key.
pub(super) fn written(key: &str, text: String) -> Result<Secret, Fault> {
    // Everybody may know the name of a variable.
    if let Some(name) = variable_of(&text) {
        let message = format!("nothing is filled in here: the {key} would be this very text");
        return Err(Fault::new(message, format!("write {key} = {{ env = \"{name}\" }}")));
    }
    match mistaken(key, &text) {
        Some(Mistake { what, cure }) => Err(Fault::new(what, cure)),
        None => fit(&format!("the {key}"), text),
    }
}

/// What stands in the place of a token.
struct Mistake {
    what: String,
    /// What to write in the routes' file instead.
    cure: String,
}

/// A text that only stands for a token: a placeholder that nothing fills in, or what says where the token is.
fn mistaken(key: &str, text: &str) -> Option<Mistake> {
    let within = |start: &str, end: &str| {
        text.strip_prefix(start).and_then(|rest| rest.strip_suffix(end)).is_some_and(|name| !name.is_empty())
    };
    let (what, cure) = if within("{{", "}}")
        || within("<", ">")
        || within("%(", ")s")
        || text.contains("${")
        || text.starts_with("$(")
    {
        let what = format!("nothing is filled in here: the {key} has a placeholder in it");
        (what, format!("write {key} = {{ file = \"/run/secrets/portway\" }}, or env = with a name"))
    } else if is_path(text.strip_prefix("file:").unwrap_or(text)) {
        (format!("the {key} is a path"), format!("write {key} = {{ file = \"...\" }}, with that path"))
    } else if text.strip_prefix("env:").is_some_and(is_variable) {
        let what = format!("the {key} names a variable");
        (what, format!("write {key} = {{ env = \"...\" }}, with that name"))
    } else if is_assignment(text) {
        let what = format!("the {key} has the name of a variable before it");
        (what, "write what stands behind the =, alone".to_owned())
    } else if ["\"", "'", "`"].into_iter().any(|quote| within(quote, quote)) {
        (format!("the {key} stands in quotes, which would be part of it"), "write it without them".to_owned())
    } else {
        return None;
    };
    Some(Mistake { what, cure })
}

/// Whether a text is an absolute path. A token in base64 may begin with a slash as well, but has capitals inside.
fn is_path(text: &str) -> bool {
    let Some(path) = text.strip_prefix('/') else { return false };
    let is_word = |word: &str| word.chars().skip(1).all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    path.contains(['.', '-', '_']) || path.split('/').all(is_word)
}

/// Whether a text is a line of a file of variables: `NAME=value`. Behind a token in base32 or base64 `=` fills up.
fn is_assignment(text: &str) -> bool {
    let Some((name, value)) = text.split_once('=') else { return false };
    let is_capital = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    is_variable(name) && name.chars().all(is_capital) && !value.trim_matches('=').is_empty()
}

/// A text that can be a token.
fn fit(what: &str, text: String) -> Result<Secret, Fault> {
    let fault = if text.chars().count() < SHORTEST {
        format!("{what} is shorter than {SHORTEST} characters: it could be guessed")
    } else if !text.chars().all(|c| c.is_ascii_graphic()) {
        format!("{what} has a character that an HTTP header cannot carry")
    } else {
        return Ok(Secret::new(text));
    };
    Err(Fault::new(fault, "write letters and digits, as `openssl rand -hex 16` gives them"))
}
