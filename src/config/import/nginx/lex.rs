//! The syntax of nginx's files: words, `;`, blocks, comments. Reference: `ngx_conf_read_token` of nginx.

use std::ops::Range;

use crate::config::import::misread::Misread;
use crate::config::import::sheet::Said;

/// A statement, with the block behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    pub line: usize,
    pub name: String,
    pub args: Vec<String>,
    pub block: Option<Vec<Directive>>,
}

impl Directive {
    /// As it stands in the file, without its block.
    pub fn said(&self) -> Said {
        let words: Vec<&str> = std::iter::once(&self.name).chain(&self.args).map(String::as_str).collect();
        Said::new(self.line, &words.join(" "))
    }

    pub fn arg(&self, at: usize) -> &str {
        self.args.get(at).map_or("", String::as_str)
    }

    pub fn inside(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// Blocks in blocks: nginx itself has four levels at most.
const DEEPEST: usize = 16;

enum Token {
    Word(String),
    Semicolon,
    Open,
    Close,
}

/// A token with its place.
struct Placed {
    token: Token,
    at: Range<usize>,
    line: usize,
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    line: usize,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn next(&mut self) -> Result<Option<Placed>, Misread> {
        while let Some(c) = self.peek() {
            match c {
                '#' => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.take();
                    }
                }
                c if c.is_whitespace() => drop(self.take()),
                _ => break,
            }
        }
        let (start, line) = (self.at, self.line);
        let Some(first) = self.peek() else { return Ok(None) };
        let token = match first {
            ';' => Token::Semicolon,
            '{' => Token::Open,
            '}' => Token::Close,
            '"' | '\'' => Token::Word(self.quoted(first)?),
            _ => Token::Word(self.word()),
        };
        if !matches!(token, Token::Word(_)) {
            self.take();
        }
        Ok(Some(Placed { token, at: start..self.at, line }))
    }

    fn quoted(&mut self, quote: char) -> Result<String, Misread> {
        let start = self.at;
        self.take();
        let mut word = String::new();
        while let Some(c) = self.take() {
            match c {
                '\\' => word.extend(self.escaped()),
                c if c == quote => return Ok(word),
                c => word.push(c),
            }
        }
        Err(Misread::new(start..start + 1, "the quotes that begin here do not end", format!("add {quote}")))
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(c) = self.peek() {
            match c {
                // A variable: `${x}`.
                '{' if word.ends_with('$') => {}
                ';' | '{' => break,
                c if c.is_whitespace() => break,
                _ => {}
            }
            self.take();
            match c {
                '\\' => word.extend(self.escaped()),
                c => word.push(c),
            }
        }
        word
    }

    /// What follows a backslash: only quotes, a backslash and white space lose it.
    fn escaped(&mut self) -> Vec<char> {
        match self.take() {
            Some('t') => vec!['\t'],
            Some('r') => vec!['\r'],
            Some('n') => vec!['\n'],
            Some(c @ ('"' | '\'' | '\\')) => vec![c],
            Some(c) => vec!['\\', c],
            None => vec!['\\'],
        }
    }

    /// Steps over a block of another language (Lua), whose braces match.
    fn skip_block(&mut self) {
        let mut depth = 1;
        while let (true, Some(c)) = (depth > 0, self.take()) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
        }
    }
}

/// A block that is not closed yet.
struct Open {
    at: Range<usize>,
    directive: Directive,
}

/// All statements of a file.
pub(super) fn parse(text: &str) -> Result<Vec<Directive>, Misread> {
    let mut lexer = Lexer { text, at: 0, line: 1 };
    let (mut done, mut open): (Vec<Directive>, Vec<Open>) = (Vec::new(), Vec::new());
    let mut words: Vec<Placed> = Vec::new();
    while let Some(next) = lexer.next()? {
        match next.token {
            Token::Word(_) => words.push(next),
            Token::Semicolon => {
                let directive = directive(&mut words, None).ok_or_else(|| {
                    Misread::new(next.at, "there is no statement before this `;`", "remove it")
                })?;
                open.last_mut().map_or(&mut done, inside).push(directive);
            }
            Token::Open => {
                let directive = directive(&mut words, Some(Vec::new())).ok_or_else(|| {
                    Misread::new(next.at.clone(), "this block has no name", "write one before it: `stream {`")
                })?;
                if open.len() >= DEEPEST {
                    return Err(Misread::new(
                        next.at,
                        "blocks stand too deep in each other",
                        "is it nginx's?",
                    ));
                }
                if directive.name.ends_with("_by_lua_block") {
                    lexer.skip_block();
                    open.last_mut().map_or(&mut done, inside).push(directive);
                } else {
                    open.push(Open { at: next.at, directive });
                }
            }
            Token::Close => {
                no_words(&words)?;
                let Some(closed) = open.pop() else {
                    return Err(Misread::new(next.at, "this `}` closes no block", "remove it"));
                };
                open.last_mut().map_or(&mut done, inside).push(closed.directive);
            }
        }
    }
    no_words(&words)?;
    match open.pop() {
        None => Ok(done),
        Some(Open { at, directive }) => {
            Err(Misread::new(at, format!("the block of `{}` is not closed", directive.name), "add `}`"))
        }
    }
}

