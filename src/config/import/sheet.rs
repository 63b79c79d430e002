//! Routes in the making, and what became of each statement that was read for them.

use std::collections::BTreeMap;

use super::fields::Fields;
use super::values::quote;
use crate::config::import::program::Program;

/// A statement as it stands in the file: where, and its words on one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Said {
    /// From 1.
    pub line: usize,
    pub text: String,
}

impl Said {
    pub fn new(line: usize, text: &str) -> Said {
        let words: Vec<&str> = text.split_whitespace().collect();
        Said { line, text: words.join(" ") }
    }
}

/// What became of a statement. A later one outweighs an earlier one, where a statement serves several routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It is about the other program itself, its processes and its files: nothing that is forwarded depends on it.
    Apart,
    /// Portway does so anyway.
    Same,
    /// A key of the new file says it.
    Carried,
    /// It is not carried over, or not all of it: a comment has it, with its line and the reason.
    Named,
}

/// A statement with what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its line, from 1.
    pub line: usize,
    /// Its words.
    pub text: String,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a file of another program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// A file of routes, with comments.
    pub text: String,
    /// Each statement of the other file that was looked at, by line.
    pub statements: Vec<Statement>,
    /// How many routes came of it.
    pub routes: usize,
    /// Those of them that serve nobody: switched off, or no more than a comment. By name, or by address.
    pub off: Vec<String>,
}

impl Imported {
    /// How many statements are not carried over.
    pub fn named(&self) -> usize {
        self.statements.iter().filter(|statement| statement.fate == Fate::Named).count()
    }
}

/// A statement that is not carried over, with the reason and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub said: Said,
    pub why: String,
}

/// One upstream of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Upstream {
    pub address: String,
    /// `weight`, `backup` ...
    pub fields: Fields,
    /// What the other program called it. May be empty.
    pub name: String,
}

impl Upstream {
    pub fn at(address: impl Into<String>) -> Upstream {
        Upstream { address: address.into(), ..Upstream::default() }
    }

    /// As an entry of `upstream`.
    pub fn value(&self) -> String {
        if self.fields.is_empty() {
            return quote(&self.address);
        }
        let mut all = Fields::default();
        all.set("address", quote(&self.address));
        all.take(&self.fields);
        all.inline()
    }
}

/// One `[[route]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The statement that it comes from.
    pub said: Said,
    /// What the other program called it. May be empty.
    pub name: String,
    /// Addresses, as Portway writes them.
    pub listen: Vec<String>,
    pub upstream: Vec<Upstream>,
    pub fields: Fields,
    pub notes: Vec<Note>,
    /// What a person should know of it.
    pub remarks: Vec<String>,
}

