//! Faults and values with their place in the text.

use std::ops::Range;
use std::sync::Arc;

use crate::model::Fault;

/// A value and its place in the text.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub value: T,
    /// In bytes.
    pub at: Range<usize>,
}

/// A fault and the places in the text that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub fault: Fault,
    /// `None`: the file as a whole.
    pub at: Option<Range<usize>>,
    /// What stands beside the caret; may be empty.
    pub label: String,
    /// Other places, each with its label.
    pub also: Vec<(Range<usize>, String)>,
    /// It is about a key that nobody knows: who sees it looks for one that there is.
    pub unknown_key: bool,
    /// Places in other files.
    pub elsewhere: Vec<Elsewhere>,
}

/// A place in another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Elsewhere {
    /// What the other file is called.
    pub name: String,
    pub text: Arc<str>,
    pub at: Range<usize>,
    /// What stands beside the place.
    pub label: String,
}

impl<T> At<T> {
    /// Moves the place with its text, which began at `from` and begins at `to` now.
    pub fn shift(&mut self, from: usize, to: usize) {
        shift(&mut self.at, from, to);
    }
}

/// As [`At::shift`].
pub(super) fn shift(at: &mut Range<usize>, from: usize, to: usize) {
    *at = at.start - from + to..at.end - from + to;
}

impl Placed {
    pub fn new(at: Range<usize>, fault: Fault) -> Placed {
        Placed { at: Some(at), ..Placed::whole(fault) }
    }

    /// About the file as a whole.
    pub fn whole(fault: Fault) -> Placed {
        Placed {
            fault,
            at: None,
            label: String::new(),
            also: Vec::new(),
            unknown_key: false,
            elsewhere: Vec::new(),
        }
    }

    /// About a key that nobody knows.
    pub fn unknown_key(at: Range<usize>, fault: Fault) -> Placed {
        Placed { unknown_key: true, ..Placed::new(at, fault) }
    }

    pub fn label(mut self, label: impl Into<String>) -> Placed {
        self.label = label.into();
        self
    }

    pub fn also(mut self, at: Range<usize>, label: impl Into<String>) -> Placed {
        self.also.push((at, label.into()));
        self
    }
}
