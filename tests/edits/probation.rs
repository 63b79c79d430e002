//! `[edits] probation`: an edit that makes things worse is undone, and the file is pending.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::includes::ports;
use crate::admin::asker::{Asker, head, portway as command};
use crate::harness::instance::*;

const ROLLED_BACK: &str = "edit rolled back";

/// A client that asks and wants an answer. Whoever is not served sees that.
pub fn visit(port: u16) -> bool {
    let asked = || -> std::io::Result<usize> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"hello\n")?;
        stream.read(&mut [0; 100])
    };
    asked().is_ok_and(|got| got > 0)
}

/// So many clients, one after the other, each of whom is served.
fn served(port: &Port, clients: usize) {
    for number in 0..clients {
        assert!(visit(port.number), "client {number} was not served");
    }
}

/// A proxy whose edits are on probation.
struct Scene {
    place: Place,
    portway: Portway,
    asker: Asker,
}

impl Scene {
    /// With these routes, and three seconds.
    fn with(routes: &str) -> Scene {
        let place = Place::with("");
        place.save(&text(&place, routes));
        let portway = Portway::run(&place.file());
        let asker = Asker::unix(&place);
        Scene { place, portway, asker }
    }

    fn saves(&self, routes: &str) {
        self.place.save(&text(&self.place, routes));
    }

    /// Clients come until an edit is rolled back for the nth time. Returns the line of the log.
    fn suffers(&mut self, port: &Port, nth: usize) -> Value {
        let port = port.number;
        self.portway.until("the edit is rolled back", |portway| {
            visit(port);
            portway.count(ROLLED_BACK) == nth
        });
        self.portway.seen.iter().rfind(|line| message(line).starts_with(ROLLED_BACK)).unwrap().clone()
    }

    fn status(&self) -> Value {
        self.asker.get("/v1/status")
    }
}

fn text(place: &Place, routes: &str) -> String {
    format!("{}[edits]\nprobation = \"3s\"\n{routes}", head(place))
}

/// A route that nobody serves.
fn dead(name: &str, listen: &Port, gone: &Port) -> String {
    format!(
        "[[route]]\nname = \"{name}\"\nlisten = \"{}\"\nupstream = \"{}\"\n",
        listen.local(),
        gone.local()
    )
}

#[test]
fn an_edit_that_makes_things_worse_is_undone_and_waits_for_a_person() {
    let ([web, other, gone], a) = (ports(), Backend::named("a"));
    let good = route("web", &web.local(), &a, "") + &route("other", &other.local(), &a, "");
    let bad = dead("web", &web, &gone) + &route("other", &other.local(), &a, "");
    let mut scene = Scene::with(&good);
    served(&web, 30);
    let mut flow = Flow::open(web.number);
    scene.saves(&bad);
    scene.portway.phase("reloaded");
    let shown = command(&scene.place.file(), &["status"]);
    assert!(shown.out.contains(" ago, on probation for "), "{shown:?}");
    let left = scene.status()["reload"]["probation"].as_f64();
    assert!(left.is_some_and(|left| left < 3.0), "{left:?}");
    let told = scene.suffers(&web, 1);
    assert_eq!((told["route"].as_str(), told["generation"].as_u64()), (Some("web"), Some(3)), "{told}");
    // One may have been served before the edit was.
    assert!(message(&told).contains("connections of `web` "), "{told}");
    assert!(message(&told).contains(" % failed, 0 % before"), "{told}");
    served(&web, 5);
    flow.ping().unwrap();
    // The file keeps what a person wrote, and is pending.
    assert_eq!(std::fs::read_to_string(scene.place.file()).unwrap(), text(&scene.place, &bad));
    let status = scene.status();
    assert_eq!(status["reload"]["outcome"], "rolled-back", "{status}");
    assert_eq!((&status["reload"]["rolled_back"], &status["reload"]["probation"]), (&json!(1), &json!(null)));
    let headline = status["pending"]["headline"].as_str().unwrap();
    let told = [
        "rolled back at ",
        " UTC: of ",
        " connections of `web` 100 % failed, 0 % before; `portway reload --keep` takes",
    ];
    assert!(told.iter().all(|told| headline.contains(told)), "{headline}");
    let shown = command(&scene.place.file(), &["status"]);
    assert!(shown.out.contains("ROLLED BACK, what ran before runs again"), "{shown:?}");
    assert!(shown.out.contains("`portway reload --keep` takes it as it is"), "{shown:?}");
    let metrics = scene.asker.ask("GET", "/metrics", "").body;
    assert!(metrics.contains("portway_config_reloads_total{outcome=\"rolled-back\"} 1\n"), "{metrics}");
    assert!(!metrics.contains("portway_config_pending_seconds 0\n"), "{metrics}");
    // Others reload as well, for other reasons: that is no consent.
    let again = command(&scene.place.file(), &["reload"]);
    assert_eq!((again.code, again.err.contains("rolled back at")), (2, true), "{again:?}");
    served(&web, 5);
    let kept = command(&scene.place.file(), &["reload", "--keep"]);
    assert_eq!((kept.code, &*kept.out), (0, "reloaded: changed web; generation 4\n"), "{kept:?}");
    let begun = Instant::now();
    scene.portway.until("its probation would be over", |_| {
        assert!(!visit(web.number));
        begun.elapsed() > Duration::from_secs(4)
    });
    assert_eq!(scene.portway.count(ROLLED_BACK), 1);
    assert!(scene.status()["pending"].is_null());
    flow.ping().unwrap();
    drop(flow);
    scene.portway.stop();
}