fn inside(open: &mut Open) -> &mut Vec<Directive> {
    open.directive.block.get_or_insert_default()
}

/// A statement must end before a block does, and before the file does.
fn no_words(words: &[Placed]) -> Result<(), Misread> {
    match (words.first(), words.last()) {
        (Some(first), Some(last)) => {
            Err(Misread::new(first.at.start..last.at.end, "this statement does not end", "add `;` behind it"))
        }
        _ => Ok(()),
    }
}

/// Makes a statement of the words that came.
fn directive(words: &mut Vec<Placed>, block: Option<Vec<Directive>>) -> Option<Directive> {
    let mut line = None;
    let texts = words.drain(..).filter_map(|word| {
        line.get_or_insert(word.line);
        match word.token {
            Token::Word(text) => Some(text),
            _ => None,
        }
    });
    let mut texts = texts.collect::<Vec<_>>().into_iter();
    let name = texts.next()?;
    Some(Directive { line: line?, name, args: texts.collect(), block })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_quotes_comments_and_blocks() {
        let read = parse("a b 'c d' \"e\\\"f\"; # g;\nstream {\n  h ${x}:1;\n}\n").unwrap();
        assert_eq!(read[0].args, ["b", "c d", "e\"f"]);
        let inner = &read[1].inside()[0];
        assert_eq!((read[1].line, inner.line, inner.arg(0)), (2, 3, "${x}:1"));
        assert_eq!(inner.said().text, "h ${x}:1");
        let variables = parse("a ${x}y${z} ${u;v} $w{ ${q r; }").unwrap();
        assert_eq!(variables[0].args, ["${x}y${z}", "${u"]);
        let block = &variables[1];
        assert_eq!((block.name.as_str(), block.arg(0), block.inside()[0].name.as_str()), ("v}", "$w", "${q"));
        let lua = parse("x_by_lua_block { if a { b; } }\nc;").unwrap();
        assert_eq!((lua.len(), lua[1].line), (2, 2));
    }

    #[test]
    fn a_backslash_stays_but_before_quotes_and_what_it_escapes() {
        let read = parse("a \"\\t\\r\\n\\\\\\q\\\"\" 'b\\'c\"' d\\;e\\{f g\\").unwrap_err();
        assert_eq!(read.fault.message, "this statement does not end");
        let read = parse("a \"\\t\\r\\n\\\\\\q\\\"\" 'b\\'c\"' d\\;e\\{f;").unwrap();
        assert_eq!(read[0].args, ["\t\r\n\\\\q\"", "b'c\"", "d\\;e\\{f"]);
    }

    #[test]
    fn blocks_may_be_so_deep_and_no_deeper() {
        let nested = |depth: usize| format!("{}{}", "a {".repeat(depth), "}".repeat(depth));
        assert!(parse(&nested(16)).is_ok());
        assert_eq!(parse(&nested(17)).unwrap_err().at, 50..51);
    }

    #[test]
    fn faults_name_their_place_and_their_cure() {
        for (text, at, message, help) in [
            ("a;\nb {", 5..6, "the block of `b` is not closed", "add `}`"),
            ("a b", 0..3, "this statement does not end", "add `;` behind it"),
            ("a { b }", 4..5, "this statement does not end", "add `;` behind it"),
            ("}", 0..1, "this `}` closes no block", "remove it"),
            (";", 0..1, "there is no statement before this `;`", "remove it"),
            ("a 'b;", 2..3, "the quotes that begin here do not end", "add '"),
            ("{ }", 0..1, "this block has no name", "write one before it: `stream {`"),
        ] {
            assert_eq!(parse(text), Err(Misread::new(at, message, help)), "{text}");
        }
        assert!(parse(&"a {".repeat(100_000)).is_err());
    }
}
