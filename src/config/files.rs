//! Where the other files that a text names stand in it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::report::Placed;
use super::{Compiled, Fault, Report, document};
use crate::model::NetworkSet;
use crate::model::cidr::read_list;

impl Compiled {
    /// The folder that a relative path of the text starts at.
    pub fn folder(&self) -> &Path {
        Path::new(&self.name).parent().unwrap_or(Path::new(""))
    }

    /// A report of files that the text names and that cannot be had, each shown at its path.
    pub fn file_faults(&self, faults: &[(PathBuf, Fault)]) -> Report {
        let (document, _) = document::parse(&self.text);
        let place = |(path, fault): &(PathBuf, Fault)| match in_table(&document, path) {
            Some(at) => Placed::new(at, fault.clone()),
            None => Placed::whole(fault.clone()),
        };
        Report::new(&self.name, self.text.clone(), faults.iter().map(place).collect())
    }
}

fn in_table(table: &DeTable<'_>, path: &Path) -> Option<Range<usize>> {
    table.values().find_map(|value| match value.get_ref() {
        DeValue::String(text) if Path::new(&**text) == path => Some(value.span()),
        DeValue::Table(table) => in_table(table, path),
        DeValue::Array(items) => items.iter().find_map(|item| in_table(item.get_ref().as_table()?, path)),
        _ => None,
    })
}

/// Reads a list of networks: one a line; `#` begins a comment. `name` is what the report calls it.
pub fn network_list(name: &str, bytes: &[u8]) -> Result<NetworkSet, Report> {
    let text = document::decode(name, bytes)?;
    read_list(text).map_err(|bad| {
        let placed = bad
            .into_iter()
            .map(|line| Placed::new(line.at, Fault::new(line.error.to_string(), line.error.help)));
        Report::new(name, text.into(), placed.collect())
    })
}
