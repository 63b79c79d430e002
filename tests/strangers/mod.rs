//! The list of what strangers can fill, in `state::fair_share` and in `.github/SECURITY.md`: it names every table, queue and
//! number of permits of the running proxy, but for those below.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Types that hold one thing for each of many, or let in so many.
const KINDS: &[&str] =
    &["Semaphore", "HashMap", "HashSet", "BTreeMap", "BTreeSet", "VecDeque", "mpsc", "Queue"];

/// The modules that hold what lives as long as a connection, or longer.
const MODULES: &[&str] = &["admin", "files", "net", "proxy", "server", "sink", "state", "tasks"];

/// What no stranger can fill, and why.
const OTHERS: &[(&str, &str)] = &[
    ("Snapshot::ended", "one answer of the endpoint: as many as connections are open"),
    ("Snapshot::live", "one answer of the endpoint: as many as connections are open"),
    ("Route::outcomes", "one answer: words of the program"),
    ("Route::turned_away", "one answer: words of the program"),
    ("Route::dropped", "one answer: words of the program"),
    ("TokenFiles::live", "tokens of the text"),
    ("Source::told", "files that the text names"),
    ("Followers::known", "files that the text names"),
    ("Link::taken", "one reload: files that the text names"),
    ("WatchTable::watchers", "files that the text names"),
    ("WatchTable::open", "names of files in folders that the text names; MOST_OPEN"),
    ("TURNS", "looks at files that the text names"),
    ("Found::files", "files that the text includes, at most 4,096"),
    ("IncludeSet::found", "files that the text includes, at most 4,096"),
    ("IncludeSet::texts", "files that the text includes, at most 4,096"),
    ("Started::found", "files that the text includes, at most 4,096"),
    ("Started::texts", "files that the text includes, at most 4,096"),
    ("IncludedFile::tell", "the other end of Includes"),
    ("IncludedFolders::tell", "the other end of Includes"),
    ("Includes::tasks", "files that the text includes, at most 4,096"),
    ("Includes::tell", "one for each file that the text includes"),
    ("Includes::told", "one for each file that the text includes"),
    ("Includes::rolled_back", "files that the text includes, at most 4,096"),
    ("EditProbation::lists", "files that the text names"),
    ("Former::lists", "files that the text names"),
    ("ListFiles::links", "files that the text names"),
    ("Probation::watched", "routes of the text"),
    ("Probation::spared", "routes of the text"),
    ("Includes::unanswered", "files that the text includes, at most 4,096"),
    ("Files::now", "one plan: routes of the text"),
    ("Files::then", "one plan: routes of the text"),
    ("Listener::turn", "one at a time"),
    ("OwnListeners::by_port", "addresses of the text"),
    ("Asked::own", "one look: addresses of the upstreams"),
    ("Asked::sockets", "one look: addresses of the upstreams"),
    ("RouteRegistry::states", "routes of the text"),
    ("RefusalLog::routes", "routes of the text"),
    ("Context::check_slots", "checks, which the text asks for"),
    ("Upstreams::endpoints", "addresses of the upstreams"),
    ("Upstreams::names", "names of the text"),
    ("Upstreams::checks", "checks, which the text asks for"),
    ("OWN", "Unix sockets of the text"),
    ("Server::still_out", "routes of the text"),
    ("TlsStore::acceptors", "certificates of the text"),
    ("Watchers::alive", "borrowed of Inbox"),
    ("Requests::asked", "the other end of Handle"),
    ("Requests::later", "as many as Handle's channel holds"),
    ("Counts::routes", "one answer of an upgrade: routes of the text"),
    ("RouteCounted::upstreams", "one answer of an upgrade: upstreams of the text"),
    ("FromOld::0", "one at a time, of the process that this one has taken over from"),
    ("ToNew::to", "one at a time, to the process that has taken over"),
    ("Channels::comes", "one at a time, of a process of the same user"),
    ("Adopting::listeners", "addresses of the text"),
    ("Adopting::udp", "addresses of the text"),
    ("Rare::paused_to", "a batch of those that pause during an upgrade"),
    ("SaidUpstreams::names", "names of the text"),
    ("SaidUpstreams::connects", "addresses of the upstreams"),
    ("SaidUpstreams::checks", "checks, which the text asks for"),
    ("Inbox::alive", "the other end of Handle"),
    ("DryRun::concerned", "one plan: connections that are open"),
    ("Concerned::0", "one edit: routes of the text"),
    ("ByHand::states", "what the operator does to routes and upstreams of the text"),
    ("ByHand::weights", "what the operator does to upstreams of the text"),
    ("Logged::0", "notices of files that the text names"),
    ("ByPort::0", "one plan: addresses of the text"),
    ("Server::listeners", "addresses of the text"),
    ("Server::serving", "routes of the text"),
    ("UdpListeners::open", "addresses of the text"),
    ("UdpListeners::closing", "addresses of the text"),
    ("Writer::queue", "the other end of Sink"),
    ("ServedNames::exact", "names of the text"),
    ("ServedNames::below", "names of the text"),
];