#[test]
fn another_edit_is_taken_as_usual_and_is_on_probation_too() {
    let ([web, gone, also], a, b) = (ports(), Backend::named("a"), Backend::named("b"));
    let mut scene = Scene::with(&route("web", &web.local(), &a, ""));
    served(&web, 30);
    scene.saves(&dead("web", &web, &gone));
    scene.suffers(&web, 1);
    scene.saves(&dead("web", &web, &also));
    scene.suffers(&web, 2);
    served(&web, 30);
    // A file with faults has its own report.
    scene.saves("[[route]]\nlisten = \"nowhere\"\n");
    scene.portway.phase("edit refused");
    let headline = scene.status()["pending"]["headline"].as_str().unwrap().to_owned();
    assert!(!headline.contains("rolled back"), "{headline}");
    // What was there before heals it.
    scene.saves(&route("web", &web.local(), &a, ""));
    scene.portway.phase("fault healed");
    assert!(scene.status()["pending"].is_null());
    scene.saves(&route("web", &web.local(), &b, ""));
    scene.portway.until("the good edit passes", |portway| {
        assert!(visit(web.number));
        portway.count("probation passed") == 1
    });
    assert_eq!((&*reached(web.number), scene.portway.count(ROLLED_BACK)), ("b", 2));
    scene.portway.stop();
}

#[test]
fn two_edits_in_a_row_are_undone_together() {
    let ([web, other, gone], a, b) = (ports(), Backend::named("a"), Backend::named("b"));
    let good = |to: &Backend| route("other", &other.local(), to, "");
    let mut scene = Scene::with(&(route("web", &web.local(), &a, "") + &good(&a)));
    served(&web, 30);
    scene.saves(&(dead("web", &web, &gone) + &good(&a)));
    scene.portway.phase("reloaded");
    scene.saves(&(dead("web", &web, &gone) + &good(&b)));
    scene.portway.phase("reloaded");
    // A text that cannot run changes nothing of that.
    scene.saves("[[route]]\n");
    scene.portway.phase("edit refused");
    scene.suffers(&web, 1);
    served(&web, 5);
    assert_eq!(reached(other.number), "a");
    let headline = scene.status()["pending"]["headline"].as_str().unwrap().to_owned();
    assert!(!headline.contains("rolled back"), "{headline}");
    scene.portway.stop();
}

