//! Included files however they are saved, removed and brought back.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use super::includes::{INCLUDE, Several, ports};
use crate::harness::instance::*;

#[test]
fn files_come_and_go() {
    let ([one, two], a) = (ports(), Backend::named("a"));
    let text = |name: &str, port: &Port| route(name, &port.local(), &a, "");
    let mut several = Several::run("", &[("one.toml", &text("one", &one))]);
    let mut flow = Flow::open(one.number);
    several.save("two.toml", &text("two", &two));
    assert_eq!(several.reloaded(), "added two");
    assert_eq!(reached(two.number), "a");
    // Hidden files and others are none of them.
    fs::write(several.path(".hidden.toml"), "nonsense").unwrap();
    fs::write(several.path("two.toml~"), "nonsense").unwrap();
    let removed = Instant::now();
    fs::remove_file(several.path("two.toml")).unwrap();
    assert_eq!(several.reloaded(), "removed two");
    assert!(removed.elapsed() >= Duration::from_secs(2), "after {:?}", removed.elapsed());
    several.portway.until("it is closed", |_| is_refused(two.number));
    flow.ping().unwrap();
    drop(flow);
    assert_eq!(several.portway.count("edit refused"), 0, "{}", several.portway.log());
    several.portway.stop();
}

/// As some programs save: the file is removed, and written anew.
#[test]
fn a_file_that_is_gone_for_a_moment_keeps_its_routes() {
    let ([one], a, b) = (ports(), Backend::named("a"), Backend::named("b"));
    let text = |to: &Backend| route("one", &one.local(), to, "");
    let mut several = Several::run("", &[("one.toml", &text(&a))]);
    let mut flow = Flow::open(one.number);
    for to in [&b, &a] {
        fs::remove_file(several.path("one.toml")).unwrap();
        pass(Duration::from_millis(700));
        assert!(!is_refused(one.number));
        several.save("one.toml", &text(to));
        assert_eq!(several.reloaded(), "changed one");
    }
    flow.ping().unwrap();
    drop(flow);
    assert_eq!(several.portway.count("edit refused"), 0, "{}", several.portway.log());
    several.portway.stop();
}

#[test]
fn a_folder_that_is_removed_and_made_anew_is_followed() {
    let ([one, two], a) = (ports(), Backend::named("a"));
    let text = |name: &str, port: &Port| route(name, &port.local(), &a, "");
    let mut several = Several::run("", &[("one.toml", &text("one", &one)), ("two.toml", &text("two", &two))]);
    let folder = several.place.folder().join("routes.d");
    fs::remove_dir_all(&folder).unwrap();
    // More than its files is gone: whoever means that says so.
    several.portway.refused();
    several.portway.refused();
    assert_eq!([&one, &two].map(|port| reached(port.number)), ["a", "a"]);
    several.portway.hang_up();
    several.portway.until("both are gone", |_| is_refused(one.number) && is_refused(two.number));
    fs::create_dir(&folder).unwrap();
    several.save("one.toml", &text("one", &one));
    // It serves a moment before its line comes.
    several
        .portway
        .until("it is back", |portway| portway.seen.iter().any(|line| line["plan"] == "added one"));
    assert_eq!(reached(one.number), "a");
    // Under another name for a moment: nothing changes.
    let (reloads, aside) = (several.portway.count("reloaded"), several.place.folder().join("aside"));
    fs::rename(&folder, &aside).unwrap();
    pass(Duration::from_millis(300));
    fs::rename(&aside, &folder).unwrap();
    several.save("two.toml", &text("two", &two));
    assert_eq!(several.reloaded(), "added two");
    assert_eq!(several.portway.count("reloaded"), reloads + 1);
    several.portway.stop();
}

