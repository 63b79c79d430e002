//! What holds for every file: the shipped ones, the schema, and what the compiler promises whatever it is given.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use portway::config::{compile, policy_entries, schema};
use portway::model::Fault;
use portway::model::{ListenAddr, ListenSpec, LogSettings, Policy, Protocol, Table, TokenSource};
use proptest::prelude::*;

use super::misfits::misfits;
use crate::fuzz::bodies;

fn shipped() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let from = ["nginx", "haproxy", "traefik", "rinetd", "socat", "realm", "docker"];
    let from = from.map(|name| {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/from").join(name).join("portway.toml")
    });
    let files: Vec<_> = paths
        .filter(|path| path.is_file())
        .chain(from)
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect();
    assert!(files.len() >= 6, "only {} files in config/", files.len());
    files
}

fn table(text: &str) -> Table {
    compile("test.toml", text.as_bytes()).unwrap_or_else(|report| panic!("{report}")).table
}

fn headline(text: &str) -> String {
    compile("test.toml", text.as_bytes()).unwrap_err().headline()
}

#[test]
fn every_shipped_file_compiles_and_fits_the_schema() {
    for (path, text) in shipped() {
        assert_eq!(path.extension().unwrap(), "toml");
        table(&text);
        let value: toml::Table = text.parse().unwrap();
        let misfits = misfits(schema(), &serde_json::to_value(value).unwrap(), "");
        assert!(misfits.is_empty(), "{}: {misfits:?}", path.display());
    }
}

#[test]
fn the_schema_refuses_what_the_compiler_refuses() {
    for (text, what) in [
        ("", "a file without routes"),
        ("[[route]]\nlisten = \"1\"", "a route without upstream"),
        ("[[route]]\nlisten = []\nupstream = \"a:1\"", "an empty list"),
        ("[[route]]\nlisten = 1\nupstream = \"a:1\"", "a number"),
        ("[[route]]\nlisten = \"1\"\nupstream = \"a:1\"\nidle_timeout = \"5\"", "no unit"),
        (
            "[[route]]\nlisten = \"1\"\nupstream = \"a:1\"\nconnect_timeout = \"off\"",
            "off where it is no value",
        ),
        ("[[route]]\nlisten = \"1\"\nupstream = \"a:1\"\nrelay = \"fast\"", "an unknown word"),
        ("[[route]]\nlisten = \"1\"\nupstream = \"a:1\"\nfoo = 1", "an unknown key"),
        ("[[route]]\nlisten = \"1\"\nupstream = \"a:1\"\nhealth = { steps = [{}] }", "an empty step"),
        (
            "[defaults]\nlisten = \"1\"\n[[route]]\nlisten = \"1\"\nupstream = \"a:1\"",
            "a key in the wrong table",
        ),
        ("foo = 1\n[[route]]\nlisten = \"1\"\nupstream = \"a:1\"", "an unknown key at the top"),
    ] {
        assert!(compile("test.toml", text.as_bytes()).is_err(), "{what}");
        let value: toml::Table = text.parse().unwrap();
        assert!(!misfits(schema(), &serde_json::to_value(value).unwrap(), "").is_empty(), "{what}");
    }
}

#[test]
fn every_key_is_in_every_key_toml_with_its_default_and_a_sentence() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/every-key.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let file: toml::Table = text.parse().unwrap();
    let route = file["route"][0].as_table().unwrap();
    let defaults = file["defaults"].as_table().unwrap();
    let mut count = 0;
    for (pointer, found) in [
        ("/properties", vec![&file]),
        ("/properties/process/properties", vec![]),
        ("/properties/log/properties", vec![file["log"].as_table().unwrap()]),
        ("/properties/limits/properties", vec![file["limits"].as_table().unwrap()]),
        ("/properties/edits/properties", vec![file["edits"].as_table().unwrap()]),
        ("/properties/fleet/properties", vec![file["fleet"].as_table().unwrap()]),
        ("/properties/admin/properties", vec![]),
        ("/properties/defaults/properties", vec![defaults]),
        ("/properties/route/items/properties", vec![route, defaults]),
    ] {
        let schema = schema().pointer(pointer).unwrap().as_object().unwrap();
        for (key, described) in schema {
            let value = found.iter().find_map(|table| table.get(key));
            let shown = [format!("\n# {key} = "), format!("\n# [{key}]\n")];
            if described.get("default").is_none() && shown.iter().any(|shown| text.contains(shown)) {
                // Without a default there is only an example.
                count += 1;
                continue;
            }
            let value = value.unwrap_or_else(|| panic!("{pointer}/{key} is not in the file"));
            if let Some(default) = described.get("default") {
                assert_eq!(value.as_str(), default.as_str(), "{key}");
            }
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
    let mut before = "";
    for line in text.lines() {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(before.starts_with("# "), "no sentence above: {line}");
        }
        before = line;
    }
    // The values in the file are those that hold without it.
    let compiled = table(&text);
    assert_eq!(compiled.log, LogSettings::default());
    let default = Policy::default().of(Protocol::Tcp);
    assert_eq!(*compiled.routes["127.0.0.1:8080"].policy, default);
    let bare = "[[route]]\nlisten = \"127.0.0.1:8080\"\nupstream = \"127.0.0.1:3000\"";
    assert_eq!(compiled, table(bare));
    // And each entry of a policy is a key of the file that reads back.
    for (key, value) in policy_entries(&default) {
        if value == "none" && !defaults.contains_key(key) {
            assert!(text.contains(&format!("\n# {key} = ")), "{key}");
            continue;
        }
        assert_eq!(table(&format!("{bare}\n{key} = \"{value}\"")), table(bare));
        assert!(defaults.contains_key(key));
    }
}

