//! `tcp-request`: who may connect, and how often.

use super::conditions::{Ask, Condition, Term};
use super::config::Config;
use super::lines::Line;
use super::sides::Side;
use crate::config::import::networks::{self, Rule, Who};
use crate::config::import::sheet::{Route, Sheet};
use crate::config::import::values::{haproxy_time, quote, quote_all};

const OTHER: &str = "Portway looks at nothing but a TLS hello (`sni`, `alpn`) and a PROXY header";

/// Beginnings of the actions without which clients get what they got: the others refuse somebody, lead somewhere else, or take
/// bytes of the connection for themselves.
const HARMLESS: [&str; 15] = [
    "accept",
    "capture",
    "do-resolve",
    "sc-",
    "set-bc-",
    "set-fc-",
    "set-gpt",
    "set-log-level",
    "set-mark",
    "set-nice",
    "set-priority",
    "set-retries",
    "set-tos",
    "set-var",
    "unset-var",
];

/// A rule, cut into its parts.
struct Request<'l> {
    line: &'l Line,
    /// `connection`, `content`, `session`.
    phase: &'l str,
    action: &'l str,
    /// The words between action and condition.
    rest: &'l [String],
    /// The words behind `if`; behind `unless` the opposite counts.
    condition: Option<&'l [String]>,
    unless: bool,
}

impl<'l> Request<'l> {
    fn of(line: &'l Line) -> Request<'l> {
        let args = line.args();
        let at = args.iter().position(|word| word == "if" || word == "unless").unwrap_or(args.len());
        Request {
            line,
            phase: line.arg(0),
            action: line.arg(1),
            rest: args.get(2..at).unwrap_or_default(),
            condition: args.get(at + 1..),
            unless: args.get(at).is_some_and(|word| word == "unless"),
        }
    }
}

/// What is gathered of all rules.
#[derive(Default)]
struct Gathered<'l> {
    /// Of `connection`, of `session`, and of `content`: who is accepted by one list is looked at by the next.
    rules: [Vec<Rule>; 3],
    delay: Option<&'l Line>,
    /// Whether some are let in by their hello.
    by_hello: bool,
}

impl Gathered<'_> {
    fn push(&mut self, request: &Request<'_>, who: Who) {
        let [connection, session, content] = &mut self.rules;
        let list = match request.phase {
            "connection" => connection,
            "session" => session,
            _ => content,
        };
        list.push(Rule { said: request.line.said.clone(), allows: request.action == "accept", who });
    }
}

/// Writes the rules of a frontend into the route. The line that says how long a hello may take.
pub(super) fn take<'c>(
    config: &Config<'c>,
    front: &Side<'c>,
    route: &mut Route,
    sheet: &mut Sheet,
) -> Option<&'c Line> {
    let mut gathered = Gathered::default();
    for line in front.named("tcp-request") {
        let request = Request::of(line);
        if request.phase == "inspect-delay" {
            gathered.delay = Some(line);
            continue;
        }
        let said = &line.said;
        let done = match request.action {
            "accept" | "reject" | "silent-drop" => decide(front, &request, &mut gathered, route),
            action if action.starts_with("track-sc") => Ok(Done::Same),
            "expect-proxy" => expect(front, &request, route),
            _ => Err(OTHER.to_owned()),
        };
        let done = match done {
            Ok(Done::Rate(most)) => rate(config, front, most, route),
            done => done,
        };
        match done {
            Ok(Done::Same) => sheet.same(said),
            Ok(_) => sheet.carried(said),
            Err(why) if HARMLESS.iter().any(|word| request.action.starts_with(word)) => route.note(said, why),
            Err(why) => route.lacks(said, why),
        }
        if !route.notes.iter().any(|note| note.said == *said) {
            front.acls.mark(request.condition.unwrap_or_default());
        }
    }
    front.named("stick-table").for_each(|line| sheet.same(&line.said));
    networks::rules(&gathered.rules.each_ref().map(Vec::as_slice), route);
    gathered.delay
}

/// Rules of a backend come after its choice, when nobody can be refused any more without a connection.
pub(super) fn of_backend(back: &Side<'_>, route: &mut Route) {
    for line in back.named("tcp-request") {
        route.lacks(&line.said, "a backend refuses nobody: write `allow` and `deny` for the route");
    }
}

/// What came of a rule.
enum Done {
    Carried,
    Same,
    Rate(u32),
}

fn decide(
    front: &Side<'_>,
    request: &Request<'_>,
    gathered: &mut Gathered<'_>,
    route: &mut Route,
) -> Result<Done, String> {
    let accepts = request.action == "accept";
    let Some(words) = request.condition else {
        return match (request.phase, accepts) {
            (_, true) => Ok(Done::Same),
            // Who speaks no TLS has no route, if there is none without `sni`.
            ("content", false) if gathered.by_hello => no_tls(front),
            _ => {
                gathered.push(request, Who::All);
                Ok(Done::Carried)
            }
        };
    };
    let mut condition = front.acls.condition(words, route.fields.has("tls"))?;
    if request.unless {
        condition = opposite(condition)?;
    }
    if condition
        .iter()
        .flatten()
        .all(|term| matches!(term.ask, Ask::Hello | Ask::Sni(_) | Ask::Alpn(_) | Ask::Never))
    {
        gathered.by_hello |= accepts;
        return match (accepts, condition.iter().flatten().all(|term| term.negated)) {
            (true, _) => Ok(Done::Same),
            (false, true) => no_tls(front),
            (false, false) => {
                Err("nobody is refused by a hello: write the `sni` of those who are served".to_owned())
            }
        };
    }
    if let ([branch], false) = (condition.as_slice(), accepts) {
        if let Some(done) = refused(branch, route) {
            return done;
        }
        if branch.iter().all(|term| term.negated && matches!(term.ask, Ask::Source(_))) {
            gathered.push(request, Who::InNone(networks_of(&condition).collect()));
            return Ok(Done::Carried);
        }
    }
    if asks_networks(&condition) {
        networks_of(&condition).for_each(|network| gathered.push(request, Who::In(network)));
        return Ok(Done::Carried);
    }
    Err("it asks for several things at once: `allow` and `deny` ask for the client's network only".to_owned())
}

