//! `use_backend` and `default_backend`: for whom a backend is.

use super::conditions::{Ask, Condition, Term};
use super::lines::Line;
use super::sides::Side;
use crate::config::import::neighbours;
use crate::config::import::sheet::{Route, Said, Sheet};

/// A backend, and whom it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Case {
    /// `None`: the servers of the `listen` itself.
    pub backend: Option<String>,
    pub sni: Vec<String>,
    pub alpn: Vec<String>,
    pub said: Said,
    /// A line before it whose clients would come to it here.
    pub after: Option<Said>,
}

impl Case {
    /// Whether it serves those whom no other case does.
    pub fn is_rest(&self) -> bool {
        self.sni.is_empty() && self.alpn.is_empty()
    }
}

/// Every case of a proxy, those with names first.
pub(super) fn cases(front: &Side<'_>, route: &mut Route, sheet: &mut Sheet) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut lost: Option<Said> = None;
    for line in front.named("use_backend") {
        if cases.iter().any(Case::is_rest) {
            route.note(&line.said, "a line before it serves everybody");
            continue;
        }
        match chosen(front, line, route.fields.has("tls")) {
            Ok(more) if more.is_empty() => route.note(&line.said, NEVER),
            Ok(more) => {
                sheet.carried(&line.said);
                front.acls.mark(line.args());
                for mut case in more {
                    case.after.clone_from(&lost);
                    let Some(case) = reached(&cases, case) else {
                        route.note(&line.said, "a line before it serves all of these names");
                        continue;
                    };
                    before(&cases, &case).into_iter().for_each(|more| add(&mut cases, more));
                    add(&mut cases, case);
                }
            }
            Err(why) => {
                route.note(&line.said, why);
                // Where servers are down, another backend helps out: without it, nobody comes to a wrong one.
                if !front.acls.about_servers(line.args().get(2..).unwrap_or_default()) {
                    lost.get_or_insert_with(|| line.said.clone());
                }
            }
        }
    }
    let rest = |backend: Option<String>, said: &Said| Case {
        backend,
        sni: Vec::new(),
        alpn: Vec::new(),
        said: said.clone(),
        after: lost.clone(),
    };
    let served = cases.iter().any(Case::is_rest);
    if let Some(line) = front.last("default_backend") {
        front.named("default_backend").for_each(|line| sheet.same(&line.said));
        if !served {
            sheet.carried(&line.said);
            cases.push(rest(Some(line.arg(0).to_owned()), &line.said));
        }
    } else if !served
        && ["server", "server-template", "dispatch"].iter().any(|name| front.last(name).is_some())
    {
        cases.push(rest(None, &front.section.said));
    }
    cases
}

/// What is left of a case: HAProxy takes the first line that fits, Portway the most exact name.
fn reached(cases: &[Case], mut case: Case) -> Option<Case> {
    let named = !case.sni.is_empty();
    for earlier in cases.iter().filter(|earlier| earlier.backend != case.backend && earlier.alpn.is_empty()) {
        case.sni.retain(|name| !earlier.sni.iter().any(|other| neighbours::covers(other, name)));
    }
    (!named || !case.sni.is_empty()).then_some(case)
}

/// What lines before a case take of its clients by their protocol, as cases of these names: here the name decides first.
fn before(cases: &[Case], case: &Case) -> Vec<Case> {
    let takes = |earlier: &Case, name: &String| {
        earlier.sni.is_empty() || earlier.sni.iter().any(|other| neighbours::covers(other, name))
    };
    let theirs = |earlier: &Case| -> Vec<String> {
        let names = case.sni.iter().filter(|name| takes(earlier, name) && !earlier.sni.contains(name));
        names.cloned().collect()
    };
    let earlier = cases.iter().filter(|earlier| earlier.backend != case.backend && !earlier.alpn.is_empty());
    let more = earlier.map(|earlier| Case { sni: theirs(earlier), ..earlier.clone() });
    more.filter(|case| !case.sni.is_empty()).collect()
}

/// Puts a case to another of the same backend, where both ask for the same kind of thing.
fn add(cases: &mut Vec<Case>, case: Case) {
    let same =
        |other: &&mut Case| other.backend == case.backend && other.alpn == case.alpn && !other.sni.is_empty();
    match cases.iter_mut().find(same) {
        Some(other) if !case.sni.is_empty() => {
            other.after = other.after.take().or(case.after);
            for name in case.sni {
                if !other.sni.contains(&name) {
                    other.sni.push(name);
                }
            }
        }
        _ => cases.push(case),
    }
}

/// The cases of one line. `ends_tls`: of the addresses where TLS ends.
fn chosen(front: &Side<'_>, line: &Line, ends_tls: bool) -> Result<Vec<Case>, String> {
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
        after: None,
    };
    match line.arg(1) {
        "" => Ok(vec![case(Vec::new(), Vec::new())]),
        "if" => {
            let condition = front.acls.condition(line.args().get(2..).unwrap_or_default(), ends_tls)?;
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

/// Why a line chooses nobody.
const NEVER: &str = "it is never true here: `req.ssl_sni` reads the hello of a client whose TLS passes by, and `ssl_fc_sni` asks \
    for the name where TLS ends (`bind` with `ssl`)";

/// What each branch asks for. Those that are never true are left out.
fn asked(condition: Condition) -> Result<Vec<Asked>, String> {
    let mut all = Vec::new();
    let never = |branch: &Vec<Term>| branch.iter().any(|term| term.ask == Ask::Never && !term.negated);
    for branch in condition.into_iter().filter(|branch| !never(branch)) {
        let mut one = Asked::default();
        for term in branch {
            match (term.ask, term.negated) {
                (Ask::Sni(names), false) if one.sni.is_empty() => one.sni = names,
                (Ask::Alpn(names), false) if one.alpn.is_empty() => one.alpn = names,
                (Ask::Hello, false) | (Ask::Never, _) => {}
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
