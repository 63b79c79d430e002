//! One line of a text, and its place.

/// One line, without its end.
pub(super) struct Line<'t> {
    /// Where it begins, in bytes.
    pub start: usize,
    pub text: &'t str,
}

impl<'t> Line<'t> {
    /// The line that has this place.
    pub fn of(text: &'t str, at: usize) -> Self {
        let at = text.floor_char_boundary(at);
        let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
        Line { start, text: text[start..end].trim_end_matches('\r') }
    }

    /// Every line.
    pub fn all(text: &'t str) -> impl Iterator<Item = Line<'t>> {
        let mut start = 0;
        text.split_inclusive('\n').map(move |line| {
            start += line.len();
            Line { start: start - line.len(), text: line.trim_end_matches(['\n', '\r']) }
        })
    }

    /// The place of a part of it.
    pub fn place(&self, part: &str) -> std::ops::Range<usize> {
        let at = self.start + self.text.find(part).unwrap_or_default();
        at..at + part.len()
    }
}
