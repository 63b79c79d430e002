//! `acl`, and conditions behind `if`: as far as they ask who the client is, or what its TLS hello asks for.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::lines::Line;
use crate::config::import::networks::network;
use crate::config::import::sheet::Sheet;
use crate::model::Network;

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Sni(Vec<String>),
    Alpn(Vec<String>),
    Source(Vec<Network>),
    /// A file with networks.
    SourceFile(String),
    /// More connections of a client than this are too many.
    Open(u32),
    /// More new connections of a client than this, in the time that the table says.
    Rate(u32),
    /// Whether it is TLS.
    Hello,
    /// What is never so at these addresses: `req.ssl_*` looks at a hello that passes by, `ssl_fc_*` at TLS that ends here.
    Never,
}

/// A question, or its opposite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    pub ask: Ask,
    pub negated: bool,
}

/// Each branch is true if all its terms are.
pub(super) type Condition = Vec<Vec<Term>>;

/// The definitions of a proxy, and which of them a rule uses that is carried over.
#[derive(Clone, Debug, Default)]
pub(super) struct Acls<'c> {
    all: Vec<&'c Line>,
    used: RefCell<BTreeSet<String>>,
}

/// What cannot be asked.
const OTHER: &str = "Portway asks for the client's network (`allow`, `deny`) and for what a TLS hello asks for \
    (`sni`, `alpn`)";

impl<'c> Acls<'c> {
    pub fn add(&mut self, line: &'c Line) {
        self.all.push(line);
    }

    /// Notes which names a condition uses.
    pub fn mark(&self, words: &[String]) {
        self.used.borrow_mut().extend(words.iter().map(|word| word.trim_start_matches('!').to_owned()));
    }

    /// Says what became of each.
    pub fn finish(&self, sheet: &mut Sheet) {
        let used = self.used.borrow();
        for line in &self.all {
            match used.contains(line.arg(0)) {
                true => sheet.carried(&line.said),
                false => sheet.note(&line.said, "no rule that is carried over asks for it"),
            }
        }
    }

    /// Whether a condition asks for the state of servers only.
    pub fn about_servers(&self, words: &[String]) -> bool {
        const ASKS: [&str; 6] = ["nbsrv", "srv_is_up", "avg_queue", "queue", "connslots", "be_conn"];
        let asks = |fetch: &str| ASKS.iter().any(|ask| fetch.starts_with(ask));
        let bare = words.iter().map(|word| word.trim_start_matches('!'));
        let mut words = bare.filter(|word| !matches!(*word, "" | "or" | "||")).peekable();
        let mut about = words.peek().is_some();
        while let Some(word) = words.next() {
            about &= match word {
                "{" => {
                    let inside: Vec<&str> = words.by_ref().take_while(|word| *word != "}").collect();
                    inside.first().is_some_and(|fetch| asks(fetch))
                }
                name => self.lines(name).next().is_some() && self.lines(name).all(|line| asks(line.arg(1))),
            };
        }
        about
    }

    /// The lines that define a name.
    fn lines(&self, name: &str) -> impl Iterator<Item = &'c Line> {
        self.all.iter().copied().filter(move |line| line.arg(0) == name)
    }

    /// Reads the condition behind `if` or `unless`. `ends_tls`: it is asked where TLS ends. `Err`: why it has no counterpart.
    pub fn condition(&self, words: &[String], ends_tls: bool) -> Result<Condition, String> {
        let mut branches: Condition = vec![Vec::new()];
        let mut words = words.iter().map(String::as_str).peekable();
        while let Some(word) = words.next() {
            if matches!(word, "or" | "||") {
                branches.push(Vec::new());
                continue;
            }
            let (negated, word) = match word.strip_prefix('!') {
                Some("") => (true, words.next().unwrap_or_default()),
                Some(rest) => (true, rest),
                None => (false, word),
            };
            let asks = if word == "{" {
                let inside: Vec<String> =
                    words.by_ref().take_while(|word| *word != "}").map(str::to_owned).collect();
                vec![ask(&inside, ends_tls)?]
            } else {
                self.named(word, ends_tls)?
            };
            let one = merged(asks)?;
            branches
                .last_mut()
                .into_iter()
                .for_each(|branch| branch.push(Term { ask: one.clone(), negated }));
        }
        Ok(branches)
    }

    fn named(&self, name: &str, ends_tls: bool) -> Result<Vec<Ask>, String> {
        let read = |line: &Line| ask(line.args().get(1..).unwrap_or_default(), ends_tls);
        let asks: Result<Vec<Ask>, String> = self.lines(name).map(read).collect();
        match asks? {
            asks if asks.is_empty() => Err(format!("`{name}` is no `acl` here; {OTHER}")),
            asks => Ok(asks),
        }
    }
}

