//! Faults and values with their place in the text.

use std::ops::Range;

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
}

impl Placed {
    pub fn new(at: Range<usize>, fault: Fault) -> Placed {
        Placed { fault, at: Some(at), label: String::new(), also: Vec::new() }
    }

    /// About the file as a whole.
    pub fn whole(fault: Fault) -> Placed {
        Placed { fault, at: None, label: String::new(), also: Vec::new() }
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
