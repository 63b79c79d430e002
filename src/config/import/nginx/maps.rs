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
    /// A line whose clients would come to it here.
    pub after: Option<Said>,
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
    let (mut masks, mut lost, mut unread) = (false, None, None);
    let has_default = map.inside().iter().any(|entry| entry.name == "default");
    for entry in map.inside() {
        let said = entry.said();
        match (entry.name.as_str(), entry.args.as_slice()) {
            ("hostnames", []) => {
                masks = true;
                sheet.same(&said);
            }
            ("volatile", []) => sheet.same(&said),
            ("include", _) => {
                sheet.note(&said, "other files are not read: write its lines into `sni`");
                unread.get_or_insert(said);
            }
            (pattern, [target]) => match selected(by, pattern, masks) {
                Selected::Nobody => sheet.note(&said, NOBODY),
                Selected::Lost(why) => {
                    sheet.note(&said, why);
                    lost.get_or_insert(said);
                }
                // nginx closes the connections of these, and here they have no route.
                Selected::Rest if target.is_empty() => sheet.same(&said),
                Selected::Rest => {
                    sheet.carried(&said);
                    if !has_default {
                        sheet.note(&said, NO_DEFAULT);
                    }
                    add(&mut cases, by, Picked { target, words: None }, &said);
                }
                Selected::Words(words) => {
                    sheet.carried(&said);
                    add(&mut cases, by, Picked { target, words: Some(words) }, &said);
                }
            },
            _ => sheet.note(&said, "a line of a map has a pattern and one value"),
        }
    }
    for case in &mut cases {
        // A name decides before a mask, a mask before an expression, and that before the rest.
        case.after = match (case.rest, case.sni.iter().any(|name| name.starts_with('*'))) {
            (true, _) => unread.clone().or_else(|| lost.clone()),
            (_, true) => unread.clone(),
            _ => None,
        };
    }
    Ok(cases)
}

const NO_DEFAULT: &str = "without `default` nginx closes the connection of whoever asks for something that no line has; here the rest \
    takes those, too";

const NOBODY: &str = "without `hostnames` before it nginx takes this word by word, and no client asks for such a name: nobody \
    comes here";

struct Picked<'a> {
    target: &'a str,
    /// None: the rest.
    words: Option<Vec<String>>,
}

fn add(cases: &mut Vec<Case>, by: By, picked: Picked<'_>, said: &Said) {
    let at = cases.iter().position(|case| case.target == picked.target).unwrap_or_else(|| {
        cases.push(Case { target: picked.target.to_owned(), said: Some(said.clone()), ..Case::default() });
        cases.len() - 1
    });
    let case = &mut cases[at];
    case.rest |= picked.words.is_none();
    let words = picked.words.unwrap_or_default();
    match by {
        By::Name => case.sni.extend(words),
        By::Alpn => case.alpn.extend(words),
    }
}

/// Whom a pattern means.
enum Selected {
    Rest,
    Words(Vec<String>),
    /// Nobody who is there.
    Nobody,
    /// Some whom Portway cannot tell apart, and why.
    Lost(&'static str),
}

/// Whom a pattern means. `masks`: names may have a mask. Reference: nginx.org/en/docs/stream/ngx_stream_map_module.html.
fn selected(by: By, pattern: &str, masks: bool) -> Selected {
    const REGEX: &str =
        "server names are exact, or all below one (\"*.example.com\"): list those that are meant";
    // No name, and whatever no line has, is the rest here.
    if matches!(pattern, "default" | "") {
        return Selected::Rest;
    }
    if pattern.starts_with('~') {
        return Selected::Lost(if by == By::Alpn {
            "protocols are listed by name: alpn = [\"h2\"]"
        } else {
            REGEX
        });
    }
    let own = pattern.strip_prefix('\\').unwrap_or(pattern);
    let masked = own.starts_with(['.', '*']) || own.ends_with(".*");
    match own.strip_prefix('.') {
        _ if by == By::Alpn => Selected::Words(vec![own.to_owned()]),
        _ if masked && !masks => Selected::Nobody,
        Some(name) => Selected::Words(vec![name.to_owned(), format!("*.{name}")]),
        None if own.ends_with(".*") => Selected::Lost(REGEX),
        None => Selected::Words(vec![own.to_owned()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pattern: &str, masks: bool) -> String {
        match selected(By::Name, pattern, masks) {
            Selected::Rest => "rest".to_owned(),
            Selected::Words(words) => words.join(" "),
            Selected::Nobody => "nobody".to_owned(),
            Selected::Lost(_) => "lost".to_owned(),
        }
    }

    #[test]
    fn a_mask_means_something_behind_hostnames_only() {
        for (pattern, with, without) in [
            ("a.example", "a.example", "a.example"),
            ("*.a.example", "*.a.example", "nobody"),
            (".a.example", "a.example *.a.example", "nobody"),
            ("www.a.*", "lost", "nobody"),
            ("~^a", "lost", "lost"),
            ("default", "rest", "rest"),
            ("", "rest", "rest"),
            ("\\default", "default", "default"),
        ] {
            assert_eq!([of(pattern, true), of(pattern, false)], [with, without], "{pattern}");
        }
    }
}