impl Route {
    pub fn new(said: &Said) -> Route {
        Route {
            said: said.clone(),
            name: String::new(),
            listen: Vec::new(),
            upstream: Vec::new(),
            fields: Fields::default(),
            notes: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// A statement of this route that is not carried over.
    pub fn note(&mut self, said: &Said, why: impl Into<String>) {
        let note = Note { said: said.clone(), why: why.into() };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// A statement of this route without which somebody would get what is not meant for him: it is switched off.
    pub fn off(&mut self, said: &Said, why: impl Into<String>) {
        self.note(said, why);
        self.fields.set("enabled", "false");
    }

    /// A statement of this route without which it would let in others, or carry other bytes: it is switched off.
    pub fn lacks(&mut self, said: &Said, why: impl Into<String>) {
        self.off(said, why);
        self.remark("It is switched off, because it lacks what guards it: see below, then remove `enabled`.");
    }

    pub fn remark(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.remarks.contains(&text) {
            self.remarks.push(text);
        }
    }

    /// Leaves a statement out that is not carried over, and whose clients would come here: they get nothing, and not this.
    pub fn after(&mut self, said: &Said, lost: &Said) {
        let why = format!(
            "it is switched off, because clients of line {} would come to it: look at that line, then remove `enabled`",
            lost.line
        );
        self.off(said, why);
    }

    /// Forgets the notes that an earlier route of the same statements has, and remembers the others.
    pub fn once(&mut self, said: &mut Vec<Note>) {
        self.notes.retain(|note| !said.contains(note));
        said.extend(self.notes.iter().cloned());
    }

    /// The words of a key that is a text or a list of them.
    pub fn words(&self, key: &str) -> Vec<&str> {
        let value = self.fields.get(key).unwrap_or_default();
        value.split('"').skip(1).step_by(2).collect()
    }

    /// Makes it one of datagrams, which have no use for some keys.
    pub fn udp(&mut self) {
        self.fields.set("protocol", "\"udp\"");
        for key in TCP_ONLY {
            self.fields.remove(key);
        }
    }
}

/// Keys that a UDP route has no use for.
const TCP_ONLY: [&str; 15] = [
    "half_close_timeout",
    "max_age",
    "keepalive",
    "on_down",
    "when_down",
    "relay",
    "max_connections",
    "when_full",
    "bandwidth",
    "tls",
    "sniff_timeout",
    "proxy_protocol.accept",
    "proxy_protocol.trusted",
    "proxy_protocol.untrusted",
    "proxy_protocol.timeout",
];

/// `trusted` of those who have an address. Whoever comes through a Unix socket has none.
pub(super) const EVERYBODY: &str = "[\"0.0.0.0/0\", \"::/0\"]";

/// All that was read of a file.
#[derive(Clone, Debug)]
pub(super) struct Sheet {
    pub program: Program,
    fates: BTreeMap<Said, Fate>,
    /// `[log]`.
    pub log: Fields,
    /// `[limits]`.
    pub limits: Fields,
    /// What belongs to no route.
    pub notes: Vec<Note>,
    /// What the two programs do differently, and a person should know.
    pub remarks: Vec<String>,
    pub routes: Vec<Route>,
}

impl Sheet {
    pub fn of(program: Program) -> Sheet {
        Sheet {
            program,
            fates: BTreeMap::new(),
            log: Fields::default(),
            limits: Fields::default(),
            notes: Vec::new(),
            remarks: Vec::new(),
            routes: Vec::new(),
        }
    }

    /// What became of a statement. What outweighs it stays.
    pub fn fate(&mut self, said: &Said, fate: Fate) {
        let known = self.fates.entry(said.clone()).or_insert(fate);
        *known = fate.max(*known);
    }

    pub fn carried(&mut self, said: &Said) {
        self.fate(said, Fate::Carried);
    }

    pub fn same(&mut self, said: &Said) {
        self.fate(said, Fate::Same);
    }

    /// A statement of no route that is not carried over.
    pub fn note(&mut self, said: &Said, why: impl Into<String>) {
        self.fate(said, Fate::Named);
        let note = Note { said: said.clone(), why: why.into() };
        if !self.notes.iter().any(|other| other.said == note.said) {
            self.notes.push(note);
        }
    }

    /// Why connections to an upstream may fail whose certificate the other program did not verify.
    pub fn unverified(&self) -> String {
        format!(
            "{} did not verify the upstream's certificate; this route does. If it is not for the name of `upstream`, or of an \
             authority of your own: tls = {{ upstream = {{ ca = \"ca.pem\", server_name = \"db.internal\" }} }}",
            self.program
        )
    }

    pub fn remark(&mut self, text: &str) {
        if !self.remarks.iter().any(|other| other == text) {
            self.remarks.push(text.to_owned());
        }
    }

    /// Takes a route in. Those of both families on one port are one address.
    pub fn add(&mut self, mut route: Route) {
        self.carried(&route.said);
        for note in &route.notes {
            self.fate(&note.said, Fate::Named);
        }
        // What is said above all routes needs no word in each.
        route.notes.retain(|note| !self.notes.contains(note));
        let mut seen = Vec::new();
        for listen in std::mem::take(&mut route.listen) {
            if !seen.contains(&listen) {
                seen.push(listen);
            }
        }
        if route.fields.get("proxy_protocol.trusted") == Some(EVERYBODY)
            && seen.iter().any(|listen| listen.starts_with("unix:"))
        {
            let all = seen.iter().all(|listen| listen.starts_with("unix:"));
            let trusted = if all { "\"unix:\"" } else { "[\"0.0.0.0/0\", \"::/0\", \"unix:\"]" };
            route.fields.set("proxy_protocol.trusted", trusted);
        }
        let has = |host: &str, port: &str| seen.contains(&format!("{host}:{port}"));
        let one = |listen: &String| match listen.rsplit_once(':') {
            Some(("0.0.0.0", port)) if has("[::]", port) => Some(port.to_owned()),
            Some(("[::]", port)) if has("0.0.0.0", port) => None,
            _ => Some(listen.clone()),
        };
        route.listen = seen.iter().filter_map(one).collect();
        self.routes.push(route);
    }

    /// Gives a route up: its notes stand above all.
    pub fn give_up(&mut self, route: &Route) {
        route.notes.iter().for_each(|note| self.note(&note.said, note.why.clone()));
    }

    /// Every statement, by line.
    pub fn statements(&self) -> Vec<Statement> {
        let all = self.fates.iter();
        all.map(|(said, fate)| Statement { line: said.line, text: said.text.clone(), fate: *fate }).collect()
    }

    /// The lines of the statements that are about the program itself.
    pub fn apart(&self) -> Vec<usize> {
        let apart = self.fates.iter().filter(|(_, fate)| **fate == Fate::Apart);
        let mut lines: Vec<usize> = apart.map(|(said, _)| said.line).collect();
        lines.dedup();
        lines
    }

    /// How many statements are not carried over.
    pub fn named(&self) -> usize {
        self.fates.values().filter(|fate| **fate == Fate::Named).count()
    }
}
