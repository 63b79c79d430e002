//! The syntax of HAProxy's files: lines of words, in sections. Reference: configuration manual, 2.2 "Quoting and escaping".

use crate::config::import::misread::Misread;
use crate::config::import::sheet::Said;

/// A line that says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub said: Said,
    pub words: Vec<String>,
}

impl Line {
    /// What it is about: its first word, of some the first two.
    pub fn name(&self) -> String {
        self.words.get(..self.name_words()).unwrap_or_default().join(" ")
    }

    /// The words behind its name.
    pub fn args(&self) -> &[String] {
        self.words.get(self.name_words()..).unwrap_or_default()
    }

    /// How many words its name has.
    fn name_words(&self) -> usize {
        match self.words.as_slice() {
            [first, second, ..]
                if TWO_WORDS.contains(&first.as_str()) || (first == "stats" && second == "socket") =>
            {
                2
            }
            _ => self.words.len().min(1),
        }
    }

    pub fn arg(&self, at: usize) -> &str {
        self.args().get(at).map_or("", String::as_str)
    }
}

/// Words that say little without the next one.
const TWO_WORDS: [&str; 3] = ["timeout", "option", "no"];

/// A section with its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub said: Said,
    /// `frontend`, `backend` ...
    pub kind: String,
    pub name: String,
    /// The defaults that it takes by name.
    pub from: Option<String>,
    /// The index of the last `defaults` before it.
    pub defaults: Option<usize>,
    pub lines: Vec<Line>,
}

/// The words that begin a section.
const SECTIONS: [&str; 18] = [
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "resolvers",
    "peers",
    "userlist",
    "mailers",
    "cache",
    "program",
    "ring",
    "http-errors",
    "fcgi-app",
    "log-forward",
    "crt-store",
    "log-profile",
    "traces",
];

/// All sections of a file.
pub(super) fn parse(text: &str) -> Result<Vec<Section>, Misread> {
    let mut sections: Vec<Section> = Vec::new();
    let (mut defaults, mut start) = (None, 0);
    for (number, raw) in text.split_inclusive('\n').enumerate() {
        let at = start..start + raw.trim_end().len();
        start += raw.len();
        let words = words(raw, at.start)?;
        let Some(first) = words.first() else { continue };
        let said = Said::new(number + 1, without_comment(raw));
        if SECTIONS.contains(&first.as_str()) {
            let from = words.iter().position(|word| word == "from").and_then(|at| words.get(at + 1)).cloned();
            let name = words.get(1).filter(|word| *word != "from").cloned().unwrap_or_default();
            if first == "defaults" {
                defaults = Some(sections.len());
            }
            let mine = defaults.filter(|at| *at != sections.len());
            sections.push(Section {
                said,
                kind: first.clone(),
                name,
                from,
                defaults: mine,
                lines: Vec::new(),
            });
            continue;
        }
        match sections.last_mut() {
            Some(section) => section.lines.push(Line { said, words }),
            None => {
                let help = "a file of HAProxy begins with a section: `global`, `defaults`, `listen NAME` ...";
                return Err(Misread::new(at, format!("`{first}` stands in no section"), help));
            }
        }
    }
    Ok(sections)
}

/// A line without the comment behind it, near enough to be shown.
fn without_comment(raw: &str) -> &str {
    raw.find(" #").and_then(|at| raw.get(..at)).filter(|text| !text.trim().is_empty()).unwrap_or(raw)
}

