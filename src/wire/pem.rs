//! Reads PEM (RFC 7468) as people write it: with a byte-order mark, any line ends, indentation, comments, a block right
//! behind another. Text between blocks is explanation, as `openssl x509 -text` writes it. What looks like a part of a
//! block and is none is an error: nothing is lost in silence.

use super::certificate::SEQUENCE;
use super::der::Reader;

/// What stands between `-----BEGIN LABEL-----` and `-----END LABEL-----`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block<'t> {
    /// Such as `CERTIFICATE`.
    pub label: &'t [u8],
    /// The decoded bytes.
    pub bytes: Vec<u8>,
    /// The line of its beginning, from 1.
    pub line: usize,
    /// RFC 1421 headers say that it is encrypted (`Proc-Type: 4,ENCRYPTED`).
    pub is_encrypted: bool,
}

/// What is wrong, and in which line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PemError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong in it.
    pub kind: PemErrorKind,
}

/// What is wrong with a PEM text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PemErrorKind {
    /// The text is UTF-16.
    Utf16,
    /// There is a NUL byte.
    Nul,
    /// The line looks like a beginning or an end, and is none.
    Marker,
    /// A beginning without its end.
    NoEnd,
    /// An end, or the inside of a block, without its beginning.
    NoBeginning,
    /// An end with another label than the beginning.
    OtherEnd,
    /// A byte that is no base64.
    Letter(u8),
    /// The base64 has lost some letters.
    Length,
}

impl Block<'_> {
    /// Whether the bytes are one DER value of the kind that certificates, keys and lists are (SEQUENCE), and no more.
    pub fn is_whole(&self) -> bool {
        is_der(&self.bytes)
    }
}

/// Whether these bytes are one DER value of the kind that certificates, keys and lists are (SEQUENCE), and no more.
pub fn is_der(bytes: &[u8]) -> bool {
    let mut reader = Reader(bytes);
    reader.value(SEQUENCE).is_some() && reader.is_empty()
}

const MARK: &[u8] = b"-----";
const BOM: &[u8] = b"\xef\xbb\xbf";
/// Base64 stands in lines of 64 letters, or of 76.
const LINE: usize = 60;

/// The blocks of a text, in their order. The error is the first one.
pub fn read(text: &[u8]) -> Result<Vec<Block<'_>>, PemError> {
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        return Err(PemError { line: 1, kind: PemErrorKind::Utf16 });
    }
    let mut parser = Parser::default();
    for line in lines(text) {
        parser.line += 1;
        parser.take(line).map_err(|kind| PemError { line: parser.line, kind })?;
    }
    match parser.open {
        Some(Open { line, .. }) => Err(PemError { line, kind: PemErrorKind::NoEnd }),
        None => Ok(parser.blocks),
    }
}

/// The lines of a text, which end in LF, CRLF or CR.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').flat_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.split(|byte| *byte == b'\r')
    })
}

#[derive(Default)]
struct Parser<'t> {
    blocks: Vec<Block<'t>>,
    open: Option<Open<'t>>,
    /// From 1.
    line: usize,
}

/// A block whose end has not come yet.
struct Open<'t> {
    label: &'t [u8],
    line: usize,
    base64: Vec<u8>,
    is_encrypted: bool,
}