#[test]
fn links_to_files_and_to_folders_are_followed() {
    let ([one, two], a, b) = (ports(), Backend::named("a"), Backend::named("b"));
    let text = |name: &str, port: &Port, to: &Backend| route(name, &port.local(), to, "");
    let place = Place::with(&format!("{INCLUDE}{HEAD}"));
    let sites = place.root().join("sites");
    for (release, to) in [("r1", &a), ("r2", &b)] {
        fs::create_dir_all(sites.join(release)).unwrap();
        fs::write(sites.join(release).join("one.toml"), text("one", &one, to)).unwrap();
    }
    fs::write(sites.join("two"), text("two", &two, &a)).unwrap();
    symlink(sites.join("two"), sites.join("r1/two.toml")).unwrap();
    symlink(sites.join("two"), sites.join("r2/two.toml")).unwrap();
    symlink(sites.join("r1"), place.folder().join("routes.d")).unwrap();
    let mut several = Several { portway: Portway::run(&place.file()), place };
    assert_eq!([&one, &two].map(|port| reached(port.number)), ["a", "a"]);
    let mut flow = Flow::open(two.number);
    exchange(&sites.join("r2"), &several.place.folder().join("routes.d"));
    assert_eq!(several.reloaded(), "changed one");
    assert_eq!(reached(one.number), "b");
    fs::write(sites.join("two"), text("two", &two, &b)).unwrap();
    assert_eq!(several.reloaded(), "changed two");
    flow.ping().unwrap();
    drop(flow);
    several.portway.stop();
}

/// A ConfigMap: the names are links into `..data`, which is a link that is swapped.
#[test]
fn a_config_map_of_files_is_followed() {
    let ([one, two, three], a, b) = (ports(), Backend::named("a"), Backend::named("b"));
    let text = |name: &str, port: &Port, to: &Backend| route(name, &port.local(), to, "");
    let place = Place::with(&format!("{INCLUDE}{HEAD}"));
    let folder = place.folder().join("routes.d");
    let release = |name: &str, files: &[(&str, String)]| {
        fs::create_dir_all(folder.join(name)).unwrap();
        files.iter().for_each(|(file, text)| fs::write(folder.join(name).join(file), text).unwrap());
    };
    release("..1", &[("one.toml", text("one", &one, &a)), ("two.toml", text("two", &two, &a))]);
    symlink("..1", folder.join("..data")).unwrap();
    for file in ["one.toml", "two.toml"] {
        symlink(Path::new("..data").join(file), folder.join(file)).unwrap();
    }
    let mut several = Several { portway: Portway::run(&place.file()), place };
    let mut flow = Flow::open(one.number);
    release("..2", &[("one.toml", text("one", &one, &a)), ("two.toml", text("two", &two, &b))]);
    exchange(Path::new("..2"), &folder.join("..data"));
    fs::remove_dir_all(folder.join("..1")).unwrap();
    assert_eq!(several.reloaded(), "changed two");
    assert_eq!(reached(two.number), "b");
    // One goes, and one comes.
    release("..3", &[("one.toml", text("one", &one, &a)), ("three.toml", text("three", &three, &b))]);
    exchange(Path::new("..3"), &folder.join("..data"));
    symlink("..data/three.toml", folder.join("three.toml")).unwrap();
    fs::remove_file(folder.join("two.toml")).unwrap();
    several.portway.until("one has gone and one has come", |_| {
        is_refused(two.number) && Flow::try_open(three.number).is_ok_and(|flow| flow.reached == "b")
    });
    flow.ping().unwrap();
    drop(flow);
    several.portway.stop();
}

/// Puts a link to this target in the place of another, at once.
fn exchange(target: &Path, link: &Path) {
    let new = link.with_file_name("..new");
    symlink(target, &new).unwrap();
    fs::rename(new, link).unwrap();
}

#[test]
fn a_file_that_is_cut_in_half_changes_nothing() {
    let ([one, two], a) = (ports(), Backend::named("a"));
    let text = route("one", &one.local(), &a, "") + &route("two", &two.local(), &a, "");
    let mut several = Several::run("", &[("both.toml", &text)]);
    let mut flow = Flow::open(two.number);
    let second = text.rfind("[[route]]").unwrap();
    for length in [1, second / 2, second - 3, second + 5, text.len() - 9] {
        fs::write(several.path("both.toml"), &text[..length]).unwrap();
        let headline = several.portway.refused();
        assert!(headline.starts_with(&format!("{}:", several.path("both.toml").display())), "{headline}");
        assert_eq!([&one, &two].map(|port| reached(port.number)), ["a", "a"], "{length}");
    }
    fs::write(several.path("both.toml"), "").unwrap();
    let headline = several.portway.refused();
    assert!(headline.contains("is empty") && headline.contains("or remove the file"), "{headline}");
    flow.ping().unwrap();
    fs::write(several.path("both.toml"), &text).unwrap();
    several.portway.phase("fault healed");
    assert_eq!(several.portway.count("reloaded"), 0);
    flow.ping().unwrap();
    drop(flow);
    several.portway.stop();
}

