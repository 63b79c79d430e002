//! A list of networks in a file of its own.

use super::document;
use super::placed::Placed;
use super::report::Report;
use crate::model::NetworkSet;
use crate::model::cidr::read_list;

/// Reads a list of networks: one a line; `#` begins a comment. `name` is what the report calls it.
pub fn network_list(name: &str, bytes: &[u8]) -> Result<NetworkSet, Report> {
    let text = document::decode(name, bytes)?;
    read_list(text).map_err(|bad| {
        let placed = bad.into_iter().map(|line| Placed::new(line.at, line.error));
        Report::new(name, text.into(), placed.collect())
    })
}
