//! Included files, as the commands and the endpoint show them.

use std::fs;

use serde_json::json;

use super::asker::{Asker, head, portway};
use crate::harness::instance::*;
use crate::harness::until;

/// A proxy with an endpoint and a folder of files.
fn start(main: &str, files: &[(&str, &str)]) -> (Place, Portway, Asker) {
    let place = Place::with("");
    place.save(&format!("include = \"routes.d/*.toml\"\n{}{main}", head(&place)));
    fs::create_dir(place.folder().join("routes.d")).unwrap();
    for (name, text) in files {
        fs::write(place.folder().join("routes.d").join(name), text).unwrap();
    }
    let proxy = Portway::run(&place.file());
    let asker = Asker::unix(&place);
    (place, proxy, asker)
}

#[test]
fn every_view_names_the_file_of_a_route_and_of_a_fault() {
    let [web, one, two] = [(); 3].map(|()| Port::reserve());
    let a = Backend::named("a");
    let text = |name: &str, port: &Port| route(name, &port.local(), &a, "");
    let (place, mut proxy, asker) =
        start(&text("web", &web), &[("one.toml", &text("one", &one)), ("two.toml", &text("two", &two))]);
    let path = |name: &str| place.folder().join("routes.d").join(name).display().to_string();
    assert_eq!(asker.route("web")["file"], json!(null));
    assert_eq!(asker.route("one")["file"], path("one.toml"));
    assert_eq!(asker.get("/v1/status")["pending_files"], json!([]));
    let shown = portway(&place.file(), &["routes"]).out;
    assert!(shown.lines().next().unwrap().ends_with("FILE"), "{shown}");
    assert!(shown.contains(&path("two.toml")), "{shown}");

    let bad = text("one", &two);
    fs::write(path("one.toml"), &bad).unwrap();
    proxy.refused();
    until("it is pending", || asker.get("/v1/status")["pending_files"][0]["file"] == path("one.toml"));
    let status = asker.get("/v1/status");
    let report = status["pending_files"][0]["pending"]["report"].as_str().unwrap();
    assert!(report.contains(&path("one.toml")) && report.contains(&path("two.toml")), "{report}");
    assert_eq!((&status["pending"], &status["reload"]["refused"]), (&json!(null), &json!(1)));
    let printed = portway(&place.file(), &["status"]);
    assert!(printed.out.contains(&format!("{} is not in force since", path("one.toml"))), "{printed:?}");
    // Who looks at the line of the file alone learns of it too.
    let line = printed.out.lines().find(|line| line.starts_with("file ")).unwrap();
    assert!(line.ends_with("; but 1 file that it names is not in force, see below"), "{line}");
    // A reload waits for all of them, and says it too; so does the plan of the files as they are.
    for command in [&["reload"][..], &["plan"], &["check", place.file().to_str().unwrap()]] {
        let printed = portway(&place.file(), command);
        assert_eq!(printed.code, 2, "{command:?}: {printed:?}");
        assert!(printed.err.contains(&format!("{}:3:10", path("one.toml"))), "{command:?}: {printed:?}");
        assert!(printed.err.contains(&path("two.toml")), "{command:?}: {printed:?}");
    }
    // What the other files say is taken nevertheless, and it does not say that nothing is.
    let mut turn = 0;
    until("a reload takes the other files, and says so", || {
        // One that comes late finds that they run already.
        turn += 1;
        let name = format!("two-{turn}");
        fs::write(path("two.toml"), text(&name, &two)).unwrap();
        let printed = portway(&place.file(), &["reload"]);
        assert_eq!(printed.code, 2, "{printed:?}");
        printed.err.contains(&format!("\nrefused, but for other files: added {name}; removed two"))
    });
    fs::write(path("two.toml"), text("two", &two)).unwrap();
    assert_eq!(portway(&place.file(), &["reload"]).code, 2);
    fs::write(path("one.toml"), text("one", &one)).unwrap();
    let printed = portway(&place.file(), &["reload"]);
    assert_eq!(printed.code, 0, "{printed:?}");
    // Of two that come at once, and of which one is in the way of the other, both may have waited.
    let taken = ["nothing changed: the file is what runs; ", "reloaded: added two; removed two-"];
    assert!(taken.iter().any(|taken| printed.out.starts_with(taken)), "{printed:?}");
    assert_eq!(asker.get("/v1/status")["pending_files"], json!([]));
    let printed = portway(&place.file(), &["check", place.file().to_str().unwrap()]);
    let (main, one, two) = (place.file().display().to_string(), path("one.toml"), path("two.toml"));
    assert_eq!(
        printed.out,
        format!("{main}: fine, 3 routes, 3 listeners\n  {one}: 1 route\n  {two}: 1 route\n")
    );
    proxy.stop();
}