/// Whether it asks only whether a client is in one of some networks.
fn asks_networks(condition: &Condition) -> bool {
    condition.iter().all(|branch| match branch.as_slice() {
        [term] => !term.negated && matches!(term.ask, Ask::Source(_)),
        _ => false,
    })
}

/// Who is refused by one question that is no list of networks.
fn refused(branch: &[Term], route: &mut Route) -> Option<Result<Done, String>> {
    const MOST: &str = "max_connections_per_client";
    let [term] = branch else { return None };
    match (&term.ask, term.negated) {
        (Ask::SourceFile(path), negated) => {
            let key = if negated { "allow" } else { "deny" };
            if route.fields.has(key) {
                return Some(Err(format!("`{key}` is one file: write all networks into it")));
            }
            route.fields.set(&format!("{key}.file"), quote(path));
            Some(Ok(Done::Carried))
        }
        (Ask::Open(most), false) if *most > 0 => {
            let earlier: Option<u32> = route.fields.get(MOST).and_then(|most| most.parse().ok());
            route.fields.set(MOST, earlier.map_or(*most, |earlier| earlier.min(*most)).to_string());
            Some(Ok(Done::Carried))
        }
        (Ask::Rate(most), false) if *most > 0 => Some(Ok(Done::Rate(*most))),
        _ => None,
    }
}

fn networks_of(condition: &Condition) -> impl Iterator<Item = crate::model::Network> {
    condition.iter().flatten().flat_map(|term| match &term.ask {
        Ask::Source(list) => list.clone(),
        _ => Vec::new(),
    })
}

/// The opposite of one branch, or of branches of one term each.
fn opposite(condition: Condition) -> Result<Condition, String> {
    let flipped = |mut term: Term| {
        term.negated = !term.negated;
        term
    };
    match condition.len() {
        1 => Ok(condition.into_iter().flatten().map(|term| vec![flipped(term)]).collect()),
        _ if condition.iter().all(|branch| branch.len() == 1) => {
            Ok(vec![condition.into_iter().flatten().map(flipped).collect()])
        }
        _ => Err("it asks for several things at once".to_owned()),
    }
}

fn no_tls(front: &Side<'_>) -> Result<Done, String> {
    let rest = ["default_backend", "server", "server-template", "dispatch"];
    let rest = rest.iter().any(|name| front.last(name).is_some())
        || front.named("use_backend").any(|line| line.arg(1).is_empty());
    match rest {
        false => Ok(Done::Same),
        true => Err("who speaks no TLS goes to the route without `sni`, if there is one".to_owned()),
    }
}

/// Of these networks a header is read, of others none.
fn expect(front: &Side<'_>, request: &Request<'_>, route: &mut Route) -> Result<Done, String> {
    let trusted: Vec<String> = match request.condition {
        _ if request.unless || request.rest.first().is_none_or(|word| word != "layer4") => {
            return Err(OTHER.to_owned());
        }
        None => vec!["0.0.0.0/0".to_owned(), "::/0".to_owned()],
        Some(words) => {
            let condition = front.acls.condition(words, route.fields.has("tls"))?;
            if !asks_networks(&condition) {
                return Err("`trusted` lists the networks whose header is read, and nothing else".to_owned());
            }
            networks_of(&condition).map(|network| network.to_string()).collect()
        }
    };
    if trusted.is_empty() {
        return Err(OTHER.to_owned());
    }
    route.fields.set("proxy_protocol.accept", "true");
    route.fields.set("proxy_protocol.trusted", quote_all(&trusted));
    route.fields.set("proxy_protocol.untrusted", "\"plain\"");
    Ok(Done::Carried)
}

/// So many new connections of a client, in the time of the table.
fn rate(config: &Config<'_>, front: &Side<'_>, most: u32, route: &mut Route) -> Result<Done, String> {
    let time = config.rate_time(front.section).and_then(haproxy_time);
    let seconds = time.map(|time| time.as_secs()).filter(|seconds| *seconds > 0);
    let Some(seconds) = seconds else {
        return Err("no table says in what time: write rate_per_client = \"20/s\"".to_owned());
    };
    let value = match seconds {
        1 => format!("{most}/s"),
        60 => format!("{most}/m"),
        3600 => format!("{most}/h"),
        seconds if seconds < 60 => format!("{}/m burst {most}", (u64::from(most) * 60 / seconds).max(1)),
        seconds => format!("{}/h burst {most}", (u64::from(most) * 3600 / seconds).max(1)),
    };
    if route.fields.has("rate_per_client") {
        return Err("a route has one rate for each client: `rate_per_client`".to_owned());
    }
    route.fields.set("rate_per_client", quote(&value));
    Ok(Done::Carried)
}