impl Scene {
    /// With included files of these names and texts.
    fn including(main: &str, files: &[(&str, &str)]) -> Scene {
        let place = Place::with("");
        place.save(&format!("include = [\"routes.d/*.toml\"]\n{}", text(&place, main)));
        std::fs::create_dir(place.folder().join("routes.d")).unwrap();
        for (name, text) in files {
            std::fs::write(place.folder().join("routes.d").join(name), text).unwrap();
        }
        let portway = Portway::run(&place.file());
        let asker = Asker::unix(&place);
        Scene { place, portway, asker }
    }

    fn saves_included(&self, name: &str, text: &str) {
        let folder = self.place.folder().join("routes.d");
        std::fs::write(folder.join(".new"), text).unwrap();
        std::fs::rename(folder.join(".new"), folder.join(name)).unwrap();
    }
}

/// Its former text runs, of a file that is gone: it is not taken away, nor is the other one taken again.
#[test]
fn a_file_that_gets_another_name_and_is_worse_is_undone_once() {
    let ([web, gone], a) = (ports(), Backend::named("a"));
    let mut scene = Scene::including("", &[("a.toml", &route("web", &web.local(), &a, ""))]);
    served(&web, 30);
    scene.saves_included("web.toml", &dead("web", &web, &gone));
    std::fs::remove_file(scene.place.folder().join("routes.d/a.toml")).unwrap();
    assert_eq!(scene.portway.phase("reloaded")["plan"], "changed web");
    scene.suffers(&web, 1);
    served(&web, 5);
    pass(Duration::from_secs(6));
    served(&web, 5);
    assert_eq!(scene.portway.count(ROLLED_BACK), 1, "{}", scene.portway.log());
    let kept = command(&scene.place.file(), &["reload", "--keep"]);
    assert_eq!((kept.code, kept.out.contains("changed web")), (0, true), "{kept:?}");
    assert!(!visit(web.number));
    scene.portway.stop();
}

#[test]
fn a_file_that_only_gets_another_name_is_none_of_what_is_undone() {
    let ([web, other, gone], a) = (ports(), Backend::named("a"));
    let of = |name: &str, port: &Port| route(name, &port.local(), &a, "on_change = \"cut\"\n");
    let mut scene = Scene::including("", &[("a.toml", &of("web", &web)), ("c.toml", &of("other", &other))]);
    served(&web, 30);
    let mut flow = Flow::open(other.number);
    scene.saves_included("a.toml", &dead("web", &web, &gone));
    scene.portway.phase("reloaded");
    let folder = scene.place.folder().join("routes.d");
    std::fs::rename(folder.join("c.toml"), folder.join("d.toml")).unwrap();
    scene.portway.phase("nothing changed");
    scene.suffers(&web, 1);
    // Once more by its new name.
    scene.portway.phase("nothing changed");
    let asker = Asker::unix(&scene.place);
    let pending = || asker.get("/v1/status")["pending_files"].as_array().unwrap().clone();
    scene.portway.until("what was undone is pending, and nothing else", |_| {
        pending().len() == 1 && pending()[0]["file"].as_str().unwrap().ends_with("/a.toml")
    });
    scene.saves_included("a.toml", &of("web", &web));
    scene.portway.until("nothing is pending", |_| pending().is_empty());
    flow.ping().unwrap();
    drop(flow);
    scene.portway.stop();
}

