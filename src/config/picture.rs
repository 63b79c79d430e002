//! One fault as a picture, in the look of rustc. The only file that knows annotate-snippets.

use std::ops::Range;

use annotate_snippets::{
    AnnotationKind, Element, Level, Origin, Renderer, Snippet, normalize_untrusted_str, renderer::DecorStyle,
};

use super::placed::{Elsewhere, Placed};

/// How much of a line is underlined at most: the picture of a long line stays readable.
const WIDEST: usize = 72;

/// How much of a line is shown.
const WIDTH: usize = 100;

/// Draws one fault of the file `name` with this text.
pub(super) fn draw(name: &str, text: &str, placed: &Placed, colour: bool) -> String {
    let title = Level::ERROR.primary_title(placed.fault.message.as_str());
    let place: Element<'_> = match &placed.at {
        None => Origin::path(name).into(),
        Some(at) => {
            let spans = || std::iter::once(at).chain(placed.also.iter().map(|(span, _)| span));
            let from = spans().map(|span| line_start(text, span.start)).min().unwrap_or(0);
            let to = spans().map(|span| line_end(text, span.start)).max().unwrap_or(text.len());
            let within = |span: &Range<usize>| {
                let span = shown(text, span);
                span.start - from..span.end - from
            };
            let label = (!placed.label.is_empty()).then_some(placed.label.as_str());
            let others =
                placed.also.iter().map(|(at, label)| AnnotationKind::Context.span(within(at)).label(label));
            Snippet::source(&text[from..to])
                .path(name)
                .line_start(position(text, from).0)
                .annotation(AnnotationKind::Primary.span(within(at)).label(label))
                .annotations(others)
                .into()
        }
    };
    let mut group = title.element(place);
    for other in &placed.elsewhere {
        group = group.element(elsewhere(other));
    }
    if !placed.fault.help.is_empty() {
        group = group.element(Level::HELP.message(normalize_untrusted_str(&placed.fault.help)));
    }
    let renderer = if colour { Renderer::styled().hyperlink(false) } else { Renderer::plain() };
    renderer.decor_style(DecorStyle::Ascii).term_width(WIDTH).render(&[group])
}

/// A place in another file.
fn elsewhere(
    Elsewhere { name, text, at, label }: &Elsewhere,
) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
    let (from, to) = (line_start(text, at.start), line_end(text, at.start));
    let span = shown(text, at);
    let label = (!label.is_empty()).then_some(label.as_str());
    Snippet::source(&text[from..to])
        .path(name.as_str())
        .line_start(position(text, from).0)
        .annotation(AnnotationKind::Context.span(span.start - from..span.end - from).label(label))
}

/// Line and column, from 1; the column counts characters.
pub(super) fn position(text: &str, at: usize) -> (usize, usize) {
    let start = line_start(text, at);
    let line = 1 + text[..start].bytes().filter(|byte| *byte == b'\n').count();
    (line, 1 + text[start..floor(text, at)].chars().count())
}

fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at)
}

fn line_start(text: &str, at: usize) -> usize {
    text[..floor(text, at)].rfind('\n').map_or(0, |newline| newline + 1)
}

/// The end of the line, without its newline.
fn line_end(text: &str, at: usize) -> usize {
    let at = floor(text, at);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    if end > at && text[..end].ends_with('\r') { end - 1 } else { end }
}

/// The part of a span that is underlined: of its first line, and not too much of that.
fn shown(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = floor(text, span.start);
    let end = floor(text, span.end.clamp(start, line_end(text, start)));
    let widest = text[start..end].char_indices().nth(WIDEST).map_or(end, |(width, _)| start + width);
    start..widest
}