/// The fields of a file's structs that are of such a type, and its statics.
fn held(code: &str) -> Vec<String> {
    let has_kind = |line: &str| {
        let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.into_iter().any(|word| KINDS.contains(&word))
    };
    let last_word = |text: &str| text.split_whitespace().last().unwrap_or_default().to_owned();
    let (mut found, mut within) = (Vec::new(), None);
    for line in code.lines().take_while(|line| !line.starts_with("#[cfg(test)]")) {
        let line = line.split("//").next().unwrap_or_default();
        let declared = line.strip_prefix("pub(super) ").or(line.strip_prefix("pub ")).unwrap_or(line);
        if let Some(rest) = declared.strip_prefix("struct ") {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
            if line.ends_with(';') && has_kind(&rest[name.len()..]) {
                found.push(format!("{name}::0"));
            }
            within = line.ends_with('{').then_some(name);
        } else if let Some(rest) = declared.strip_prefix("static ") {
            let (name, kind) = rest.split_once(':').unwrap_or_default();
            found.extend(has_kind(kind).then(|| name.to_owned()));
        } else if line.starts_with('}') {
            within = None;
        } else if let (Some(name), Some((field, kind))) = (&within, line.split_once(": "))
            && has_kind(kind)
        {
            found.push(format!("{name}::{}", last_word(field)));
        }
    }
    found
}

/// The rows of the table below a heading, cell by cell, without the head.
fn rows(text: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, below) = text.split_once(heading).unwrap_or_else(|| panic!("no `{heading}`"));
    let lines = below.lines().map(|line| line.trim_start_matches("//!").trim());
    let table = lines.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    table.skip(2).map(cells).collect()
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

const HEADING: &str = "The resources that strangers can fill";

/// What the two lists and the code do not agree on.
fn disagreements(sources: &BTreeMap<PathBuf, String>, module: &str, security: &str) -> Vec<String> {
    let is_ours = |path: &Path| {
        path.components()
            .next()
            .is_some_and(|first| MODULES.iter().any(|module| first.as_os_str() == *module))
            && !path.ends_with("tests.rs")
    };
    let there: BTreeSet<String> =
        sources.iter().filter(|(path, _)| is_ours(path)).flat_map(|(_, code)| held(code)).collect();
    let (list, described) = (rows(module, HEADING), rows(security, HEADING));
    let listed: BTreeSet<String> = list.iter().flat_map(|row| quoted(&row[1])).map(str::to_owned).collect();
    let others: BTreeSet<String> = OTHERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut wrong = Vec::new();
    let known = &listed | &others;
    wrong.extend(there.difference(&known).map(|name| {
        format!("`{name}` is a table, a queue or a number of permits: who can fill it? List it in state::fair_share, \
                 with its bound in SECURITY.md; or in tests/strangers, with the reason why no stranger can")
    }));
    wrong.extend(
        known.difference(&there).map(|name| format!("`{name}` is listed, and there is no such thing")),
    );
    wrong.extend(listed.intersection(&others).map(|name| format!("`{name}` is listed as both")));
    let names = |rows: &[Vec<String>]| rows.iter().map(|row| row[0].clone()).collect::<Vec<_>>();
    if names(&list) != names(&described) {
        wrong.push(format!(
            "two lists: {:?} in the module, {:?} in SECURITY.md",
            names(&list),
            names(&described)
        ));
    }
    for row in &described {
        if row.len() != 5 || row.iter().any(String::is_empty) {
            wrong.push(format!("SECURITY.md: `{}` lacks a cell", row[0]));
        }
        let tests = row.last().map(String::as_str).unwrap_or_default();
        let missing = quoted(tests).filter(|path| !Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists());
        wrong.extend(missing.map(|path| format!("SECURITY.md: there is no {path}")));
    }
    wrong
}

#[test]
fn every_resource_that_strangers_can_fill_is_on_both_lists() {
    let wrong =
        disagreements(&super::sources(), &read("src/state/fair_share.rs"), &read(".github/SECURITY.md"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_missing_on_a_list_is_found() {
    let (module, security) = (read("src/state/fair_share.rs"), read(".github/SECURITY.md"));
    let with = |code: &str| {
        let mut sources = super::sources();
        sources.insert("proxy/new.rs".into(), code.to_owned());
        let all = disagreements(&sources, &module, &security);
        all.into_iter().filter(|wrong| wrong.to_lowercase().contains("`new")).collect::<Vec<_>>()
    };
    for code in [
        "pub struct New {\n    /// Said.\n    pub waiting: Mutex<HashMap<ClientKey, u32>>,\n}\n",
        "struct New {\n    waiting: Arc<Semaphore>,\n}\n",
        "struct New {\n    waiting: mpsc::Sender<Client>,\n}\n",
        "struct New {\n    first: u32,\n    waiting: VecDeque<Client>,\n}\n",
    ] {
        let wrong = with(code);
        assert!(wrong.len() == 1 && wrong[0].starts_with("`New::waiting` is a table"), "{wrong:?}");
    }
    assert_eq!(with("pub(super) struct New(BTreeMap<u32, u32>);\n").len(), 1);
    assert_eq!(with("static NEW: Semaphore = Semaphore::const_new(8);\n").len(), 1);
    assert_eq!(
        with("/// HashMap\nstruct New {\n    one: u32, // no HashMap\n}\nfn f(a: HashMap<u8, u8>) {}\n"),
        [""; 0]
    );
    let gone = disagreements(&BTreeMap::new(), &module, &security);
    assert!(gone.iter().any(|wrong| wrong.contains("there is no such thing")));
    let other =
        disagreements(&super::sources(), &module, &security.replacen("| connections |", "| conections |", 1));
    assert!(other.iter().any(|wrong| wrong.starts_with("two lists")), "{other:?}");
}
