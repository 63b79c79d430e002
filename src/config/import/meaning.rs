//! What statements of another language mean here: each language has one table of these.

use super::fields::Fields;
use super::sheet::{Fate, Route, Said, Sheet};

/// The words behind a statement's name.
pub(super) type Words<'a> = &'a [String];

/// What a statement means.
#[derive(Clone, Copy)]
pub(super) enum Meaning {
    /// A key of the route. The value is made of the words; `None`: such words have no place here.
    Key(&'static str, fn(Words<'_>) -> Option<String>),
    /// Portway does so anyway, whatever its words are.
    Same,
    /// Portway does so anyway, if its first word is one of these. If not: why it cannot.
    SameIf(&'static [&'static str], &'static str),
    /// It is about the program itself.
    Apart,
    /// It is read together with others.
    Together,
    /// It cannot be carried over: why, and what to do instead.
    Not(&'static str),
    /// Neither can it, and without it a client would get something else: its route is switched off.
    Off(&'static str),
}

/// One row of a table.
pub(super) struct Row {
    pub name: &'static str,
    pub meaning: Meaning,
}

pub(super) const fn row(name: &'static str, meaning: Meaning) -> Row {
    Row { name, meaning }
}

/// The meaning of a statement. What is not in the table is not known.
pub(super) fn meaning(table: &[Row], name: &str) -> Meaning {
    let found = table.iter().find(|row| row.name == name);
    found.map_or(Meaning::Not("Portway does not know it: look whether the route needs it"), |row| row.meaning)
}

/// What a statement does to keys, if it stands alone.
pub(super) enum Effect {
    Fate(Fate),
    Named(&'static str),
    Off(&'static str),
    Together,
}

/// Lets a statement act on keys.
pub(super) fn effect(meaning: Meaning, words: Words<'_>, fields: &mut Fields) -> Effect {
    match meaning {
        Meaning::Key(key, value) => match value(words) {
            Some(value) => {
                fields.set(key, value);
                Effect::Fate(Fate::Carried)
            }
            None => Effect::Named("its value has no counterpart here"),
        },
        Meaning::Same => Effect::Fate(Fate::Same),
        Meaning::SameIf(right, why) => match words.first() {
            Some(word) if right.contains(&word.as_str()) => Effect::Fate(Fate::Same),
            _ => Effect::Named(why),
        },
        Meaning::Apart => Effect::Fate(Fate::Apart),
        Meaning::Together => Effect::Together,
        Meaning::Not(why) => Effect::Named(why),
        Meaning::Off(why) => Effect::Off(why),
    }
}

/// Lets a statement act on a route. Whether that was all: `false` where it is read together with others.
pub(super) fn act(
    meaning: Meaning,
    said: &Said,
    words: Words<'_>,
    route: &mut Route,
    sheet: &mut Sheet,
) -> bool {
    match effect(meaning, words, &mut route.fields) {
        Effect::Fate(fate) => sheet.fate(said, fate),
        Effect::Named(why) => route.note(said, why),
        Effect::Off(why) => route.lacks(said, why),
        Effect::Together => return false,
    }
    true
}
