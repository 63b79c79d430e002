//! Unix sockets with two names: through a link, or through a folder and up again. The first one is not replaced.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::harness::instance::*;

/// A folder, and a link to it.
struct Names {
    place: Place,
    real: PathBuf,
    link: PathBuf,
}

impl Names {
    fn new() -> Names {
        let place = Place::with("");
        let (real, link) = (place.root().join("a-folder"), place.root().join("b-link"));
        std::fs::create_dir(&real).unwrap();
        symlink(&real, &link).unwrap();
        Names { place, real, link }
    }

    /// How the file writes the socket by its real name, and by the link.
    fn listens(&self) -> [String; 2] {
        [&self.real, &self.link].map(|folder| format!("unix:{}/x.sock", folder.display()))
    }
}

/// Who answers at this path.
fn greeting(path: PathBuf) -> String {
    let client = UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut greeting = String::new();
    BufReader::new(client).read_line(&mut greeting).unwrap();
    greeting
}

fn refusal([first, second]: [&str; 2]) -> String {
    format!("cannot listen on {second}: it is the file of {first}, which is listened on already")
}

#[test]
fn two_names_of_one_socket_are_no_start() {
    let (names, a, b) = (Names::new(), Backend::named("a"), Backend::named("b"));
    let [first, second] = names.listens();
    let routes = file(&[("one", first.clone(), &a), ("two", second.clone(), &b)]);
    let admin = file(&[("one", second.clone(), &a)]) + &format!("[admin]\nlisten = \"{first}\"\n");
    for (text, told) in [(routes, [&*first, &second]), (admin, [&*first, &second])] {
        names.place.save(&text);
        let mut child = Command::new(PORTWAY)
            .args(["run", "--config"])
            .arg(names.place.file())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            let line = line.unwrap();
            let runs = line.contains("\"ready\"");
            said.push_str(&line);
            if runs {
                child.kill().unwrap();
                break;
            }
        }
        assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
        assert!(said.contains(&refusal(told)), "{said}");
        assert!(!names.real.join("x.sock").exists(), "a socket was left behind");
    }
}

#[test]
fn an_edit_cannot_give_a_socket_that_is_listened_on_to_another() {
    let (names, a, b) = (Names::new(), Backend::named("a"), Backend::named("b"));
    let [first, second] = names.listens();
    names.place.save(&file(&[("one", first.clone(), &a)]));
    let mut portway = Portway::run(&names.place.file());
    let up = format!("unix:{}/b-link/../a-folder/x.sock", names.place.root().display());
    let one = file(&[("one", first.clone(), &a)]);
    let both = |listen: &str| file(&[("one", first.clone(), &a), ("two", listen.to_owned(), &b)]);
    let admin = |listen: &str| format!("{one}[admin]\nlisten = \"{listen}\"\n");
    let told = refusal([&first, &second]);
    for (text, told) in [
        (both(&second), told.clone()),
        (admin(&second), told),
        (both(&up), format!("`{up}` and `{first}` are one file")),
        (admin(&up), format!("the admin endpoint and a route both listen on {up}")),
    ] {
        names.place.save(&text);
        let said = portway.refused();
        assert!(said.contains(&told), "{said}");
        assert_eq!(greeting(names.real.join("x.sock")), "a\n");
    }
    portway.stop();
}

#[test]
fn an_edit_that_adds_two_names_of_one_socket_adds_none() {
    let (names, port, a, b) = (Names::new(), Port::reserve(), Backend::named("a"), Backend::named("b"));
    let [first, second] = names.listens();
    let told = refusal([&first, &second]);
    let routes = |more: &[(&str, String, &Backend)]| file(&[&[("web", port.local(), &a)], more].concat());
    names
        .place
        .save(&(routes(&[]) + &format!("[admin]\nlisten = \"unix:{}/admin\"\n", names.real.display())));
    let mut portway = Portway::run(&names.place.file());
    let text = routes(&[("one", first, &a), ("two", second, &b)]);
    let text = text + &format!("[admin]\nlisten = \"unix:{}/admin\"\n", names.real.display());
    std::fs::write(names.place.root().join("new.toml"), &text).unwrap();
    let mut plan = Command::new(PORTWAY);
    plan.arg("plan").arg(names.place.root().join("new.toml")).env("PORTWAY_CONFIG", names.place.file());
    let plan = plan.stdin(Stdio::null()).output().unwrap();
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned() + &String::from_utf8_lossy(&plan.stderr);
    assert!(plan.contains(&told), "{plan}");
    names.place.save(&text);
    let said = portway.refused();
    assert!(said.contains(&told), "{said}");
    assert!(!names.real.join("x.sock").exists(), "a socket was left behind");
    portway.stop();
}