#[test]
fn sighup_reads_all_files_at_once() {
    let ([one, two], a, b) = (ports(), Backend::named("a"), Backend::named("b"));
    let text = |name: &str, port: &Port, to: &Backend| route(name, &port.local(), to, "");
    let mut several = Several::run("", &[("one.toml", &text("one", &one, &a))]);
    // Cut off, as long as nobody says that it is meant.
    let cut = text("one", &one, &b);
    fs::write(several.path("one.toml"), cut.trim_end()).unwrap();
    fs::write(several.path("two.toml"), text("two", &two, &b)).unwrap();
    several.portway.hang_up();
    several.portway.until("both run", |_| {
        [&one, &two].iter().all(|port| Flow::try_open(port.number).is_ok_and(|flow| flow.reached == "b"))
    });
    several.portway.stop();
}

/// 4,096 files at most.
#[test]
fn more_files_than_the_most_are_told_of_with_their_number() {
    let ([web], a) = (ports(), Backend::named("a"));
    let place = Place::with(&format!("{INCLUDE}{HEAD}{}", route("web", &web.local(), &a, "")));
    fs::create_dir(place.folder().join("routes.d")).unwrap();
    let mut several = Several { portway: Portway::run(&place.file()), place };
    for number in 0..4098 {
        let text =
            format!("[[route]]\nenabled = false\nlisten = \"{}\"\nupstream = \"a:1\"\n", 1000 + number);
        several.save(&format!("{number:04}.toml"), &text);
    }
    let told = several.portway.phase("not every file of `include` is followed");
    let headline = told["headline"].as_str().unwrap();
    assert!(
        headline.starts_with(&format!("{}:1:11: `include` finds 409", several.place.file().display())),
        "{headline}"
    );
    assert!(headline.contains("files, and 4096 are included at most"), "{headline}");
    assert_eq!(reached(web.number), "a");
    several.portway.stop();
}

/// 64 MiB in all at most.
#[test]
fn files_that_are_too_large_together_are_refused() {
    let ([web], a) = (ports(), Backend::named("a"));
    let text = |number: usize| {
        let comment = "x".repeat(15 << 20);
        format!("# {comment}\n[[route]]\nenabled = false\nlisten = \"{number}\"\nupstream = \"a:1\"\n")
    };
    let mut several = Several::run(&route("web", &web.local(), &a, ""), &[]);
    (1..=5).for_each(|number| several.save(&format!("{number}.toml"), &text(number)));
    let headline = several.portway.refused();
    assert!(headline.contains("with this file the included ones have 76 MiB, and 64 MiB"), "{headline}");
    assert_eq!(reached(web.number), "a");
    several.portway.stop();
}

#[test]
fn routes_go_on_while_their_folder_is_away_or_a_link_leads_nowhere() {
    let ([one, two], app) = (ports(), Backend::named("app"));
    let mut several = Several::run(
        "",
        &[
            ("one.toml", &route("one", &one.local(), &app, "")),
            ("two.toml", &route("two", &two.local(), &app, "")),
        ],
    );
    let (folder, away) = (several.place.folder().join("routes.d"), several.place.folder().join("away"));
    fs::rename(&folder, &away).unwrap();
    let report = several.portway.phase("edit refused")["report"].as_str().unwrap().to_owned();
    assert!(report.contains("or take it as it is, without its routes: `portway reload`"), "{report}");
    several.portway.refused();
    assert_eq!([&one, &two].map(|port| reached(port.number)), ["app", "app"]);
    fs::rename(&away, &folder).unwrap();
    several.portway.phase("fault healed");
    several.portway.phase("fault healed");
    // A link whose target is gone.
    fs::rename(folder.join("two.toml"), several.place.folder().join("target")).unwrap();
    std::os::unix::fs::symlink("../nowhere", several.path("two.toml")).unwrap();
    several.portway.refused();
    assert_eq!([&one, &two].map(|port| reached(port.number)), ["app", "app"]);
    // Whoever says so takes it as it is.
    several.portway.hang_up();
    assert_eq!(several.reloaded(), "removed two");
    assert_eq!(reached(one.number), "app");
    several.portway.stop();
}
