//! What a text lacks of the one that runs: the routes, networks or certificates that a writer who was stopped half-way
//! would take away. Pure.

use std::collections::{BTreeSet, HashSet};

use crate::config::{Section, sections};

/// What a file is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Tables (TOML).
    Tables,
    /// One entry a line; `#` begins a comment.
    Lines,
    /// Blocks (PEM), each with an end of its own: what is cut off within one cannot be read. May be a secret, and is
    /// never shown.
    Blocks,
    /// One secret, which is never shown.
    Secret,
}

impl Form {
    /// Whether a report may show the text.
    pub fn is_shown(self) -> bool {
        matches!(self, Form::Tables | Form::Lines)
    }
}

/// What is gone from a text. Nothing is, in the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// The tables, entries or blocks that are gone.
    pub gone: Vec<String>,
    /// What the text ends with, if the last of what runs is gone and nothing came in its place: a writer who was stopped
    /// leaves such a text.
    pub ends_after: Option<String>,
    /// The keys that the last table of such a text lacks: it was stopped within that table.
    pub keys: Vec<String>,
}

impl Loss {
    /// Compares a text with the one that runs. A text that cannot be read loses nothing: it never runs.
    pub fn of(form: Form, running: &[u8], text: &[u8]) -> Loss {
        match (parts(form, running), parts(form, text)) {
            (Some(before), Some(now)) => Loss::between(&before, &now),
            _ => Loss::default(),
        }
    }

    fn between(before: &[Section], now: &[Section]) -> Loss {
        let there: HashSet<&str> = now.iter().map(|part| part.id.as_str()).collect();
        let gone = |part: &&Section| !there.contains(part.id.as_str());
        let was = now.last().and_then(|last| before.iter().find(|part| part.id == last.id));
        // With something new at its end, as many as before: the last one was replaced.
        let shortened = was.is_some() || now.len() < before.len();
        let last = now.last().filter(|_| shortened && before.last().as_ref().is_some_and(gone));
        let keys = last.zip(was).map(|(last, was)| was.keys.difference(&last.keys).cloned().collect());
        Loss {
            gone: before.iter().filter(gone).map(|part| part.id.clone()).collect(),
            ends_after: last.map(|part| part.id.clone()),
            keys: keys.unwrap_or_default(),
        }
    }
}

fn parts(form: Form, text: &[u8]) -> Option<Vec<Section>> {
    let part = |id: String| Section { id, keys: BTreeSet::new() };
    match form {
        Form::Tables => sections(text),
        Form::Secret => None,
        Form::Lines => {
            let text = String::from_utf8_lossy(text);
            let words = text.lines().filter_map(|line| line.split('#').next()).map(str::trim);
            Some(words.filter(|word| !word.is_empty()).map(|word| part(word.to_owned())).collect())
        }
        // By number: a renewed certificate has other bytes.
        Form::Blocks => {
            let text = String::from_utf8_lossy(text);
            Some(
                (1..=text.matches("-----END ").count())
                    .map(|number| part(format!("block {number}")))
                    .collect(),
            )
        }
    }
}