/// Several definitions of one name: any of them.
fn merged(asks: Vec<Ask>) -> Result<Ask, String> {
    let mut asks = asks.into_iter();
    let first = asks.next().ok_or_else(|| OTHER.to_owned())?;
    asks.try_fold(first, |all, next| match (all, next) {
        (Ask::Never, one) | (one, Ask::Never) => Ok(one),
        (Ask::Sni(all), Ask::Sni(next)) => Ok(Ask::Sni([all, next].concat())),
        (Ask::Alpn(all), Ask::Alpn(next)) => Ok(Ask::Alpn([all, next].concat())),
        (Ask::Source(all), Ask::Source(next)) => Ok(Ask::Source([all, next].concat())),
        _ => Err("its lines ask for different things".to_owned()),
    })
}

/// How a value must fit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    Exact,
    End,
    Other,
}

/// A fetch with its flags and values.
struct Fetch<'a> {
    matches: Match,
    file: Option<&'a str>,
    values: Vec<&'a str>,
}

/// Reads one question: a fetch, flags, values.
fn ask(words: &[String], ends_tls: bool) -> Result<Ask, String> {
    let Some((fetch, rest)) = words.split_first() else { return Err(OTHER.to_owned()) };
    let mut read = Fetch { matches: Match::Exact, file: None, values: Vec::new() };
    let (name, suffix) = fetch.split_once(',').unwrap_or((fetch, ""));
    let name = match name.strip_suffix("_end") {
        Some(name) => {
            read.matches = Match::End;
            name
        }
        None => name,
    };
    let mut rest = rest.iter().map(String::as_str);
    while let Some(word) = rest.next() {
        match word {
            "-i" | "--" | "-n" => {}
            "-m" => {
                read.matches = match rest.next() {
                    Some("str") => Match::Exact,
                    Some("end" | "dom") => Match::End,
                    _ => Match::Other,
                }
            }
            "-f" => read.file = rest.next(),
            value => read.values.push(value),
        }
    }
    if !matches!(suffix, "" | "lower") {
        return Err(OTHER.to_owned());
    }
    let of_hello = name.starts_with("req.ssl_") || name.starts_with("req_ssl_");
    if of_hello && ends_tls || name.starts_with("ssl_fc_") && !ends_tls {
        return Ok(Ask::Never);
    }
    match name {
        "req.ssl_sni" | "req_ssl_sni" | "ssl_fc_sni" => sni(&read),
        "req.ssl_alpn" | "ssl_fc_alpn" if read.file.is_none() && read.matches == Match::Exact => {
            Ok(Ask::Alpn(read.values.iter().map(|value| (*value).to_owned()).collect()))
        }
        "req.ssl_hello_type" | "req_ssl_hello_type" | "req.ssl_ver" | "req_ssl_ver" => Ok(Ask::Hello),
        "src" => source(&read),
        _ => number(name, &read.values),
    }
}

fn sni(read: &Fetch<'_>) -> Result<Ask, String> {
    match (read.matches, read.file) {
        (_, Some(_)) => Err("names stand in the file of the routes: write its lines into `sni`".to_owned()),
        (Match::Other, _) => {
            Err("server names are exact, or all below one (\"*.example.com\"): list those that are meant"
                .to_owned())
        }
        (Match::Exact, None) => {
            Ok(Ask::Sni(read.values.iter().map(|name| name.to_ascii_lowercase()).collect()))
        }
        (Match::End, None) => Ok(Ask::Sni(read.values.iter().flat_map(|name| below(name)).collect())),
    }
}

