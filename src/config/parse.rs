//! The parser of TOML, bounded.

use std::ops::Range;

use toml::de::{DeTable, Error};
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

/// Parts of a dotted key at most. The parser bounds brackets and braces by itself, but not `a.a.a`, and a table is
/// dropped by recursion.
pub(super) const DEEPEST: usize = 80;

/// The document of a text as far as it can be read, and what is wrong with its syntax. Fails with the place of a key that has
/// too many parts.
pub(super) fn document(text: &str) -> Result<(DeTable<'_>, Vec<Error>), Range<usize>> {
    match too_deep(text) {
        Some(at) => Err(at),
        None => Ok(recover(text)),
    }
}

/// Parses what is worth it. A file of another kind, a log or a page, has a fault in each line, and the parser keeps them
/// all: of a large file the beginning is looked at first, and where that is full of faults, the rest is not read.
fn recover(text: &str) -> (DeTable<'_>, Vec<Error>) {
    const ENOUGH: usize = 200;
    let mut size = 256 * 1024;
    while size < text.len() {
        let end = text[..text.floor_char_boundary(size)].rfind('\n').unwrap_or_default();
        let (document, errors) = DeTable::parse_recoverable(&text[..end]);
        if errors.len() > ENOUGH {
            return (document.into_inner(), errors);
        }
        size *= 8;
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    (document.into_inner(), errors)
}

/// Where a dotted key has too many parts.
fn too_deep(text: &str) -> Option<Range<usize>> {
    let dots = |line: &str| line.bytes().filter(|byte| *byte == b'.').count();
    if text.lines().all(|line| dots(line) < DEEPEST) {
        return None;
    }
    let mut parts = 0;
    for token in Source::new(text).lex() {
        match token.kind() {
            TokenKind::Dot => parts += 1,
            TokenKind::Atom | TokenKind::Whitespace | TokenKind::BasicString | TokenKind::LiteralString => {}
            _ => parts = 0,
        }
        if parts >= DEEPEST {
            return Some(token.span().start()..token.span().end());
        }
    }
    None
}
