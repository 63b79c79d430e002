//! What was refused, rolled back or is still on probation is not put into force by an upgrade.

use std::fs;
use std::path::Path;

use crate::admin::asker::{Asker, head, portway as command};
use crate::edits::includes::{INCLUDE, ports};
use crate::harness::instance::{Backend, Place, Port, Portway, reached, route};

/// A proxy whose main file has the first route and includes the second.
struct Scene {
    place: Place,
    portway: Portway,
    asker: Asker,
    ports: [Port; 2],
    backend: Backend,
}

/// By rename, as most tools do.
fn save(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

impl Scene {
    fn new(settings: &str) -> Scene {
        Scene::with(settings, &[])
    }

    /// `files`: beside the main one, with their texts.
    fn with(settings: &str, files: &[(&str, &str)]) -> Scene {
        let (ports, backend, place) = (ports(), Backend::named("app"), Place::with(""));
        files.iter().for_each(|(name, text)| fs::write(place.folder().join(name), text).unwrap());
        fs::create_dir(place.folder().join("routes.d")).unwrap();
        let scene_text = |place: &Place| format!("{INCLUDE}{}{settings}", head(place));
        place.save(&(scene_text(&place) + &route("one", &ports[0].local(), &backend, "")));
        let included = route("two", &ports[1].local(), &backend, "");
        fs::write(place.folder().join("routes.d/two.toml"), included).unwrap();
        let portway = Portway::run(&place.file());
        let asker = Asker::unix(&place);
        Scene { place, portway, asker, ports, backend }
    }

    fn text(&self) -> String {
        fs::read_to_string(self.place.file()).unwrap()
    }

    /// Neither a check nor an upgrade finds that another process could take over. Nothing has changed.
    fn stays(&mut self, words: &[&str]) {
        let pid = self.portway.pid();
        for args in [&["upgrade", "--check"][..], &["upgrade"]] {
            let said = command(&self.place.file(), args);
            assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
            for word in words {
                assert!(said.err.contains(word), "{word}: {}", said.err);
            }
        }
        assert_eq!(self.asker.get("/v1/status")["pid"], pid);
        assert_eq!(self.ports.each_ref().map(|port| reached(port.number)), ["app", "app"]);
    }

    /// The upgrade is carried out.
    fn goes(mut self) {
        super::upgrade(&mut self.portway, &self.asker);
        self.portway.old_ones_have_ended();
        assert_eq!(self.ports.each_ref().map(|port| reached(port.number)), ["app", "app"]);
        self.portway.stop();
    }
}

#[test]
fn an_included_file_that_was_refused_refuses_the_upgrade() {
    let mut scene = Scene::new("");
    let path = scene.place.folder().join("routes.d/two.toml");
    let fine = fs::read_to_string(&path).unwrap();
    save(&path, "garbage [");
    scene.portway.refused();
    scene.stays(&["cannot serve this file", "two.toml"]);
    save(&path, &fine);
    scene.portway.phase("fault healed");
    // A newcomer claims what another has: alone, each of them is fine.
    let newcomer = scene.place.folder().join("routes.d/a.toml");
    save(&newcomer, &route("a", &scene.ports[1].local(), &scene.backend, ""));
    scene.portway.refused();
    scene.stays(&["a.toml"]);
    fs::remove_file(newcomer).unwrap();
    crate::harness::until("nothing is pending", || {
        scene.asker.get("/v1/status")["pending_files"].as_array().unwrap().is_empty()
    });
    scene.goes();
}

#[test]
fn a_file_that_looks_cut_off_refuses_the_upgrade() {
    let mut scene = Scene::new("");
    let text = scene.text() + "max_connections = 100\n";
    scene.place.save(&text);
    scene.portway.phase("reloaded");
    // What is left is a file without a fault: 10 connections.
    let file = fs::File::options().write(true).open(scene.place.file()).unwrap();
    file.set_len(text.len() as u64 - 2).unwrap();
    drop(file);
    let refused = scene.portway.refused();
    assert!(refused.contains("looks cut off"), "{refused}");
    scene.stays(&["a file is not what runs", "looks cut off"]);
    fs::write(scene.place.file(), &text).unwrap();
    scene.portway.phase("fault healed");
    scene.goes();
}

/// Each is without a fault as well: a list of fewer networks, and a shorter token.
#[test]
fn a_list_or_a_token_that_looks_cut_off_refuses_the_upgrade() {
    const LIST: &str = "192.0.2.17\n198.51.100.123\n";
    const TOKEN: &str = "t0ken-0123456789abcdef\n";
    let settings = "token = { file = \"token\" }\n[defaults]\ndeny = { file = \"deny.txt\" }\n";
    let mut scene = Scene::with(settings, &[("deny.txt", LIST), ("token", TOKEN)]);
    let cut = |path: &Path, length: u64| {
        fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
    };
    let files = ["deny.txt", "token"].map(|name| scene.place.folder().join(name));
    cut(&files[0], 23);
    scene.portway.phase("list refused");
    scene.stays(&["a file is not what runs", "looks cut off", "deny.txt"]);
    cut(&files[1], 19);
    scene.portway.phase("token refused");
    scene.stays(&["a file is not what runs", "deny.txt", "/token"]);
    fs::write(&files[0], LIST).unwrap();
    scene.stays(&["a file is not what runs", "looks cut off", "/token"]);
    // It may not have been looked at again.
    fs::write(&files[1], TOKEN).unwrap();
    scene.goes();
}

#[test]
fn an_edit_on_probation_refuses_the_upgrade_until_it_has_passed() {
    let mut scene = Scene::new("[edits]\nprobation = \"10m\"\n");
    let text = scene.text();
    scene.place.save(&(text + "max_connections = 100\n"));
    scene.portway.phase("reloaded");
    scene.stays(&["an edit is on probation", "portway reload --keep"]);
    let kept = command(&scene.place.file(), &["reload", "--keep"]);
    assert_eq!(kept.code, 0, "{kept:?}");
    scene.goes();
}
