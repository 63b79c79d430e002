//! `sni` and `alpn`: which clients of its address a route serves.

use std::collections::HashMap;
use std::ops::Range;

use super::place::Place;
use super::placed::{At, Placed};
use super::read::{address, text};
use super::several;
use super::values::{List, Text};
use crate::model::{Fault, Selector, ServerName};

/// What a route serves, each entry with its place.
#[derive(Debug, Default)]
pub(super) struct Serves {
    pub sni: Vec<At<ServerName>>,
    pub alpn: Vec<At<String>>,
}

impl Serves {
    pub(super) fn is_rest(&self) -> bool {
        self.sni.is_empty() && self.alpn.is_empty()
    }

    pub(super) fn finish(&self) -> Selector {
        Selector {
            sni: self.sni.iter().map(|name| name.value.clone()).collect(),
            alpn: self.alpn.iter().map(|name| name.value.clone()).collect(),
        }
    }
}

/// The word for any, and none.
const ANY: &str = "*";

/// Reads both keys.
pub(super) fn read(
    place: Place<'_>,
    sni: Option<List>,
    alpn: Option<List>,
    faults: &mut Vec<Placed>,
) -> Serves {
    let sni = listed(place, "sni", sni, faults);
    let sni = sni.iter().zip(place.items("sni"));
    let sni = sni.filter_map(|(typed, value)| address(place, "sni", typed, value, faults)).collect();
    let alpn_typed = listed(place, "alpn", alpn, faults);
    let mut alpn: Vec<At<String>> = Vec::new();
    for (typed, value) in alpn_typed.iter().zip(place.items("alpn")) {
        let Some(text) = text("alpn", typed, value, faults) else { continue };
        let legal = |text: &str| {
            (1..=255).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b',' | b';'))
        };
        let several = several::fault(place, "alpn", value, legal);
        if let Some(fault) = several.filter(|_| text.contains([',', ';'])) {
            faults.push(Placed::new(value.span(), fault));
        } else if legal(text) {
            alpn.push(At { value: text.to_owned(), at: value.span() });
        } else {
            let cure = "write it as IANA has it: \"h2\", \"http/1.1\", \"postgresql\"";
            faults.push(Placed::new(value.span(), Fault::new(format!("`{text}` is not a protocol"), cure)));
        }
    }
    let serves = Serves { sni, alpn };
    twice(&serves.sni, faults);
    twice(&serves.alpn, faults);
    serves
}

/// The entries of a list, none where it says `"*"`.
fn listed(place: Place<'_>, key: &str, typed: Option<List>, faults: &mut Vec<Placed>) -> Vec<Text> {
    let (Some(value), Some(typed)) = (place.table.get(key), typed) else { return Vec::new() };
    if typed.0.is_empty() {
        let fault =
            Fault::new(format!("`{key}` is an empty list"), format!("write names, or {key} = \"{ANY}\""));
        faults.push(Placed::new(value.span(), fault));
    }
    if value.get_ref().as_str() == Some(ANY) { Vec::new() } else { typed.0 }
}

fn twice<T: Eq + std::hash::Hash + std::fmt::Display>(entries: &[At<T>], faults: &mut Vec<Placed>) {
    let mut seen: HashMap<&T, &Range<usize>> = HashMap::new();
    for entry in entries {
        if let Some(first) = seen.insert(&entry.value, &entry.at) {
            let fault = Fault::new(format!("`{}` is listed twice", entry.value), "remove one of them");
            faults.push(Placed::new(entry.at.clone(), fault).also(first.clone(), "first here"));
        }
    }
}
