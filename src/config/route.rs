//! The routes: from what was typed to what it means, each by itself.

use std::collections::HashMap;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file;
use super::protocol;
use super::report::Placed;
use super::schema::{self, Section};
use super::section::{self, Place};
use super::selector::{self, Serves};
use super::settings;
use super::tls;
use super::upstreams;
use crate::model::{Fault, ListenSpec, Policy, Protocol, Route, UpstreamEntry, UpstreamSpec};

/// A value and its place in the text.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub value: T,
    pub at: Range<usize>,
}

/// A route as far as it could be read.
pub(super) struct Draft {
    pub header: Range<usize>,
    pub name: Option<At<String>>,
    pub listen: Vec<At<ListenSpec>>,
    pub upstream: Vec<At<UpstreamEntry>>,
    pub serves: Serves,
    pub policy: Policy,
    /// The file says `sniff_timeout`, here or in `[defaults]`: that some clients wait for it is meant.
    pub says_sniff_timeout: bool,
}

impl Draft {
    /// What the route is called: its `name`, or its first listener, of UDP with `/udp` after it.
    pub(super) fn called(&self) -> String {
        let protocol = if self.policy.protocol == Protocol::Udp { "/udp" } else { "" };
        match (&self.name, self.listen.first()) {
            (Some(name), _) => name.value.clone(),
            (None, Some(listen)) => format!("{}{protocol}", listen.value),
            (None, None) => String::new(),
        }
    }

    /// The route, of a draft without a fault. `last`: the policy of the one before, which most share.
    pub(super) fn finish(self, last: &mut Arc<Policy>) -> Arc<Route> {
        if **last != self.policy {
            *last = Arc::new(self.policy.clone());
        }
        Arc::new(Route {
            name: self.called(),
            listen: self.listen.into_iter().map(|listen| listen.value).collect(),
            upstream: self.upstream.into_iter().map(|upstream| upstream.value).collect(),
            selector: self.serves.finish(),
            policy: last.clone(),
        })
    }
}

/// Reads one `[[route]]`.
pub(super) fn read(
    table: &DeTable<'_>,
    header: Range<usize>,
    defaults: &Policy,
    faults: &mut Vec<Placed>,
) -> Draft {
    let place = Place::new(Section::Route, table, header);
    section::unknown_keys(place, faults);
    let policy: file::Policy = section::read(place, Section::Policy, faults);
    let route: file::Route = section::read(place, Section::Own, faults);
    let mut policy = settings::policy(place, policy, defaults, faults);
    protocol::policy(place, &mut policy, faults);
    let mut draft = Draft {
        header: place.header(),
        name: name(place, route.name, faults),
        listen: listeners(place, route.listen, faults),
        upstream: upstreams::read(place, route.upstream, faults),
        serves: selector::read(place, route.sni, route.alpn, faults),
        policy,
        says_sniff_timeout: place.table.contains_key("sniff_timeout"),
    };
    tls::fit(place, &mut draft, faults);
    protocol::addresses(&draft, faults);
    same_size(&draft, faults);
    twice(&draft.upstream, faults);
    draft
}

fn name(place: Place<'_>, typed: Option<file::Text>, faults: &mut Vec<Placed>) -> Option<At<String>> {
    const LONGEST: usize = 128;
    let value = place.table.get("name")?;
    let text = settings::text("name", &typed?, value, faults)?.to_owned();
    let fault = if text.trim().is_empty() {
        Fault::new("the name is empty", "give the route a name, or remove the line")
    } else if text.contains(char::is_control) {
        Fault::new("the name has a control character in it", "write it with letters, digits and `-`")
    } else if text.trim() != text {
        Fault::new("the name begins or ends with a space", format!("write \"{}\"", text.trim()))
    } else if text.chars().count() > LONGEST {
        Fault::new(format!("the name has more than {LONGEST} characters"), "choose a shorter one")
    } else {
        return Some(At { value: text, at: value.span() });
    };
    faults.push(Placed::new(value.span(), fault));
    None
}

fn listeners(place: Place<'_>, typed: Option<file::List>, faults: &mut Vec<Placed>) -> Vec<At<ListenSpec>> {
    listed(place, "listen", typed.as_ref().map(|typed| typed.0.len()), faults);
    let typed = typed.map(|typed| typed.0).unwrap_or_default();
    let pairs = typed.iter().zip(place.items("listen"));
    pairs.filter_map(|(typed, value)| address(place, "listen", typed, value, faults)).collect()
}

/// A line that has the key, as it should be.
fn example(section: Section, key: &str) -> String {
    schema::example(section, key).map_or_else(|| key.to_owned(), |example| format!("{key} = {example}"))
}

/// Notes a list that is not there, or has no entries.
pub(super) fn listed(place: Place<'_>, key: &str, entries: Option<usize>, faults: &mut Vec<Placed>) {
    let example = || example(place.section, key);
    if !place.table.contains_key(key) && !section::is_misspelt(place, key) {
        let fault =
            Fault::new(format!("the route has no `{key}`"), format!("add a line like this: {}", example()));
        faults.push(Placed::new(place.header(), fault));
    }
    if entries == Some(0) {
        let fault = Fault::new(format!("`{key}` is an empty list"), format!("write {}", example()));
        faults.push(Placed::new(place.value(key), fault));
    }
}

/// Reads one address, of the value that it was typed as.
pub(super) fn address<T: FromStr<Err = Fault>>(
    place: Place<'_>,
    key: &str,
    typed: &file::Text,
    value: &Spanned<DeValue<'_>>,
    faults: &mut Vec<Placed>,
) -> Option<At<T>> {
    let fault = match typed.0.parse::<T>() {
        _ if value.get_ref().is_bool() => {
            let message = format!("`{key}` takes text, not `{}`", typed.0);
            Fault::new(message, format!("write {}", example(place.section, key)))
        }
        Ok(spec) => {
            settings::text(key, typed, value, faults)?;
            return Some(At { value: spec, at: value.span() });
        }
        Err(error) => Fault::new(error.to_string(), error.help),
    };
    faults.push(Placed::new(value.span(), fault));
    None
}

/// A range of upstream ports has as many ports as each listener.
fn same_size(draft: &Draft, faults: &mut Vec<Placed>) {
    for upstream in draft.upstream.iter().filter(|upstream| upstream.value.spec.count() > 1) {
        let there = upstream.value.spec.count();
        let Some(listen) = draft.listen.iter().find(|listen| listen.value.count() != there) else { continue };
        let here = listen.value.count();
        let fault = Fault::new(
            format!("the upstream has {there} ports, and the listener {}", ports(here)),
            "write as many ports on both sides, or one port for the upstream",
        );
        let placed = Placed::new(upstream.at.clone(), fault).label(ports(there));
        faults.push(placed.also(listen.at.clone(), ports(here)));
    }
}

fn ports(count: u16) -> String {
    if count == 1 { "1 port".to_owned() } else { format!("{count} ports") }
}

fn twice(upstream: &[At<UpstreamEntry>], faults: &mut Vec<Placed>) {
    let mut seen: HashMap<&UpstreamSpec, &Range<usize>> = HashMap::new();
    for entry in upstream {
        if let Some(first) = seen.insert(&entry.value.spec, &entry.at) {
            let message = format!("`{}` is listed twice in one route", entry.value.spec);
            let placed = Placed::new(entry.at.clone(), Fault::new(message, "remove one of them"));
            faults.push(placed.also(first.clone(), "first here"));
        }
    }
}