enum Marker<'t> {
    Begin(&'t [u8]),
    End(&'t [u8]),
}

impl<'t> Parser<'t> {
    fn take(&mut self, line: &'t [u8]) -> Result<(), PemErrorKind> {
        if line.contains(&0) {
            return Err(PemErrorKind::Nul);
        }
        let mut rest = line.trim_ascii();
        // Files that were put together may have one in the middle.
        while let Some(after) = rest.strip_prefix(BOM) {
            rest = after.trim_ascii_start();
        }
        if rest.starts_with(b"#") {
            return Ok(());
        }
        while let Some((before, marker, after)) = next_marker(rest) {
            self.text(before)?;
            self.mark(marker)?;
            rest = after.strip_prefix(BOM).unwrap_or(after);
        }
        self.text(rest)
    }

    /// Text in a block, or between two.
    fn text(&mut self, text: &'t [u8]) -> Result<(), PemErrorKind> {
        let Some(open) = &mut self.open else {
            return match text.trim_ascii() {
                text if looks_like_a_marker(text) => Err(PemErrorKind::Marker),
                text if looks_like_base64(text) => Err(PemErrorKind::NoBeginning),
                _ => Ok(()),
            };
        };
        // RFC 1421, section 4.6: headers stand before the base64.
        if open.base64.is_empty() && text.contains(&b':') {
            open.is_encrypted |= text.starts_with(b"Proc-Type") && find(text, b"ENCRYPTED").is_some();
            return Ok(());
        }
        if looks_like_a_marker(text) {
            return Err(PemErrorKind::Marker);
        }
        for byte in text.iter().copied().filter(|byte| !is_blank(*byte)) {
            if value(byte).is_none() && byte != b'=' {
                return Err(PemErrorKind::Letter(byte));
            }
            // What stands after the padding is another text.
            if byte != b'=' && open.base64.last() == Some(&b'=') {
                return Err(PemErrorKind::Letter(b'='));
            }
            open.base64.push(byte);
        }
        Ok(())
    }

    fn mark(&mut self, marker: Marker<'t>) -> Result<(), PemErrorKind> {
        match (marker, self.open.take()) {
            (Marker::Begin(label), None) => {
                let (line, base64) = (self.line, Vec::new());
                self.open = Some(Open { label, line, base64, is_encrypted: false });
                Ok(())
            }
            (Marker::Begin(_), Some(open)) => {
                // The fault is where the end is missing.
                self.line = open.line;
                Err(PemErrorKind::NoEnd)
            }
            (Marker::End(_), None) => Err(PemErrorKind::NoBeginning),
            (Marker::End(label), Some(open)) if label != open.label => Err(PemErrorKind::OtherEnd),
            (Marker::End(_), Some(Open { label, line, base64, is_encrypted })) => {
                let bytes = decoded(&base64).ok_or(PemErrorKind::Length)?;
                self.blocks.push(Block { label, bytes, line, is_encrypted });
                Ok(())
            }
        }
    }
}

/// The first marker in a line, with what stands before and after it.
fn next_marker(line: &[u8]) -> Option<(&[u8], Marker<'_>, &[u8])> {
    let at = [&b"-----BEGIN "[..], b"-----END "].into_iter().filter_map(|start| find(line, start)).min()?;
    let (before, from) = line.split_at_checked(at)?;
    let words = from.strip_prefix(MARK)?;
    let length = find(words, MARK)?;
    let (words, after) = words.split_at_checked(length)?;
    let label = |word: &[u8]| Some(words.strip_prefix(word)?.trim_ascii());
    let marker = label(b"BEGIN ").map(Marker::Begin).or_else(|| label(b"END ").map(Marker::End))?;
    let after = after.strip_prefix(MARK)?;
    let more_hyphens = after.iter().all(|byte| *byte == b'-');
    Some((before, marker, if more_hyphens { &[] } else { after }))
}

/// Whether a text, of which the markers were taken, has a part of one: too few hyphens, or a word processor's dashes.
fn looks_like_a_marker(text: &[u8]) -> bool {
    // Dashes have these bytes in UTF-8 and in Windows-1252.
    let is_dash = |byte: &&u8| matches!(byte, b'-' | 0xe2 | 0x80 | 0x88 | 0x90..=0x97);
    [&b"BEGIN "[..], b"END "].into_iter().any(|word| {
        let found = text.windows(word.len()).position(|part| part.eq_ignore_ascii_case(word));
        let before = found.and_then(|at| text.get(..at)).unwrap_or_default();
        // Not one: that is a word such as `front-end`.
        before.trim_ascii_end().iter().rev().take_while(is_dash).count() > 1
    })
}

/// Whether a text between blocks is the inside of one.
fn looks_like_base64(text: &[u8]) -> bool {
    text.len() >= LINE && text.iter().all(|byte| value(*byte).is_some())
}

fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// The six bits of a letter (RFC 4648, section 4).
fn value(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// The bytes of base64. `None`: it has lost letters, or has too much padding. Without its padding it is as clear.
fn decoded(base64: &[u8]) -> Option<Vec<u8>> {
    let letters = base64.iter().position(|byte| *byte == b'=').unwrap_or(base64.len());
    let (base64, padding) = base64.split_at_checked(letters)?;
    if padding.len() > 2 || base64.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(base64.len() / 4 * 3 + 2);
    for part in base64.chunks(4) {
        let bits =
            part.iter().try_fold(0_u32, |bits, letter| Some(bits << 6 | u32::from(value(*letter)?)))?;
        let whole = (bits << (6 * (4 - part.len()))).to_be_bytes();
        bytes.extend_from_slice(whole.get(1..part.len())?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