#[test]
fn a_reload_waits_for_every_file() {
    let [one, two] = [(); 2].map(|()| Port::reserve());
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let (place, proxy, _) = start("", &[("one.toml", &route("one", &one.local(), &a, ""))]);
    for turn in 0..10 {
        let to = if turn % 2 == 0 { &b } else { &a };
        let name = |name: &str| place.folder().join("routes.d").join(name);
        fs::write(name("one.toml"), route("one", &one.local(), to, "")).unwrap();
        // A new one, and one that is gone.
        match turn % 2 {
            0 => fs::write(name("two.toml"), route("two", &two.local(), to, "")).unwrap(),
            _ => fs::remove_file(name("two.toml")).unwrap(),
        }
        let printed = portway(&place.file(), &["reload"]);
        assert_eq!(printed.code, 0, "{printed:?}");
        assert_eq!(reached(one.number), if turn % 2 == 0 { "b" } else { "a" });
        assert_eq!(is_refused(two.number), turn % 2 == 1, "{printed:?}");
    }
    proxy.stop();
}

#[test]
fn the_plan_of_an_included_file_is_that_of_this_file_alone() {
    let [web, one, two] = [(); 3].map(|()| Port::reserve());
    let a = Backend::named("a");
    let text = |name: &str, port: &Port| route(name, &port.local(), &a, "");
    let (place, proxy, asker) = start(&text("web", &web), &[("one.toml", &text("one", &one))]);
    let path = |name: &str| place.folder().join("routes.d").join(name).display().to_string();
    let plan = |name: &str, text: &str| {
        let answer = asker.ask("POST", &format!("/v1/plan?file={}", path(name)), text);
        (answer.status, answer.json())
    };
    // One that does not run yet.
    let (status, planned) = plan("two.toml", &text("two", &two));
    let added = &planned["added"][0];
    assert_eq!((status, &added["name"], &added["file"]), (200, &json!("two"), &json!(path("two.toml"))));
    assert_eq!((&planned["removed"], &planned["changed"]), (&json!([]), &json!([])));
    // One that does, with another text.
    let (_, planned) = plan("one.toml", &text("one", &two));
    assert_eq!((&planned["changed"][0]["name"], &planned["added"]), (&json!("one"), &json!([])));
    assert_eq!(planned["changed"][0]["file"], json!(path("one.toml")));
    // And one that claims what another has.
    let (status, refused) = plan("two.toml", &text("two", &one));
    let report = refused["report"].as_str().unwrap();
    assert!(
        status == 422 && report.contains(&path("two.toml")) && report.contains(&path("one.toml")),
        "{report}"
    );
    let printed = portway(&place.file(), &["plan", &path("one.toml")]);
    assert_eq!((printed.code, &*printed.out), (0, "nothing to do: the file is what runs (generation 1)\n"));
    // A text for the main file is planned with all that it includes.
    let main = fs::read_to_string(place.file()).unwrap();
    let new = place.root().join("new.toml");
    fs::write(&new, main.replace("\"web\"", "\"site\"")).unwrap();
    let printed = portway(&place.file(), &["plan", new.to_str().unwrap()]);
    assert!(printed.out.contains("+ site: ") && !printed.out.contains("routes.d"), "{printed:?}");
    // Without a file it is what stands there now.
    fs::write(&new, main.replacen("include", "# include", 1)).unwrap();
    let printed = portway(&place.file(), &["plan", new.to_str().unwrap()]);
    assert!(printed.out.contains(&format!("- one ({}): ", path("one.toml"))), "{printed:?}");
    proxy.stop();
}

#[test]
fn a_route_of_an_included_file_is_steered_by_hand() {
    let [one, two] = [(); 2].map(|()| Port::reserve());
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let text = |name: &str, port: &Port, to: &Backend| route(name, &port.local(), to, "");
    let (place, mut proxy, asker) =
        start("", &[("one.toml", &text("one", &one, &a)), ("two.toml", &text("two", &two, &a))]);
    let printed = portway(&place.file(), &["disable", "one"]);
    assert_eq!(printed.code, 0, "{printed:?}");
    assert!(is_refused(one.number));
    // It stays over edits of its own file and of others.
    for (name, port) in [("two", &two), ("one", &one)] {
        fs::write(place.folder().join(format!("routes.d/{name}.toml")), text(name, port, &b)).unwrap();
        proxy.phase("reloaded");
        assert!(is_refused(one.number));
    }
    assert_eq!(asker.route("one")["state"], "disabled");
    assert_eq!(portway(&place.file(), &["enable", "one"]).code, 0);
    assert_eq!(reached(one.number), "b");
    assert_eq!(portway(&place.file(), &["drain", "two"]).code, 0);
    until("it is closed", || is_refused(two.number));
    assert_eq!(portway(&place.file(), &["enable", "two"]).code, 0);
    assert_eq!(reached(two.number), "b");
    proxy.until("the log tells of both", |proxy| proxy.count("undone by hand") == 2);
    proxy.stop();
}
