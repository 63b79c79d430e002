//! `use_backend` and `default_backend`: for whom a backend is.

use super::conditions::{Ask, Condition};
use super::lines::Line;
use super::sides::Side;
use crate::config::import::sheet::{Route, Said, Sheet};

/// A backend, and whom it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Case {
    /// `None`: the servers of the `listen` itself.
    pub backend: Option<String>,
    pub sni: Vec<String>,
    pub alpn: Vec<String>,
    pub said: Said,
}

impl Case {
    /// Whether it serves those whom no other case does.
    pub fn is_rest(&self) -> bool {
        self.sni.is_empty() && self.alpn.is_empty()
    }
}

/// Every case of a proxy, those with names first.
pub(super) fn cases(front: &Side<'_>, route: &mut Route, sheet: &mut Sheet) -> Vec<Case> {
    let mut cases = Vec::new();
    for line in front.named("use_backend") {
        match chosen(front, line) {
            Ok(more) => {
                sheet.carried(&line.said);
                front.acls.mark(line.args());
                more.into_iter().for_each(|case| add(&mut cases, case));
            }
            Err(why) => route.note(&line.said, why),
        }
    }
    let rest = |backend: Option<String>, said: &Said| Case {
        backend,
        sni: Vec::new(),
        alpn: Vec::new(),
        said: said.clone(),
    };
    if let Some(line) = front.last("default_backend") {
        front.named("default_backend").for_each(|line| sheet.same(&line.said));
        sheet.carried(&line.said);
        cases.push(rest(Some(line.arg(0).to_owned()), &line.said));
    } else if ["server", "server-template", "dispatch"].iter().any(|name| front.last(name).is_some()) {
        cases.push(rest(None, &front.section.said));
    }
    cases
}

/// Puts a case to another of the same backend, where both ask for the same kind of thing.
fn add(cases: &mut Vec<Case>, case: Case) {
    let same =
        |other: &&mut Case| other.backend == case.backend && other.alpn == case.alpn && !other.sni.is_empty();
    match cases.iter_mut().find(same) {
        Some(other) if !case.sni.is_empty() => {
            for name in case.sni {
                if !other.sni.contains(&name) {
                    other.sni.push(name);
                }
            }
        }
        _ => cases.push(case),
    }
}

/// The cases of one line.
fn chosen(front: &Side<'_>, line: &Line) -> Result<Vec<Case>, String> {
    let backend = line.arg(0);
    if backend.contains("%[") {
        return Err(
            "the name of the backend is made of what a client says: write a route for each, with its `sni`"
                .into(),
        );
    }
    let case = |sni: Vec<String>, alpn: Vec<String>| Case {
        backend: Some(backend.to_owned()),
        sni,
        alpn,
        said: line.said.clone(),
    };
    match line.arg(1) {
        "" => Ok(vec![case(Vec::new(), Vec::new())]),
        "if" => {
            let condition = front.acls.condition(line.args().get(2..).unwrap_or_default())?;
            asked(condition)?.into_iter().map(|one| Ok(case(one.sni, one.alpn))).collect()
        }
        _ => Err("routes are chosen by what they serve, and not by what they do not: write the `sni` of the others".into()),
    }
}

#[derive(Default)]
struct Asked {
    sni: Vec<String>,
    alpn: Vec<String>,
}

/// What each branch asks for.
fn asked(condition: Condition) -> Result<Vec<Asked>, String> {
    let mut all = Vec::new();
    for branch in condition {
        let mut one = Asked::default();
        for term in branch {
            match (term.ask, term.negated) {
                (Ask::Sni(names), false) if one.sni.is_empty() => one.sni = names,
                (Ask::Alpn(names), false) if one.alpn.is_empty() => one.alpn = names,
                (Ask::Hello, false) => {}
                (Ask::Source(_) | Ask::SourceFile(_), _) => {
                    return Err("a route is not chosen by the client's address: give it an address of its own to listen \
                                on, and `allow`"
                        .into());
                }
                _ => return Err("a route is chosen by `sni` and by `alpn`, and by nothing else".into()),
            }
        }
        if one.sni.is_empty() && one.alpn.is_empty() {
            return Err("whether a client speaks TLS chooses no route: those who do are chosen by `sni`, and the route \
                        without it takes the rest"
                .into());
        }
        all.push(one);
    }
    Ok(all)
}