#[test]
fn an_included_file_is_undone_alone() {
    let ([web, one, two, gone], a, b) = (ports(), Backend::named("a"), Backend::named("b"));
    let of = |name: &str, port: &Port| route(name, &port.local(), &a, "");
    let mut scene =
        Scene::including(&of("web", &web), &[("one.toml", &of("one", &one)), ("two.toml", &of("two", &two))]);
    served(&one, 30);
    scene.saves_included("one.toml", &dead("one", &one, &gone));
    scene.portway.phase("reloaded");
    scene.suffers(&one, 1);
    served(&one, 5);
    let pending = |scene: &Scene| scene.status()["pending_files"].as_array().unwrap().clone();
    scene.portway.phase("edit refused");
    let mut files = Vec::new();
    let asker = Asker::unix(&scene.place);
    scene.portway.until("it is pending", |_| {
        files = asker.get("/v1/status")["pending_files"].as_array().unwrap().clone();
        !files.is_empty()
    });
    assert!(files[0]["file"].as_str().unwrap().ends_with("/one.toml"), "{files:?}");
    assert!(files[0]["pending"]["headline"].as_str().unwrap().contains("rolled back at"), "{files:?}");
    assert!(scene.status()["pending"].is_null());
    // The others go on as ever, and it is not taken with them.
    scene.saves_included("two.toml", &route("two", &two.local(), &b, ""));
    scene.portway.phase("reloaded");
    assert_eq!([&one, &two].map(|port| reached(port.number)), ["a", "b"]);
    let again = command(&scene.place.file(), &["reload"]);
    assert_eq!((again.code, again.err.contains("rolled back at")), (2, true), "{again:?}");
    let kept = command(&scene.place.file(), &["reload", "--keep"]);
    assert_eq!((kept.code, &*kept.out), (0, "reloaded: changed one; generation 5\n"), "{kept:?}");
    assert!(!visit(one.number) && pending(&scene).is_empty());
    scene.portway.stop();
}

#[test]
fn a_list_is_undone_too() {
    let (web, a) = (Port::reserve(), Backend::named("a"));
    let place = Place::with("");
    let list = place.folder().join("office.txt");
    let save = |text: &str| {
        std::fs::write(place.folder().join(".new"), text).unwrap();
        std::fs::rename(place.folder().join(".new"), &list).unwrap();
    };
    save("127.0.0.0/8\n");
    place.save(&text(&place, &route("web", &web.local(), &a, "allow = { file = \"office.txt\" }\n")));
    let mut portway = Portway::run(&place.file());
    let asker = Asker::unix(&place);
    served(&web, 30);
    save("10.0.0.0/8\n");
    portway.phase("list taken over");
    portway.until("the list is rolled back", |portway| {
        visit(web.number);
        portway.count(ROLLED_BACK) == 1
    });
    served(&web, 5);
    let mut files = Vec::new();
    portway.until("it is pending", |_| {
        files = asker.get("/v1/status")["pending_files"].as_array().unwrap().clone();
        !files.is_empty()
    });
    let headline = files[0]["pending"]["headline"].as_str().unwrap();
    // A client that comes as the list is in force and not yet watched counts among those before.
    assert!(headline.contains("clients of `web` 100 % were turned away, "), "{headline}");
    // Others reload as well: that is no consent. A process that takes over would serve it.
    for (args, code) in [(&["reload"][..], 2), (&["upgrade", "--check"], 1)] {
        let said = command(&place.file(), args);
        assert_eq!((said.code, said.err.contains("rolled back at")), (code, true), "{said:?}");
    }
    served(&web, 5);
    let kept = command(&place.file(), &["reload", "--keep"]);
    let said = format!("reloaded: changed {}; generation 1\n", list.display());
    assert_eq!((kept.code, kept.out), (0, said));
    portway.until("it is in force", |_| !visit(web.number));
    save("127.0.0.0/8\n");
    portway.until("it is mended", |_| visit(web.number));
    assert_eq!(portway.count(ROLLED_BACK), 1);
    portway.stop();
}

#[test]
fn without_probation_an_edit_stays() {
    let ([web, gone], a) = (ports(), Backend::named("a"));
    let place = Place::with(&(HEAD.to_owned() + &route("web", &web.local(), &a, "")));
    let mut portway = Portway::run(&place.file());
    served(&web, 30);
    place.save(&(HEAD.to_owned() + &dead("web", &web, &gone)));
    portway.phase("reloaded");
    for _ in 0..60 {
        assert!(!visit(web.number));
    }
    assert_eq!(portway.count(ROLLED_BACK), 0);
    portway.stop();
}
