//! A text of YAML, JSON or TOML as a tree, with the line of each value.

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// From 1.
    pub line: usize,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A text, a number or a word, as it is written.
    Text(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub key: String,
    pub line: usize,
    pub node: Node,
}

impl Node {
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// How many values there are in it, itself too.
    pub fn count(&self) -> usize {
        1 + match &self.value {
            Value::Text(_) => 0,
            Value::List(items) => items.iter().map(Node::count).sum(),
            Value::Table(entries) => entries.iter().map(|entry| entry.node.count()).sum(),
        }
    }

    /// On one line, as a person writes it.
    pub fn show(&self) -> String {
        match &self.value {
            Value::Text(text) => text.clone(),
            Value::List(items) => {
                format!("[{}]", items.iter().map(Node::show).collect::<Vec<_>>().join(", "))
            }
            Value::Table(entries) => {
                let all = entries.iter().map(|entry| format!("{}: {}", entry.key, entry.node.show()));
                format!("{{{}}}", all.collect::<Vec<_>>().join(", "))
            }
        }
    }
}
