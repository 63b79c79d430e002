//! `map` by what a TLS hello asks for: each value is a route of its own.

use super::lex::Directive;
use crate::config::import::sheet::{Said, Sheet};

/// Whom a target is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Case {
    /// The value of the map: an upstream.
    pub target: String,
    pub sni: Vec<String>,
    pub alpn: Vec<String>,
    /// The first line of it.
    pub said: Option<Said>,
    /// It takes the rest.
    pub rest: bool,
}

/// What a map looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Name,
    Alpn,
}

/// The cases of a map, one for each target. `Err`: why it can be none.
pub(super) fn cases(map: &Directive, sheet: &mut Sheet) -> Result<Vec<Case>, String> {
    let by = match map.arg(0) {
        "$ssl_preread_server_name" | "$ssl_server_name" => By::Name,
        "$ssl_preread_alpn_protocols" => By::Alpn,
        other => {
            return Err(format!(
                "it looks at `{other}`: Portway chooses a route by the server name (`sni`) and by `alpn` only"
            ));
        }
    };
    let mut cases: Vec<Case> = Vec::new();
    for entry in map.inside() {
        let said = entry.said();
        match (entry.name.as_str(), entry.args.as_slice()) {
            ("hostnames" | "volatile", []) => sheet.same(&said),
            ("include", _) => sheet.note(&said, "other files are not read: write its lines into `sni`"),
            (pattern, [target]) => match selected(by, pattern) {
                Ok(selected) => {
                    sheet.carried(&said);
                    add(&mut cases, by, Picked { target, selected }, &said);
                }
                Err(why) => sheet.note(&said, why),
            },
            _ => sheet.note(&said, "a line of a map has a pattern and one value"),
        }
    }
    Ok(cases)
}

struct Picked<'a> {
    target: &'a str,
    /// None: the rest.
    selected: Vec<String>,
}

fn add(cases: &mut Vec<Case>, by: By, picked: Picked<'_>, said: &Said) {
    let at = cases.iter().position(|case| case.target == picked.target).unwrap_or_else(|| {
        cases.push(Case { target: picked.target.to_owned(), said: Some(said.clone()), ..Case::default() });
        cases.len() - 1
    });
    let case = &mut cases[at];
    case.rest |= picked.selected.is_empty();
    match by {
        By::Name => case.sni.extend(picked.selected),
        By::Alpn => case.alpn.extend(picked.selected),
    }
}

/// What a pattern selects. Nothing: the rest.
fn selected(by: By, pattern: &str) -> Result<Vec<String>, &'static str> {
    const REGEX: &str =
        "server names are exact, or all below one (\"*.example.com\"): list those that are meant";
    // A backslash makes a name of what would be a word of nginx.
    let own = pattern.strip_prefix('\\').unwrap_or(pattern);
    match (by, own) {
        // No name, and whatever no line has, is the rest here.
        _ if matches!(pattern, "default" | "") => Ok(Vec::new()),
        (_, own) if own.starts_with('~') && by == By::Alpn => {
            Err("protocols are listed by name: alpn = [\"h2\"]")
        }
        (By::Alpn, own) => Ok(vec![own.to_owned()]),
        (By::Name, own) if own.starts_with('~') || own.ends_with(".*") => Err(REGEX),
        (By::Name, own) => Ok(match own.strip_prefix('.') {
            Some(name) => vec![name.to_owned(), format!("*.{name}")],
            None => vec![own.to_owned()],
        }),
    }
}