/// A text that passes our check of a filter, tracing's parser takes too.
#[test]
fn a_level_is_a_filter_of_tracing() {
    let with = |level: &str| {
        let text = format!("[log]\nlevel = \"{level}\"\n[[route]]\nlisten = \"1\"\nupstream = \"a:1\"");
        compile("test.toml", text.as_bytes()).is_ok()
    };
    for level in [
        "off",
        "error",
        "warn",
        "INFO",
        "debug",
        "trace",
        "warn,portway=debug",
        "info,portway::net::relay=trace",
    ] {
        assert!(with(level), "{level}");
        assert!(tracing_subscriber::EnvFilter::builder().parse(level).is_ok(), "{level}");
    }
    for level in ["", "inof", "portway", "=info", "a=b=info", "info,", "a b=info", "[x]=info"] {
        assert!(!with(level), "{level}");
    }
}

#[test]
fn no_nesting_is_too_deep_for_the_stack() {
    let deep = 100_000;
    let route = "[[route]]\nlisten = \"1\"\nupstream = \"a:1\"\n";
    for (text, what) in [
        (format!("{route}x = {}", "[".repeat(deep)), "open lists"),
        (format!("{route}x = {}{}", "[".repeat(deep), "]".repeat(deep)), "lists"),
        (format!("{route}x = {}1{}", "{a=".repeat(deep), "}".repeat(deep)), "tables"),
        (format!("{route}x = {}", "{a=".repeat(deep)), "open tables"),
        (format!("{route}x = {}", "[{a=".repeat(deep)), "both"),
        ("[".repeat(deep), "a header"),
        (format!("{}{}", "[".repeat(deep), "]".repeat(deep)), "a closed header"),
        (format!("[{}a]", "a.".repeat(deep)), "a dotted header"),
        (format!("[[{}a]]", "a . ".repeat(deep)), "a dotted header of a list"),
        (format!("{route}{}a = 1", "a.".repeat(deep)), "a dotted key"),
        (format!("{route}{}a = 1", "\"a\".'b'.".repeat(deep)), "a dotted key with quotes"),
        (format!("x = {{ {}a = 1 }}", "a.".repeat(deep)), "a dotted key in a table"),
        (format!("x = 1\n[x.y]\n{}a = 1", "a.".repeat(deep)), "a dotted key in a table that is dropped"),
        (format!("x = \"{}\"", "a.".repeat(deep)), "dots in a text"),
        (format!("{}\n", "a.a.a.a.a.a.a.a.a.a = 1\n".repeat(deep / 10)), "many dotted keys"),
    ] {
        let report = compile("test.toml", text.as_bytes()).unwrap_err();
        assert!(report.render(false).lines().all(|line| line.chars().count() < 400), "{what}");
        assert!(report.headline().starts_with("test.toml:"), "{what}");
    }
    let fine = format!("# {}\n{route}name = \"{}\"", "a.".repeat(deep), "a.".repeat(50));
    table(&fine);
}

/// A file caught half written: whatever its length, it compiles or it is a fault that has a place.
/// How many threads share the longest test: on a busy machine one alone would wait for minutes.
const PARTS: usize = 8;

