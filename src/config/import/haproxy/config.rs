//! The sections of a file by name, and what each takes from its defaults.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::lines::{Line, Section};
use crate::config::import::sheet::Sheet;

/// A whole file.
pub(super) struct Config<'c> {
    sections: &'c [Section],
    backends: BTreeMap<&'c str, &'c Section>,
    used: RefCell<BTreeSet<String>>,
}

/// Defaults of defaults: so many at most.
const DEEPEST: usize = 16;

impl<'c> Config<'c> {
    pub fn of(sections: &'c [Section]) -> Self {
        let backends =
            sections.iter().filter(|section| matches!(section.kind.as_str(), "backend" | "listen"));
        let backends = backends.map(|section| (section.name.as_str(), section)).collect();
        Config { sections, backends, used: RefCell::default() }
    }

    /// The defaults of a section, the nearest first.
    fn defaults(&self, section: &'c Section) -> Vec<usize> {
        let mut found = Vec::new();
        let mut next = self.above(section);
        while let Some(at) = next.filter(|at| !found.contains(at) && found.len() < DEEPEST) {
            found.push(at);
            let above = &self.sections[at];
            // Defaults take from others only by name.
            next = above.from.as_ref().and_then(|_| self.above(above));
        }
        found
    }

    fn above(&self, section: &Section) -> Option<usize> {
        let named = |name: &String| {
            self.sections.iter().position(|other| other.kind == "defaults" && other.name == *name)
        };
        section.from.as_ref().map_or(section.defaults, named)
    }

    /// The lines that hold for a proxy: those of its defaults first, the farthest before all.
    pub fn lines(&self, section: &'c Section) -> Vec<&'c Line> {
        let defaults = self.defaults(section).into_iter().rev();
        defaults.flat_map(|at| &self.sections[at].lines).chain(&section.lines).collect()
    }

    /// "tcp" where nothing else is said.
    pub fn mode(&self, section: &'c Section) -> &'c str {
        let mut modes = self.lines(section).into_iter().filter(|line| line.name() == "mode");
        modes.next_back().map_or("tcp", |line| line.arg(0))
    }

    /// Whether a proxy of `mode tcp` takes these defaults.
    pub fn serves_tcp(&self, at: usize) -> bool {
        let is_proxy = |section: &Section| matches!(section.kind.as_str(), "frontend" | "backend" | "listen");
        let mut proxies = self.sections.iter().filter(|section| is_proxy(section));
        proxies.any(|proxy| self.mode(proxy) == "tcp" && self.defaults(proxy).contains(&at))
    }

    pub fn backend(&self, name: &str) -> Option<&'c Section> {
        let found = self.backends.get(name).copied()?;
        self.used.borrow_mut().insert(name.to_owned());
        Some(found)
    }

    /// Whether certificates of servers are verified where a server says nothing of it.
    pub fn verifies(&self) -> bool {
        let global = self.sections.iter().filter(|section| section.kind == "global");
        let mut said = global.flat_map(|section| &section.lines);
        !said.any(|line| line.name() == "ssl-server-verify" && line.arg(0) == "none")
    }

    /// The time that a table counts new connections in: of this section, or else of any.
    pub fn rate_time(&self, section: &'c Section) -> Option<&'c str> {
        let of = |section: &'c Section| {
            let tables = section.lines.iter().filter(|line| line.name() == "stick-table");
            let mut words = tables.flat_map(|line| &line.words).flat_map(|word| word.split(','));
            words.find_map(|word| word.strip_prefix("conn_rate(")?.strip_suffix(')'))
        };
        of(section).or_else(|| self.sections.iter().find_map(of))
    }

    /// Names the backends that no frontend of TCP uses.
    pub fn leftover(&self, sheet: &mut Sheet) {
        let used = self.used.borrow();
        for (name, section) in
            self.backends.iter().filter(|(name, section)| section.kind == "backend" && !used.contains(**name))
        {
            match self.mode(section) {
                "tcp" => {
                    sheet.note(&section.said, format!("no route uses the backend `{name}`"));
                    section.lines.iter().for_each(|line| sheet.same(&line.said));
                }
                mode => sheet.note(&section.said, format!("it is of `mode {mode}`, and stays with HAProxy")),
            }
        }
    }
}
