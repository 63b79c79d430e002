//! What comes of a text of another program, in a form that tests compare.

use portway::config::{Program, import};

/// What came of a text.
pub struct Found {
    /// Lines of keys, without their alignment.
    keys: Vec<String>,
    /// All comments, on one line.
    pub comments: String,
    /// What became of each statement: `Carried balance source`.
    pub fates: Vec<String>,
}

/// Imports a text of which a route comes.
pub fn found(program: Program, text: &str) -> Found {
    let found =
        import("a file", text.as_bytes(), Some(program)).unwrap_or_else(|report| panic!("{text}\n{report}"));
    let (comments, keys): (Vec<&str>, Vec<&str>) = found.text.lines().partition(|line| line.starts_with('#'));
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let comments = comments.into_iter().flat_map(|line| words(line.trim_start_matches('#')));
    let keys = keys.into_iter().map(|line| words(line).join(" ")).filter(|line| !line.is_empty());
    let fates = found.statements.iter().map(|said| format!("{:?} {}", said.fate, said.text));
    Found { keys: keys.collect(), comments: comments.collect::<Vec<_>>().join(" "), fates: fates.collect() }
}

impl Found {
    /// The keys, with `; ` between them, without those that are known.
    pub fn beside(&self, known: &[&str]) -> String {
        let more = self.keys.iter().map(String::as_str).filter(|key| !known.contains(key));
        more.collect::<Vec<_>>().join("; ")
    }

    /// What is not carried over must be this statement, with the reason. Empty: all is carried over.
    pub fn must_name(&self, named: &str, said: &str) {
        let (all, this) = ("not carried over:", format!("not carried over: {named}"));
        match named.is_empty() {
            true => assert!(!self.comments.contains(all), "{said}: {}", self.comments),
            false => assert!(self.comments.contains(&this), "{said}: {}", self.comments),
        }
    }
}
