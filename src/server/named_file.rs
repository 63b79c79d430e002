//! The files that the routes' file names, as others see them: what is not in force, until when, and what is unwise.

use std::collections::BTreeMap;

use super::notices::Notice;
use crate::files::Pending;
use crate::net::tls::dates::Dated;

/// A followed file that the routes' file names.
#[derive(Clone, Debug, Default)]
pub struct NamedFile {
    /// Its path.
    pub name: String,
    /// Why it is not in force as it is on disk. `None`: it is.
    pub pending: Option<Pending>,
    /// Its certificates that peers are shown.
    pub certificates: Vec<Dated>,
    /// Its revocation lists.
    pub revocations: Vec<Dated>,
    /// What is unwise in it.
    pub notices: Vec<Notice>,
}

/// Each file once, by name. Several tasks may follow one, for different uses: each has something to say.
pub(super) fn merged(files: impl Iterator<Item = NamedFile>) -> Vec<NamedFile> {
    let mut merged: BTreeMap<String, NamedFile> = BTreeMap::new();
    for NamedFile { name, pending, certificates, revocations, notices } in files {
        let known = merged.entry(name.clone()).or_insert(NamedFile { name, ..NamedFile::default() });
        known.pending = known.pending.take().or(pending);
        for (known, more) in [(&mut known.certificates, certificates), (&mut known.revocations, revocations)]
        {
            if known.is_empty() {
                *known = more;
            }
        }
        known.notices.extend(notices);
        known.notices.sort();
        known.notices.dedup();
    }
    merged.into_values().collect()
}
