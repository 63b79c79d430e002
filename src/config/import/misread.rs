//! Why a file of another program cannot be read.

use std::ops::Range;

use crate::model::Fault;

/// A fault of syntax, at a place of the text (bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misread {
    pub at: Range<usize>,
    pub fault: Fault,
}

impl Misread {
    pub fn new(at: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Misread {
        Misread { at, fault: Fault::new(message, help) }
    }
}
