//! What certificates and revocation lists of files say of themselves.

use super::pem;
use crate::wire::certificate::{Certificate, subject};
use crate::wire::revocations::Revocations;

/// A certificate of a file, or a revocation list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dated {
    /// The common name of its subject or, of a list, of its authority. Empty: it has none.
    pub name: String,
    /// When it begins to be valid or, of a list, when it was made, in seconds after 1970.
    pub from: i64,
    /// The last second of its validity or, of a list, when the next one is due, in seconds after 1970.
    pub until: i64,
}

/// The certificates of a text, in their order. What cannot be read is left out.
pub fn certificates(text: &[u8]) -> Vec<Dated> {
    let read = pem::certificates(text).unwrap_or_default();
    let dated = |der: &[u8]| {
        let Certificate { common_name, valid: (from, until) } = Certificate::read(der)?;
        Some(Dated { name: common_name.unwrap_or_default(), from, until })
    };
    read.iter().filter_map(|item| dated(&item.value)).collect()
}

/// The revocation lists of a text, in their order. What cannot be read is left out.
pub fn revocations(text: &[u8]) -> Vec<Dated> {
    let read = pem::revocations(text).unwrap_or_default();
    let dated = |der: &[u8]| {
        let Revocations { common_name, this_update, next_update, .. } = Revocations::read(der)?;
        Some(Dated { name: common_name.unwrap_or_default(), from: this_update, until: next_update? })
    };
    read.iter().filter_map(|item| dated(&item.value)).collect()
}

/// Authorities and revocation lists that have nothing to do with each other, by the common name of the authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmatched {
    /// The authorities without a list.
    pub authorities: Vec<String>,
    /// The lists of other authorities, each with the number of its text, from 0.
    pub lists: Vec<(usize, String)>,
}

/// Compares the authorities of a text with the revocation lists of others.
pub fn unmatched(authorities: &[u8], lists: &[&[u8]]) -> Unmatched {
    let authorities = pem::certificates(authorities).unwrap_or_default();
    let read = |(number, text): (usize, &&[u8])| {
        let lists = pem::revocations(text).unwrap_or_default();
        lists.into_iter().map(move |item| (number, item.value))
    };
    let lists: Vec<_> = lists.iter().enumerate().flat_map(read).collect();
    let lists: Vec<(usize, Revocations<'_>)> =
        lists.iter().filter_map(|(number, der)| Some((*number, Revocations::read(der)?))).collect();
    let is_of = |list: &Revocations<'_>, authority: &[u8]| subject(authority) == Some(list.issuer);
    let without = authorities.iter().filter(|item| !lists.iter().any(|(_, list)| is_of(list, &item.value)));
    let name = |der: &[u8]| Certificate::read(der).and_then(|read| read.common_name).unwrap_or_default();
    let others = lists.iter().filter(|(_, list)| !authorities.iter().any(|item| is_of(list, &item.value)));
    Unmatched {
        authorities: without.map(|item| name(&item.value)).collect(),
        lists: others.map(|(number, list)| (*number, list.common_name.clone().unwrap_or_default())).collect(),
    }
}