#[test]
fn a_truncated_file_is_never_more_than_a_fault() {
    let shipped = shipped();
    let cut_in_part = |part: usize| {
        for (path, text) in &shipped {
            let whole = table(text);
            for end in (part..text.len()).step_by(PARTS) {
                bodies::compiles(&text.as_bytes()[..end]);
                if let Ok(part) = compile("test.toml", &text.as_bytes()[..end]) {
                    let known = |name: &String| whole.routes.contains_key(name);
                    // Only a route whose name, or whose only listener, was cut may be called otherwise.
                    let strange = part.table.routes.keys().filter(|name| !known(name)).count();
                    assert!(strange <= 1, "{} at {end}", path.display());
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for part in 0..PARTS {
            let cut_in_part = &cut_in_part;
            scope.spawn(move || cut_in_part(part));
        }
    });
}

#[test]
fn a_fault_is_placed_at_its_line_and_column() {
    let route = "[[route]]\nlisten = \"1\"\nupstream = \"a:1\"\n";
    for (text, place) in [
        (format!("{route}foo = 1"), "4:1"),
        (format!("\u{feff}{route}foo = 1"), "4:1"),
        ("\u{feff}foo = 1".to_owned(), "1:1"),
        (format!("{}foo = 1", route.replace('\n', "\r\n")), "4:1"),
        (format!("{route}\tkeepalive\t=\t5"), "4:14"),
        (format!("{route}name = \"日本語\" # 説明\nkeepalive = 5"), "5:13"),
        (format!("{route}'日本' = 5"), "4:1"),
        (format!("[log]\n\n\n[[log]]\n{route}"), "4:3"),
        (format!("{route}name = \"é\\q\""), "4:11"),
    ] {
        let headline = headline(&text);
        assert!(headline.starts_with(&format!("test.toml:{place}: ")), "{place}: {headline}");
    }
    let bytes = [route.as_bytes(), b"# \xc3\xa9 \xff"].concat();
    let report = compile("test.toml", &bytes).unwrap_err();
    assert!(report.headline().starts_with("test.toml:4:5: "), "{report}");
}

#[test]
fn a_socket_that_cannot_be_had_is_shown_at_its_entry() {
    let text = "[[route]]\nlisten = [\"127.0.0.1:80\", \"7000-7009\"]\nupstream = \"a:1\"\n\
                [[route]]\nlisten = \"unix:/run/a.sock\"\nupstream = \"a:1\"\n";
    let compiled = compile("test.toml", text.as_bytes()).unwrap();
    let fault = |message: &str| Fault { message: message.into(), help: "help".into() };
    let report = compiled.listen_faults(&[
        (ListenAddr::Unix("/run/a.sock".into()), fault("third")),
        (ListenAddr::Any(7004), fault("second")),
        ("127.0.0.1:80".parse::<ListenSpec>().unwrap().at(0), fault("first")),
        (ListenAddr::Any(80), fault("in no file")),
    ]);
    let shown = report.render(false);
    for place in [
        "error: first\n --> test.toml:2:11\n",
        "error: second\n --> test.toml:2:27\n",
        "error: third\n --> test.toml:5:10\n",
        "error: in no file\n",
    ] {
        assert!(shown.contains(place), "{shown}");
    }
    assert!(shown.ends_with("test.toml: 4 faults\n"), "{shown}");
}

#[test]
fn a_file_full_of_faults_is_shown_in_part() {
    let report = compile("test.toml", b"foo = 1\n").unwrap_err();
    assert_eq!(report.count(), 1);
    // A file of another kind, with a fault in each line: told from its beginning.
    let log = "2026-01-01 INFO something: happened\n".repeat(400_000);
    let report = compile("test.toml", log.as_bytes()).unwrap_err();
    assert!((200..20_000).contains(&report.count()), "{}", report.count());
    let keys: String = (0..100_000).map(|i| format!("k{i} = 1\n")).collect();
    assert_eq!(compile("test.toml", keys.as_bytes()).unwrap_err().count(), 1000);
    let many: String = (0..5_000).map(|i| format!("[[route]]\nlisten = \"x{i}\"\n")).collect();
    let report = compile("test.toml", many.as_bytes()).unwrap_err();
    assert_eq!(report.count(), 10_000);
    let shown = report.render(false);
    assert_eq!(shown.matches("error: ").count(), 50);
    assert!(shown.ends_with("test.toml: 10000 faults; the first 50 are shown\n"));
}

/// One entry of `listen`, from few hosts and ports, so that they meet.
fn entry() -> impl Strategy<Value = String> {
    let hosts = ["", "0.0.0.0:", "[::]:", "127.0.0.1:", "10.0.0.1:", "[::1]:"];
    (prop::sample::select(hosts.to_vec()), 100_u16..112, prop_oneof![3 => Just(0_u16), 1 => 1_u16..5])
        .prop_map(|(host, first, more)| match more {
            0 => format!("{host}{first}"),
            more => format!("{host}{first}-{}", first + more),
        })
}

fn routes() -> impl Strategy<Value = Vec<Vec<String>>> {
    prop::collection::vec(prop::collection::vec(entry(), 1..3), 1..5)
}

fn text_of(routes: &[Vec<String>]) -> String {
    let route = |(index, listen): (usize, &Vec<String>)| {
        format!("[[route]]\nname = \"{index}\"\nlisten = {listen:?}\nupstream = \"app:{}\"\n", 1 + index % 3)
    };
    routes.iter().enumerate().map(route).collect()
}

/// A file that is fine: some of these addresses, one or two for each route, under names in any order.
fn file() -> impl Strategy<Value = String> {
    let listen =
        ["1", "2-4", "127.0.0.1:5", "127.0.0.2:5", "[::1]:5", "unix:/run/a", "unix:/run/b", "0.0.0.0:6", "7"];
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    let head = [
        "",
        "[defaults]\nkeepalive = \"off\"\n",
        "[log]\nformat = \"json\"\n",
        "[log]\naccess = \"/tmp/x\"\n",
    ];
    let upstream = prop::collection::vec(prop::sample::select(vec!["x:1", "y:1", "unix:/run/z"]), 9);
    (
        prop::sample::subsequence(listen.to_vec(), 1..=9).prop_shuffle(),
        Just(names.to_vec()).prop_shuffle(),
        upstream,
        prop::sample::select(head.to_vec()),
        1_usize..3,
    )
        .prop_map(|(listen, names, upstream, head, each)| {
            let routes = listen.chunks(each).zip(names).zip(upstream).map(|((listen, name), upstream)| {
                format!("[[route]]\nname = \"{name}\"\nlisten = {listen:?}\nupstream = \"{upstream}\"\n")
            });
            head.to_owned() + &routes.collect::<String>()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    /// The fast search for overlaps says what comparing each address with each says.
    #[test]
    fn overlaps_are_found_as_by_hand(routes in routes()) {
        let mut entries = Vec::new();
        for (route, listen) in routes.iter().enumerate() {
            for text in listen {
                entries.push((route, text.parse::<ListenSpec>().unwrap()));
            }
        }
        let mut meet = false;
        for (index, (route, spec)) in entries.iter().enumerate() {
            for (other_route, other) in &entries[..index] {
                let families: BTreeSet<String> =
                    [spec, other].iter().map(|spec| spec.to_string().rsplit_once(':').map_or_else(String::new, |(host, _)| host.to_owned())).collect();
                let wildcards = families == BTreeSet::from(["0.0.0.0".to_owned(), "[::]".to_owned()]);
                let allowed = route == other_route && wildcards && spec.ports() == other.ports();
                meet |= !allowed && spec.addrs().any(|(_, a)| other.addrs().any(|(_, b)| a.overlaps(&b)));
            }
        }
        let compiled = compile("test.toml", text_of(&routes).as_bytes());
        prop_assert_eq!(compiled.is_err(), meet, "{:?}", compiled.err().map(|report| report.to_string()));
    }

    #[test]
    fn a_plan_leads_from_any_table_to_any_other(old in file(), new in file()) {
        let (old, new) = (table(&old), table(&new));
        bodies::leads(&old, &new);
        bodies::leads(&new, &old);
        bodies::leads(&Table::default(), &new);
        bodies::leads(&new, &new);
    }
}

#[test]
fn a_token_comes_from_the_file_or_the_variable_that_is_named() {
    for (said, source) in [
        ("env = \"APP_1_token\"", TokenSource::Env("APP_1_token".to_owned())),
        ("file = \"/run/secrets/app\"", TokenSource::File("/run/secrets/app".into())),
    ] {
        for key in ["token", "read_token"] {
            let text = format!(
                "[admin]\nlisten = \"127.0.0.1:9180\"\n{key} = {{ {said} }}\n\
                 [[route]]\nlisten = \"1\"\nupstream = \"a:1\"\n"
            );
            let admin = table(&text).admin.unwrap();
            assert_eq!(admin.token_sources().collect::<Vec<_>>(), [&source], "{key}");
        }
    }
}