/// The words of a line, without quotes and escapes. `start`: where the line begins in the text.
fn words(line: &str, start: usize) -> Result<Vec<String>, Misread> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '#' => break,
            c if c.is_whitespace() => words.extend(word.take()),
            '"' | '\'' => {
                let word = word.get_or_insert_default();
                if !quoted(c, &mut chars, word) {
                    let at = start + at;
                    let help = format!("add {c} where they should end, in the same line");
                    return Err(Misread::new(at..at + 1, "the quotes that begin here do not end", help));
                }
            }
            '\\' => {
                let next = chars.next().map_or('\\', |(_, c)| c);
                word.get_or_insert_default().extend(escaped(next));
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Reads up to the quote. Whether it came.
fn quoted(quote: char, chars: &mut std::str::CharIndices<'_>, word: &mut String) -> bool {
    while let Some((_, c)) = chars.next() {
        match c {
            c if c == quote => return true,
            '\\' if quote == '"' => {
                let next = chars.next().map_or('\\', |(_, c)| c);
                word.extend(escaped(next));
            }
            c => word.push(c),
        }
    }
    false
}

fn escaped(c: char) -> Vec<char> {
    match c {
        'r' => vec!['\r'],
        'n' => vec!['\n'],
        't' => vec!['\t'],
        ' ' | '#' | '"' | '\'' | '\\' | '$' => vec![c],
        other => vec!['\\', other],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_quotes_escapes_and_comments() {
        let of = |line: &str| words(line, 0).unwrap();
        assert_eq!(of("  bind *:80  # web"), ["bind", "*:80"]);
        assert_eq!(of("tcp-check send PING\\r\\n"), ["tcp-check", "send", "PING\r\n"]);
        assert_eq!(of("a b\\ c 'd e' \"f # g\" h\\#"), ["a", "b c", "d e", "f # g", "h#"]);
        assert_eq!(of("x '' y"), ["x", "", "y"]);
        assert_eq!(of(r"a 'b\n' '\' \q\$\'"), ["a", r"b\n", r"\", r"\q$'"]);
        assert_eq!(of("a\\tb \"c\\nd\"# e"), ["a\tb", "c\nd"]);
        assert_eq!(of(r"a\"), [r"a\"]);
        assert_eq!(of(r#"a "b\"c\\" 'd\e'"#), ["a", r#"b"c\"#, r"d\e"]);
        let help = "add ' where they should end, in the same line";
        assert_eq!(
            words("a 'b", 10),
            Err(Misread::new(12..13, "the quotes that begin here do not end", help))
        );
    }

    #[test]
    fn a_line_is_called_by_one_word_or_by_two() {
        for (line, name, first) in [
            ("bind :1", "bind", ":1"),
            ("disabled", "disabled", ""),
            ("timeout client 5s", "timeout client", "5s"),
            ("option tcplog", "option tcplog", ""),
            ("no option tcplog", "no option", "tcplog"),
            ("option", "option", ""),
            ("stats socket /x", "stats socket", "/x"),
            ("stats enable", "stats", "enable"),
            ("x socket", "x", "socket"),
        ] {
            let line = Line { said: Said::new(1, line), words: words(line, 0).unwrap() };
            assert_eq!((line.name().as_str(), line.arg(0)), (name, first));
        }
    }

    #[test]
    fn a_comment_behind_a_line_is_not_shown() {
        for (line, shown) in [("a b # c\n", "a b"), ("a#b # c", "a#b"), (" # c", " # c"), ("a b", "a b")] {
            assert_eq!(without_comment(line), shown);
        }
    }

    #[test]
    fn sections_know_their_defaults() {
        let read = parse("defaults\n mode tcp\ndefaults b from a\nlisten x from b\n bind :1\n").unwrap();
        let kinds: Vec<&str> = read.iter().map(|section| &*section.kind).collect();
        assert_eq!(kinds, ["defaults", "defaults", "listen"]);
        assert_eq!((read[2].defaults, read[2].from.as_deref()), (Some(1), Some("b")));
        assert_eq!((read[1].name.as_str(), read[1].defaults), ("b", None));
        assert_eq!(read[2].lines[0].said.line, 5);
        let read = parse("defaults a\ndefaults from a\nlisten x\n").unwrap();
        assert_eq!((read[1].name.as_str(), read[1].from.as_deref(), read[1].defaults), ("", Some("a"), None));
        assert_eq!((read[2].from.as_deref(), read[2].defaults), (None, Some(1)));
        assert!(parse("bind :1\n").unwrap_err().fault.message.contains("stands in no section"));
    }
}
