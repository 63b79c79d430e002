//! `include`: each file is an edit of its own, and what two of them claim stays with the one that runs.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::harness::instance::*;

/// A main file that includes those of a folder, and a proxy that runs them.
pub struct Several {
    pub place: Place,
    pub portway: Portway,
}

pub const INCLUDE: &str = "include = [\"routes.d/*.toml\"]\n";

impl Several {
    /// `main`: the routes of the main file. `files`: names in the folder, with their texts.
    pub fn run(main: &str, files: &[(&str, &str)]) -> Several {
        let place = Place::with(&format!("{INCLUDE}{HEAD}{main}"));
        fs::create_dir(place.folder().join("routes.d")).unwrap();
        for (name, text) in files {
            fs::write(place.folder().join("routes.d").join(name), text).unwrap();
        }
        let portway = Portway::run(&place.file());
        Several { place, portway }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.place.folder().join("routes.d").join(name)
    }

    /// Saves by rename, as most tools do.
    pub fn save(&self, name: &str, text: &str) {
        let new = self.path(".new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    /// Waits for an edit; returns what it has changed.
    pub fn reloaded(&mut self) -> String {
        self.portway.phase("reloaded")["plan"].as_str().unwrap().to_owned()
    }
}

pub fn ports<const N: usize>() -> [Port; N] {
    [(); N].map(|()| Port::reserve())
}

#[test]
fn each_file_is_an_edit_of_its_own_and_touches_no_other() {
    let ([web, one, two], a, b) = (ports(), Backend::named("a"), Backend::named("b"));
    let of = |port: &Port, name: &str, to: &Backend| route(name, &port.local(), to, "");
    let mut several = Several::run(
        &of(&web, "web", &a),
        &[("one.toml", &of(&one, "one", &a)), ("two.toml", &of(&two, "two", &a))],
    );
    assert_eq!([&web, &one, &two].map(|port| reached(port.number)), ["a", "a", "a"]);
    let mut flows = [&web, &one, &two].map(|port| Flow::open(port.number));
    several.save("two.toml", &(of(&two, "two", &b) + "on_change = \"cut\"\n"));
    let line = several.portway.phase("reloaded");
    assert_eq!(
        (line["plan"].as_str(), line["file"].as_str()),
        (Some("changed two"), Some("routes.d/two.toml"))
    );
    assert_eq!(reached(two.number), "b");
    let [web_flow, one_flow, two_flow] = &mut flows;
    assert!(two_flow.was_reset());
    fs::write(several.path("one.toml"), of(&one, "one", &b) + "keepalive = \"30s\"\n").unwrap();
    assert_eq!(several.reloaded(), "changed one");
    // And the main one.
    let main = format!("{INCLUDE}{HEAD}{}", of(&web, "web", &b));
    several.place.save(&main);
    assert_eq!(several.reloaded(), "changed web");
    assert_eq!([&web, &one, &two].map(|port| reached(port.number)), ["b", "b", "b"]);
    web_flow.ping().unwrap();
    one_flow.ping().unwrap();
    drop(flows);
    several.portway.stop();
}

#[test]
fn each_file_has_defaults_of_its_own() {
    let ([web, one, two], a) = (ports(), Backend::named("a"));
    let denies = |more: &str| format!("[defaults]\ndeny = [\"127.0.0.0/8\"]\n{more}");
    let mut several = Several::run(
        &route("web", &web.local(), &a, ""),
        &[
            ("one.toml", &denies(&route("one", &one.local(), &a, ""))),
            ("two.toml", &route("two", &two.local(), &a, "")),
        ],
    );
    assert_eq!([&web, &two].map(|port| reached(port.number)), ["a", "a"]);
    assert!(Flow::try_open(one.number).is_err());
    // Those of the main file are not theirs.
    several.place.save(&format!("{INCLUDE}{HEAD}{}", denies(&route("web", &web.local(), &a, ""))));
    assert_eq!(several.reloaded(), "changed web");
    assert!(Flow::try_open(web.number).is_err());
    assert_eq!(reached(two.number), "a");
    several.portway.stop();
}

/// Relative paths begin at the folder of the file that has them, and a fault is shown there.
#[test]
fn what_an_included_file_names_is_beside_it() {
    let ([one, two], a) = (ports(), Backend::named("a"));
    let listed = |port: &Port, name: &str| route(name, &port.local(), &a, "deny = { file = \"deny.txt\" }\n");
    let place = Place::with(&format!("{INCLUDE}{HEAD}"));
    fs::create_dir(place.folder().join("routes.d")).unwrap();
    fs::write(place.folder().join("routes.d/deny.txt"), "127.0.0.0/8\n").unwrap();
    // Another list, of the same name.
    fs::write(place.folder().join("deny.txt"), "10.0.0.0/8\n").unwrap();
    fs::write(place.folder().join("routes.d/one.toml"), listed(&one, "one")).unwrap();
    let mut several = Several { portway: Portway::run(&place.file()), place };
    assert!(Flow::try_open(one.number).is_err());
    several.place.save(&format!("{INCLUDE}{HEAD}{}", listed(&two, "two")));
    assert_eq!(several.reloaded(), "added two");
    assert_eq!(reached(two.number), "a");
    fs::write(several.path("deny.txt"), "10.0.0.0/8\n").unwrap();
    several.portway.phase("list taken over");
    assert_eq!(reached(one.number), "a");
    several.save("one.toml", &listed(&one, "one").replace("deny.txt", "missing.txt"));
    let headline = several.portway.refused();
    let start = format!(
        "{}:5:17: the list {}",
        several.path("one.toml").display(),
        several.path("missing.txt").display()
    );
    assert!(headline.starts_with(&start), "{headline}");
    several.portway.stop();
}

#[test]
fn a_bad_file_holds_back_only_itself_also_at_the_start() {
    let ([web, one, two], a, b) = (ports(), Backend::named("a"), Backend::named("b"));
    let bad = format!("[[route]]\nname = \"one\"\nlisten = \"{}\"\nupstream = \"app\"\n", one.local());
    let mut several = Several::run(
        &route("web", &web.local(), &a, ""),
        &[("one.toml", &bad), ("two.toml", &route("two", &two.local(), &a, ""))],
    );
    let headline = several.portway.refused();
    assert!(headline.starts_with(&format!("{}:4:12: ", several.path("one.toml").display())), "{headline}");
    assert_eq!([&web, &two].map(|port| reached(port.number)), ["a", "a"]);
    assert!(is_refused(one.number));
    // The others' edits go on.
    several.save("two.toml", &route("two", &two.local(), &b, ""));
    assert_eq!(several.reloaded(), "changed two");
    assert_eq!(reached(two.number), "b");
    several.save("one.toml", &route("one", &one.local(), &a, ""));
    assert_eq!(several.reloaded(), "added one");
    several.portway.phase("fault healed");
    // What runs of a file goes on when it is spoiled.
    let mut flow = Flow::open(one.number);
    several.save("one.toml", &bad);
    several.portway.refused();
    flow.ping().unwrap();
    assert_eq!(reached(one.number), "a");
    several.place.save(&format!("{INCLUDE}{HEAD}{}", route("web", &web.local(), &b, "")));
    assert_eq!(several.reloaded(), "changed web");
    assert_eq!((reached(web.number), reached(one.number)), ("b".into(), "a".into()));
    several.save("one.toml", &route("one", &one.local(), &a, ""));
    several.portway.phase("fault healed");
    flow.ping().unwrap();
    drop(flow);
    several.portway.stop();
}

/// An address that another program has, at the start: the file waits for it, and the others run.
#[test]
fn an_address_that_is_taken_holds_back_one_file() {
    let ([one, two], a) = (ports(), Backend::named("a"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let mut several = Several::run(
        "",
        &[
            ("one.toml", &route("one", &one.local(), &a, "")),
            ("taken.toml", &route("taken", &addr, &a, "")),
            ("two.toml", &route("two", &two.local(), &a, "")),
        ],
    );
    let headline = several.portway.refused();
    assert!(headline.starts_with(&format!("{}:3:10: ", several.path("taken.toml").display())), "{headline}");
    assert_eq!([&one, &two].map(|port| reached(port.number)), ["a", "a"]);
    drop(taken);
    assert_eq!(several.reloaded(), "added taken");
    several.portway.stop();
}

#[test]
fn what_two_files_claim_stays_with_the_one_that_runs_until_it_gives_way() {
    let ([one, two], a, b) = (ports(), Backend::named("a"), Backend::named("b"));
    let both = |name: &str, port: &Port, to: &Backend| route(name, &port.local(), to, "");
    let mut several =
        Several::run("", &[("one.toml", &both("one", &one, &a)), ("two.toml", &both("two", &two, &a))]);
    let mut flow = Flow::open(one.number);
    for (what, text, place) in [
        ("two routes have the name `one`", both("one", &two, &b), ":2:8: "),
        ("is listened on twice", both("two", &one, &b), ":3:10: "),
    ] {
        several.save("two.toml", &text);
        let line = several.portway.phase("edit refused");
        let (headline, report) = (line["headline"].as_str().unwrap(), line["report"].as_str().unwrap());
        let start = format!("{}{place}", several.path("two.toml").display());
        assert!(headline.starts_with(&start) && headline.contains(what), "{headline}");
        assert!(report.contains(&format!("{}:", several.path("one.toml").display())), "{report}");
        assert_eq!((reached(one.number), reached(two.number)), ("a".into(), "a".into()), "{what}");
        flow.ping().unwrap();
        // It heals from its own side.
        several.save("two.toml", &both("two", &two, &a));
        several.portway.phase("fault healed");
    }
    // And from the other: the name and the address go over.
    several.save("two.toml", &both("one", &one, &b));
    several.portway.refused();
    several.save("one.toml", &both("other", &two, &a));
    assert_eq!(several.reloaded(), "added other; removed two; changed one");
    several.portway.phase("fault healed");
    assert_eq!((reached(one.number), reached(two.number)), ("b".into(), "a".into()));
    drop(flow);
    several.portway.stop();
}

/// The main file has no more right to what runs than the others.
#[test]
fn the_main_file_gives_way_to_what_runs_too() {
    let ([web, one], a, b) = (ports(), Backend::named("a"), Backend::named("b"));
    let main = |more: &str| format!("{INCLUDE}{HEAD}{}{more}", route("web", &web.local(), &a, ""));
    let mut several = Several::run(
        &route("web", &web.local(), &a, ""),
        &[("one.toml", &route("one", &one.local(), &a, ""))],
    );
    several.place.save(&main(&route("new", &one.local(), &b, "")));
    let headline = several.portway.refused();
    assert!(headline.starts_with(&format!("{}:11:10: ", several.place.file().display())), "{headline}");
    assert_eq!(reached(one.number), "a");
    fs::remove_file(several.path("one.toml")).unwrap();
    several.portway.phase("fault healed");
    several
        .portway
        .until("it has gone over", |_| Flow::try_open(one.number).is_ok_and(|flow| flow.reached == "b"));
    several.portway.stop();
}

#[test]
fn the_main_file_says_what_is_included() {
    let ([web, one, two], a) = (ports(), Backend::named("a"));
    let main = route("web", &web.local(), &a, "");
    let mut several = Several::run(
        &main,
        &[
            ("one.toml", &route("one", &one.local(), &a, "")),
            ("two.toml", &route("two", &two.local(), &a, "")),
        ],
    );
    let mut flow = Flow::open(one.number);
    several.place.save(&format!("include = \"routes.d/one.toml\"\n{HEAD}{main}"));
    assert_eq!(several.reloaded(), "removed two");
    several.portway.until("it is closed", |_| is_refused(two.number));
    several.place.save(&format!("{HEAD}{main}"));
    assert_eq!(several.reloaded(), "removed one");
    // What was kept lives on; what is not included is not followed.
    flow.ping().unwrap();
    several.save("one.toml", &route("one", &two.local(), &a, ""));
    several.place.save(&format!("{INCLUDE}{HEAD}{main}"));
    several.portway.phase("nothing changed");
    several.portway.until("both are there", |_| Flow::try_open(two.number).is_ok());
    drop(flow);
    several.portway.until("one is taken and the other one refused", |portway| {
        portway.count("edit refused") == 1 && portway.count("reloaded") == 3
    });
    several.portway.stop();
}

/// `include` alone: there may be no file yet, and no route.
#[test]
fn routes_may_come_later() {
    let ([one], a) = (ports(), Backend::named("a"));
    let place = Place::with(&format!("{INCLUDE}{HEAD}"));
    let mut several = Several { portway: Portway::run(&place.file()), place };
    fs::create_dir(several.place.folder().join("routes.d")).unwrap();
    several.save("one.toml", &route("one", &one.local(), &a, ""));
    assert_eq!(several.reloaded(), "added one");
    assert_eq!(reached(one.number), "a");
    several.portway.stop();
}

/// An edit of one of many files reads that one, and no other.
#[test]
fn an_edit_reads_only_its_own_file() {
    if lacks(&["strace"]) {
        return;
    }
    let (ports, a) = ([(); 30].map(|()| Port::reserve()), Backend::named("a"));
    let texts = ports.iter().enumerate().map(|(number, port)| {
        (format!("{number:02}.toml"), route(&format!("r{number}"), &port.local(), &a, ""))
    });
    let texts: Vec<(String, String)> = texts.collect();
    let files: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (&**name, &**text)).collect();
    let mut several = Several::run("", &files);
    let opened = several.place.root().join("opened");
    let mut strace = std::process::Command::new("strace")
        .args(["-f", "-qq", "-y", "-e", "trace=openat", "-o"])
        .arg(&opened)
        .args(["-p", &several.portway.pid().to_string()])
        .spawn()
        .unwrap();
    // What the start has read is read once more, a second later: let that pass.
    pass(Duration::from_secs(5));
    let before = fs::read_to_string(&opened).unwrap().len();
    several.save("07.toml", &(texts[7].1.clone() + "keepalive = \"30s\"\n"));
    assert_eq!(several.reloaded(), "changed r7");
    pass(Duration::from_secs(3));
    rustix::process::kill_process(rustix::process::Pid::from_child(&strace), rustix::process::Signal::INT)
        .unwrap();
    strace.wait().unwrap();
    let log = fs::read_to_string(&opened).unwrap();
    let read: Vec<&str> = log[before..].lines().filter(|line| line.contains(".toml\"")).collect();
    assert!(!read.is_empty() && read.iter().all(|line| line.contains("07.toml\"")), "{read:#?}");
    several.portway.stop();
}

#[test]
fn a_bare_name_of_the_main_file_includes_what_is_beside_it() {
    let (port, app) = (Port::reserve(), Backend::named("app"));
    let place = Place::with(&format!("include = [\"x-*.toml\"]\n{HEAD}"));
    fs::write(place.folder().join("x-app.toml"), route("app", &port.local(), &app, "")).unwrap();
    let name = place.file().file_name().unwrap().to_owned();
    let run = |args: &[&str]| {
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_portway"))
            .current_dir(place.folder())
            .args(args)
            .arg(&name)
            .output()
            .unwrap();
        (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned())
    };
    let (code, said) = run(&["check"]);
    assert!(code == Some(0) && said.contains("1 route"), "{code:?}: {said}");
}
