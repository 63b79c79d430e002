//! The two sides of a route: what a frontend says, and what a backend says; of a `listen` both are one.

use super::conditions::Acls;
use super::config::Config;
use super::lines::{Line, Section};
use super::table::PROXY;
use crate::config::import::meaning::{act, meaning};
use crate::config::import::sheet::{Route, Sheet};

/// The lines of a proxy that mean something together.
pub(super) struct Side<'c> {
    pub section: &'c Section,
    lines: Vec<&'c Line>,
    pub acls: Acls<'c>,
}

impl<'c> Side<'c> {
    /// Lets each line that stands alone act on the route, and keeps the others.
    pub fn take(config: &Config<'c>, section: &'c Section, route: &mut Route, sheet: &mut Sheet) -> Side<'c> {
        let mut side = Side { section, lines: Vec::new(), acls: Acls::default() };
        for line in config.lines(section) {
            let name = line.name();
            if name == "acl" {
                side.acls.add(line);
            } else if !act(meaning(PROXY, &name), &line.said, line.args(), route, sheet) {
                side.lines.push(line);
            }
        }
        side
    }

    pub fn named(&self, name: &str) -> impl Iterator<Item = &'c Line> {
        let name = name.to_owned();
        self.lines.iter().copied().filter(move |line| line.name() == name)
    }

    /// The lines of these names, in the order of the file.
    pub fn among(&self, names: &'static [&'static str]) -> impl Iterator<Item = &'c Line> {
        self.lines.iter().copied().filter(move |line| names.contains(&line.name().as_str()))
    }

    /// The one that holds.
    pub fn last(&self, name: &str) -> Option<&'c Line> {
        self.named(name).last()
    }
}
