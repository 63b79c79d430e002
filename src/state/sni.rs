//! Which route of an address serves a client, by the server name and the protocols that it asks for.

use std::collections::HashMap;

use crate::model::{Selector, ServerName};

/// The routes of one address, by the names and protocols that they serve.
#[derive(Debug, Default)]
pub struct ServedNames {
    exact: HashMap<String, Choices>,
    below: HashMap<String, Choices>,
    any: Choices,
    rest: Option<usize>,
}

/// Routes that serve the same names.
#[derive(Debug, Default)]
struct Choices {
    by_protocol: Vec<(Vec<u8>, usize)>,
    whatever: Option<usize>,
}

impl Choices {
    fn add(&mut self, alpn: &[String], route: usize) {
        if alpn.is_empty() {
            self.whatever = Some(route);
        }
        self.by_protocol.extend(alpn.iter().map(|protocol| (protocol.clone().into_bytes(), route)));
    }

    /// By the protocol that the client prefers among those served; otherwise the route for any protocol.
    fn choose(&self, alpn: &[Vec<u8>]) -> Option<usize> {
        let of = |wanted: &Vec<u8>| self.by_protocol.iter().find(|(protocol, _)| protocol == wanted);
        alpn.iter().find_map(of).map(|(_, route)| *route).or(self.whatever)
    }
}

impl ServedNames {
    /// Indexes selectors. The answers are indices in their order.
    pub fn new<'s>(selectors: impl IntoIterator<Item = &'s Selector>) -> Self {
        let mut names = ServedNames::default();
        for (route, selector) in selectors.into_iter().enumerate() {
            if selector.is_rest() {
                names.rest = Some(route);
            } else if selector.sni.is_empty() {
                names.any.add(&selector.alpn, route);
            }
            for name in &selector.sni {
                let choices = match name {
                    ServerName::Exact(name) => names.exact.entry(name.clone()).or_default(),
                    ServerName::Below(name) => names.below.entry(name.clone()).or_default(),
                };
                choices.add(&selector.alpn, route);
            }
        }
        names
    }

    /// The catch-all route, for clients that no other route serves.
    pub fn rest(&self) -> Option<usize> {
        self.rest
    }

    /// The route for a client: by the exact name, by the longest `*.` that covers it, by protocol alone, or the
    /// catch-all. `name` is in lower case.
    pub fn route(&self, name: Option<&str>, alpn: &[Vec<u8>]) -> Option<usize> {
        let by_name = name.and_then(|name| {
            let exact = self.exact.get(name).and_then(|choices| choices.choose(alpn));
            exact.or_else(|| {
                let dots = name.match_indices('.').map(|(dot, _)| &name[dot + 1..]);
                dots.filter_map(|parent| self.below.get(parent)).find_map(|choices| choices.choose(alpn))
            })
        });
        by_name.or_else(|| self.any.choose(alpn)).or(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(sni: &[&str], alpn: &[&str]) -> Selector {
        Selector {
            sni: sni.iter().map(|name| name.parse().unwrap()).collect(),
            alpn: alpn.iter().map(|protocol| (*protocol).to_owned()).collect(),
        }
    }

    #[test]
    fn the_most_exact_name_wins_and_then_the_protocol() {
        let selectors = [
            selector(&["app.example.com"], &[]),
            selector(&["*.example.com", "*.deep.example.com"], &[]),
            selector(&["*.deep.example.com"], &["h2"]),
            selector(&["app.example.com"], &["h2", "h3"]),
            selector(&[], &["acme-tls/1"]),
            selector(&[], &[]),
            selector(&["only.example.org"], &["postgresql"]),
        ];
        let names = ServedNames::new(&selectors);
        for (name, alpn, route) in [
            ("app.example.com", &[][..], 0),
            ("app.example.com", &["http/1.1"], 0),
            ("app.example.com", &["http/1.1", "h3"], 3),
            ("app.example.com", &["acme-tls/1"], 0),
            ("www.example.com", &[], 1),
            ("a.b.example.com", &["h2"], 1),
            ("a.deep.example.com", &[], 1),
            ("a.deep.example.com", &["h2"], 2),
            ("deep.example.com", &["h2"], 1),
            // `*.` does not cover the name itself.
            ("example.com", &[], 5),
            ("example.com", &["acme-tls/1"], 4),
            ("notexample.com", &[], 5),
            // Both the name and the protocol must match.
            ("only.example.org", &["postgresql"], 6),
            ("only.example.org", &["h2"], 5),
            ("only.example.org", &[], 5),
        ] {
            let alpn: Vec<Vec<u8>> = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
            assert_eq!(names.route(Some(name), &alpn), Some(route), "{name} {alpn:?}");
        }
        assert_eq!(names.route(None, &[]), Some(5));
        assert_eq!(names.route(None, &[b"acme-tls/1".to_vec()]), Some(4));
        assert_eq!(ServedNames::new(&selectors[..5]).route(Some("other"), &[]), None);
    }

    #[test]
    fn the_client_s_order_of_protocols_decides() {
        let selectors = [selector(&["a"], &["h2"]), selector(&["a"], &["http/1.1"])];
        let names = ServedNames::new(&selectors);
        let offers = |alpn: &[&str]| {
            let alpn: Vec<Vec<u8>> = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
            names.route(Some("a"), &alpn)
        };
        assert_eq!(offers(&["h2", "http/1.1"]), Some(0));
        assert_eq!(offers(&["http/1.1", "h2"]), Some(1));
        assert_eq!((offers(&[]), names.rest()), (None, None));
    }

    #[test]
    fn the_catch_all_is_the_route_without_names_and_protocols() {
        let [named, offered, rest] = [selector(&["a.b"], &[]), selector(&[], &["h2"]), selector(&[], &[])];
        let of = |selectors: &[&Selector]| ServedNames::new(selectors.iter().copied()).rest();
        assert_eq!(of(&[&named, &offered]), None);
        assert_eq!((of(&[&rest, &named]), of(&[&named, &offered, &rest])), (Some(0), Some(2)));
    }
}
