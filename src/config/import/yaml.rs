//! YAML, and JSON, which is YAML too, as a tree. The parser is `saphyr-parser`; aliases are resolved here, within a bound.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScanError};

use super::misread::Misread;
use super::tree::{Entry, Node, Value};

/// The most values of a text, aliases counted as what they stand for.
const MOST: usize = 100_000;
/// Values in values.
const DEEPEST: usize = 64;

/// A list or a table that is not whole yet.
struct Open {
    line: usize,
    anchor: usize,
    value: Value,
    /// Of a table: the key whose value comes next.
    key: Option<Node>,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    root: Option<Node>,
    count: usize,
}

/// The first document of a text.
pub(super) fn parse(text: &str) -> Result<Node, Misread> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| misread(text, &error))?;
        let line = span.start.line();
        let whole = match event {
            Event::DocumentEnd => break,
            Event::Scalar(value, _, anchor, _) => {
                Some((Node { line, value: Value::Text(value.into_owned()) }, anchor))
            }
            Event::Alias(id) => builder.anchors.get(&id).cloned().map(|node| (Node { line, ..node }, 0)),
            Event::SequenceStart(anchor, ..) => {
                builder.begin(Open { line, anchor, value: Value::List(Vec::new()), key: None })
            }
            Event::MappingStart(anchor, ..) => {
                builder.begin(Open { line, anchor, value: Value::Table(Vec::new()), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => builder.end(),
            _ => None,
        };
        if let Some((node, anchor)) = whole {
            builder.put(node, anchor);
        }
        if builder.count > MOST || builder.open.len() > DEEPEST {
            let at = offset(text, line);
            return Err(Misread::new(
                at..at,
                "the text has too many values, or too deep ones",
                "is it the right file?",
            ));
        }
    }
    builder.root.ok_or_else(|| Misread::new(0..0, "the file is empty", "is it the right one?"))
}

impl Builder {
    fn begin(&mut self, open: Open) -> Option<(Node, usize)> {
        self.open.push(open);
        None
    }

    fn end(&mut self) -> Option<(Node, usize)> {
        let Open { line, anchor, value, .. } = self.open.pop()?;
        let value = match value {
            Value::Table(entries) => Value::Table(merged(entries)),
            other => other,
        };
        Some((Node { line, value }, anchor))
    }

    fn put(&mut self, node: Node, anchor: usize) {
        self.count += node.count();
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root.get_or_insert(node);
            return;
        };
        match (&mut open.value, open.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Table(entries), Some(key)) => {
                entries.push(Entry { key: key.text().unwrap_or_default().to_owned(), line: key.line, node });
            }
            (Value::Table(_), None) => open.key = Some(node),
            (Value::Text(_), _) => {}
        }
    }
}

/// A table with those that it merges (`<<`): its own keys come first.
fn merged(entries: Vec<Entry>) -> Vec<Entry> {
    let (merges, mut own): (Vec<Entry>, Vec<Entry>) =
        entries.into_iter().partition(|entry| entry.key == "<<");
    for merge in merges {
        let tables = match &merge.node.value {
            Value::List(items) => items.clone(),
            _ => vec![merge.node],
        };
        for entry in tables.iter().flat_map(Node::entries) {
            if !own.iter().any(|known| known.key == entry.key) {
                own.push(entry.clone());
            }
        }
    }
    own
}

fn misread(text: &str, error: &ScanError) -> Misread {
    let at = offset(text, error.marker().line());
    let end = text.get(at..).and_then(|rest| rest.find('\n')).map_or(text.len(), |length| at + length);
    Misread::new(
        at..end,
        format!("this is not YAML: {}", error.info()),
        "look at quotes, colons and how far lines stand in",
    )
}

/// Where a line begins.
fn offset(text: &str, line: usize) -> usize {
    text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_merges_and_lines() {
        let text = "x-base: &base\n  image: a\n  ports: [\"80:80\"]\nservices:\n  web:\n    <<: *base\n    image: b\n";
        let web = parse(text).unwrap().get("services").unwrap().get("web").unwrap().clone();
        assert_eq!(web.get("image").unwrap().text(), Some("b"));
        assert_eq!(web.get("ports").unwrap().items()[0].text(), Some("80:80"));
        assert_eq!((web.line, web.get("ports").unwrap().line), (6, 3));
        let alias = parse("a: &one\n  b: 1\nc:\n- *one\n").unwrap();
        assert_eq!(alias.get("c").unwrap().items()[0].line, 4, "where it is used, not where it stands");
        let json = parse("{\"a\": [1, {\"b\": true}]}").unwrap();
        assert_eq!(json.get("a").unwrap().items()[1].get("b").unwrap().text(), Some("true"));
    }

    #[test]
    fn faults_have_a_line_and_growth_has_a_bound() {
        let fault = parse("a: b\nc: [1, 2\nd: e\n").unwrap_err();
        assert!(fault.at.start >= 5, "{fault:?}");
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for n in 1..12 {
            bomb += &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "));
        }
        assert!(parse(&bomb).unwrap_err().fault.message.contains("too many"));
        assert!(parse(&"[".repeat(10_000)).is_err());
    }

    #[test]
    fn only_the_first_document_counts() {
        let first = parse("a: one\n---\na: two\n").unwrap();
        assert_eq!(first.get("a").unwrap().text(), Some("one"));
        assert!(parse("a: one\n---\nb: [1\n").is_ok(), "what follows is not read");
    }

    #[test]
    fn a_text_may_be_so_deep_and_no_deeper() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(64)).is_ok());
        assert!(parse(&nested(65)).is_err());
        assert!(parse(&nested(70)).is_err());
    }
}
