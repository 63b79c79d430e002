//! All that can be said of a file without opening its sockets: what `portway check` says, and what a text from a store must
//! pass.

use super::{access, credentials, include_set, lists, log_target, tokens};
use crate::config::{Compiled, Report, RouteFile};

/// A file without a fault.
#[derive(Debug)]
pub struct Checked {
    /// The file, with those that it includes.
    pub compiled: Compiled,
    /// What needs somebody's care, such as a certificate that ends.
    pub notices: Vec<String>,
}

/// Compiles a file with those that it includes, and reads the files that it names. May block.
pub fn check(name: &str, text: &[u8]) -> Result<Checked, Report> {
    let compiled = include_set::compile_all(RouteFile::main(name, text)?)?;
    let files = Report::both(lists::read(&compiled), credentials::read(&compiled));
    let system = Report::both(access::check(&compiled), log_target::check(&compiled));
    let others = Report::both(system, tokens::read(&compiled));
    let ((_, credentials), (_, tokens)) = Report::both(files, others)?;
    let notices = credentials.iter().flat_map(|read| read.notices());
    let notices = notices.chain(tokens.iter().flat_map(|read| read.notices()));
    let notices = notices.chain(include_set::meaning_nothing(compiled.files())).collect();
    Ok(Checked { compiled, notices })
}
