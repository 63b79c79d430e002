//! What belongs to another language than TOML: whole files (JSON, YAML, nginx, HAProxy), markers of git, comments, quotes.
//! Only a text that has faults of syntax comes here.

use toml::de::DeTable;

use super::line::Line;
use super::placed::Placed;
use crate::model::Fault;

/// A route, to show what the file looks like.
const EXAMPLE: &str = "[[route]]\nlisten = \"127.0.0.1:8080\"\nupstream = \"app.internal:3000\"";

/// The faults of a text as a whole: it is of another language, or a merge was not finished. What else is wrong with it says
/// nothing.
pub(super) fn of_file(text: &str) -> Vec<Placed> {
    let conflicts = conflicts(text);
    if !conflicts.is_empty() {
        return conflicts;
    }
    let Some((name, first)) = language(text) else { return Vec::new() };
    let fault = Fault::new(format!("this looks like {name}"), format!("the file is TOML; write\n{EXAMPLE}"));
    vec![Placed::new(first.place(first.text.trim()), fault)]
}

/// The markers that git leaves where it could not merge: one fault for each place.
fn conflicts(text: &str) -> Vec<Placed> {
    let mut faults: Vec<Placed> = Vec::new();
    for line in Line::all(text) {
        let place = line.place(line.text);
        let is = |marker: &str| {
            line.text.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        if is("<<<<<<<") {
            let fault = Fault::new(
                "git could not merge this place: both versions stand here",
                "keep one of them, and remove the lines of the markers <<<<<<<, ======= and >>>>>>>",
            );
            faults.push(Placed::new(place, fault).label("one version begins"));
        } else if let Some(last) = faults.pop() {
            faults.push(match line.text {
                _ if is("=======") => last.also(place, "the other one begins"),
                _ if is(">>>>>>>") => last.also(place, "and ends"),
                _ => last,
            });
        }
    }
    faults
}

/// The language of a text by its first line that says something.
fn language(text: &str) -> Option<(&'static str, Line<'_>)> {
    let mut lines = Line::all(text).filter(|line| {
        let bare = line.text.trim();
        !bare.is_empty() && !bare.starts_with(['#', ';']) && !bare.starts_with("//")
    });
    let first = lines.next()?;
    let (bare, equals) = (first.text.trim(), first.text.contains('='));
    let words: Vec<&str> = bare.split_whitespace().collect();
    let indented = lines.next().is_some_and(|second| second.text.starts_with([' ', '\t']));
    let header = Line::all(text).any(|line| line.text.trim_start().starts_with('['));
    let name = match words.as_slice() {
        _ if bare.starts_with('{') => "JSON",
        _ if bare.starts_with('<') => "XML",
        _ if equals || bare.starts_with('[') => return None,
        _ if bare.ends_with('{') || bare.ends_with(';') => "a file of nginx or Caddy",
        ["global" | "defaults"] if indented => "a file of HAProxy",
        ["frontend" | "backend" | "listen" | "resolvers" | "peers", _] if indented => "a file of HAProxy",
        ["---"] => "YAML",
        _ if !header && (bare.ends_with(':') || bare.starts_with("- ")) => "YAML",
        _ => return None,
    };
    Some((name, first))
}

/// A comment, a semicolon or quotes of another language, in a line that has a fault.
pub(super) fn of_line(line: &Line<'_>) -> Option<Placed> {
    comment(line).or_else(|| quotes(line))
}

/// Where a block `/* */` that begins in this line ends.
pub(super) fn end_of_block(text: &str, line: &Line<'_>) -> Option<usize> {
    let begins = line.text.trim_start().starts_with("/*").then_some(line.start)?;
    Some(text[begins..].find("*/").map_or(text.len(), |end| begins + end + 2))
}

fn comment(line: &Line<'_>) -> Option<Placed> {
    let at = comment_at(line.text)?;
    let found = line.text[at..].trim_end();
    let place = line.start + at..line.start + at + found.len();
    let marker = ["//", "/*", "--", ";"].into_iter().find(|marker| found.starts_with(marker))?;
    let words = found[marker.len()..].trim().trim_end_matches("*/").trim_matches([' ', '*', '/']);
    if marker == ";" && words.is_empty() {
        // Without `=` the whole line is another language's.
        let fault = Fault::new("a line of TOML ends without a semicolon", "remove the `;`");
        return line.text.contains('=').then(|| Placed::new(place, fault));
    }
    let message = format!("a comment begins with `#`, not with `{marker}`");
    let cure = match marker == "/*" && !found.contains("*/") {
        true => "put # before each of its lines, in place of /* and */".to_owned(),
        false => format!("write # {words}"),
    };
    Some(Placed::new(place, Fault::new(message, cure)))
}

/// Where a comment of another language begins: outside of quotes, at the beginning or after a space; a semicolon
/// anywhere.
fn comment_at(text: &str) -> Option<usize> {
    let (mut quote, mut before) = (None, ' ');
    for (at, c) in text.char_indices() {
        let rest = &text[at..];
        let begins =
            before.is_whitespace() && ["//", "/*", "-- "].iter().any(|marker| rest.starts_with(marker));
        match (quote, c) {
            (None, '#') => return None,
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c && before != '\\' => quote = None,
            (None, _) if begins || c == ';' => return Some(at),
            _ => {}
        }
        before = c;
    }
    None
}

/// Quotes of word processors, of Markdown and of other languages.
pub(super) const QUOTES: &[char] = &['“', '”', '„', '‟', '‘', '’', '‚', '«', '»', '`', '´', '＂'];

/// The quotes of a line, where straight ones make it a line of TOML.
fn quotes(line: &Line<'_>) -> Option<Placed> {
    let bare = line.text.trim().trim_end_matches(',');
    let found = bare.chars().find(|c| QUOTES.contains(c))?;
    let straight = bare.replace(QUOTES, "\"");
    let parses = |text: &str| DeTable::parse_recoverable(text).1.is_empty();
    // Or an entry of a list that has several lines.
    let fits = |text: &str| parses(text) || parses(&format!("x = [\n{text}\n]"));
    if bare.len() > 4096 || fits(bare) || !fits(&straight) {
        return None;
    }
    let message = format!("`{found}` is no quote of TOML: quotes are straight");
    Some(Placed::new(line.place(bare), Fault::new(message, format!("write {straight}"))))
}