/// The names that end so, as far as they are names of one domain.
fn below(name: &str) -> Vec<String> {
    let name = name.to_ascii_lowercase();
    match name.strip_prefix('.') {
        Some(bare) => vec![format!("*.{bare}")],
        None => vec![name.clone(), format!("*.{name}")],
    }
}

fn source(read: &Fetch<'_>) -> Result<Ask, String> {
    match (read.file, read.values.as_slice()) {
        (Some(file), []) => Ok(Ask::SourceFile(file.to_owned())),
        (None, values) => {
            let networks: Option<Vec<Network>> = values.iter().map(|value| network(value)).collect();
            networks
                .map(Ask::Source)
                .ok_or_else(|| "networks are written as 10.0.0.0/8 or 2001:db8::/32".to_owned())
        }
        _ => Err("write the networks into the file, all of them".to_owned()),
    }
}

/// `src_conn_cur ge 10`.
fn number(name: &str, values: &[&str]) -> Result<Ask, String> {
    let bare = name.split('(').next().unwrap_or(name);
    let (operator, number) = match values {
        [operator, number] => (*operator, number.parse::<u32>().map_err(|_| OTHER.to_owned())?),
        _ => return Err(OTHER.to_owned()),
    };
    // What is tracked counts the connection itself.
    let tracked = bare.starts_with("sc");
    let most = match (operator, tracked) {
        ("gt", _) => number,
        ("ge", true) => number.saturating_sub(1),
        ("ge", false) => number,
        _ => return Err(OTHER.to_owned()),
    };
    match bare.trim_start_matches(|c: char| c != '_').trim_start_matches('_') {
        "conn_cur" => Ok(Ask::Open(most)),
        "conn_rate" => Ok(Ask::Rate(most)),
        _ => Err(OTHER.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Condition, String> {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        Acls::default().condition(&words, false)
    }

    #[test]
    fn conditions_are_branches_of_terms() {
        let sni = |names: &[&str]| Ask::Sni(names.iter().map(|name| (*name).to_owned()).collect());
        let both = of("{ req.ssl_sni -i a.example b.example } or { req.ssl_sni -m end .c.example }").unwrap();
        assert_eq!(both[0][0].ask, sni(&["a.example", "b.example"]));
        assert_eq!(both[1][0].ask, sni(&["*.c.example"]));
        let source = of("!{ src 10.0.0.0/8 192.0.2.1 }").unwrap();
        assert!(source[0][0].negated && matches!(&source[0][0].ask, Ask::Source(list) if list.len() == 2));
        assert_eq!(of("{ sc0_conn_cur ge 10 }").unwrap()[0][0].ask, Ask::Open(9));
        assert_eq!(of("{ src_conn_rate gt 20 }").unwrap()[0][0].ask, Ask::Rate(20));
        assert!(of("{ req.ssl_sni -m reg ^a }").is_err());
        assert!(of("{ path_beg /x }").is_err());
        assert!(of("unknown").is_err());
    }

    #[test]
    fn definitions_of_one_name_are_one_list_if_they_ask_for_the_same() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let networks = |list: &[&str]| list.iter().map(|one| one.parse().unwrap()).collect::<Vec<_>>();
        for (asks, whole) in [
            ([Ask::Sni(names(&["a"])), Ask::Sni(names(&["b", "c"]))], Ask::Sni(names(&["a", "b", "c"]))),
            ([Ask::Alpn(names(&["h2"])), Ask::Alpn(names(&["mqtt"]))], Ask::Alpn(names(&["h2", "mqtt"]))),
            (
                [Ask::Source(networks(&["10.0.0.0/8"])), Ask::Source(networks(&["::1"]))],
                Ask::Source(networks(&["10.0.0.0/8", "::1"])),
            ),
        ] {
            assert_eq!(merged(asks.into()), Ok(whole));
        }
        let mixed = merged(vec![Ask::Sni(names(&["a"])), Ask::Alpn(names(&["h2"]))]);
        assert_eq!(mixed, Err("its lines ask for different things".to_owned()));
    }
}
