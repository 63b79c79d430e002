//! Tokens that stand in files and in the environment.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use super::asker::{Asker, portway};
use crate::harness::instance::{Backend, HEAD, PORTWAY, Place, Port, Portway, route};

const FIRST: &str = "f1rst-0123456789abcdef";
const SECOND: &str = "s3cond-0123456789abcdef";

/// A file with an endpoint on TCP, whose `[admin]` has these lines too.
struct Scene {
    admin: Port,
    routes: String,
    place: Place,
    _keep: (Port, Backend),
}

impl Scene {
    fn with(lines: &str) -> Scene {
        let (port, backend) = (Port::reserve(), Backend::named("one"));
        let routes = route("web", &port.local(), &backend, "");
        let scene = Scene { admin: Port::reserve(), routes, place: Place::with(""), _keep: (port, backend) };
        scene.save(lines);
        scene
    }

    fn save(&self, lines: &str) {
        let listen = self.admin.local();
        self.place.save(&format!("{HEAD}[admin]\nlisten = \"{listen}\"\n{lines}{}", self.routes));
    }

    /// The file of the token. Saved by rename, as the kubelet and secret agents do.
    fn token(&self) -> PathBuf {
        self.place.folder().join("token")
    }

    fn save_token(&self, text: &[u8]) {
        let new = self.place.folder().join(".token");
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(new, self.token()).unwrap();
    }

    /// The status of a request to change something.
    fn change(&self, token: &str) -> u16 {
        let head = format!("Host: {}\r\nAuthorization: Bearer {token}\r\n", self.admin.local());
        Asker::tcp(self.admin.number).with(&head).ask("POST", "/v1/kill", "{\"ids\":[1]}").status
    }

    /// What the proxy says of itself, in every way.
    fn shown(&self, proxy: &Portway) -> String {
        let mut shown = proxy.log();
        for call in ["/v1/status", "/v1/plan", "/metrics", "/"] {
            shown.push_str(&Asker::tcp(self.admin.number).ask("GET", call, "").body);
        }
        for command in [&["status"][..], &["status", "--json"], &["plan"], &["check"]] {
            let said = portway(&self.place.file(), command);
            shown.extend([said.out, said.err]);
        }
        shown
    }
}

const IN_FILE: &str = "token = { file = \"token\" }\n";

#[test]
fn o4_a_token_in_a_file_is_in_force_as_the_file_has_it() {
    let scene = Scene::with(IN_FILE);
    // As other systems save it: a byte-order mark, and the end of the line.
    scene.save_token(format!("\u{feff}{FIRST}\r\n").as_bytes());
    let mut proxy = Portway::run(&scene.place.file());
    assert_eq!((scene.change(FIRST), scene.change(SECOND)), (200, 401));
    // The commands read it there.
    assert_eq!(portway(&scene.place.file(), &["reload"]).code, 0);
    scene.save_token(SECOND.as_bytes());
    proxy.phase("token taken over");
    assert_eq!((scene.change(FIRST), scene.change(SECOND)), (401, 200));
    let status = || Asker::tcp(scene.admin.number).get("/v1/status");
    let long = format!("{SECOND}\n");
    // Each after the same good one: what does not fit stays pending, and the token before it in force.
    for (bad, why) in [
        (String::new(), "the file is empty"),
        ("\n \n".into(), "the file is empty"),
        ("s3cond-short".into(), "shorter than 16"),
        (format!("{SECOND}\n{FIRST}\n"), "has 2 lines"),
        (format!("{SECOND} x"), "HTTP header cannot carry"),
        // Of the line that is in force, without its end.
        (SECOND[..18].into(), "looks cut off"),
    ] {
        scene.save_token(long.as_bytes());
        proxy.phase_of(&["token taken over", "token healed"]);
        scene.save_token(bad.as_bytes());
        let told = proxy.phase("token refused");
        assert!(told["headline"].as_str().unwrap().contains(why), "{bad:?}: {told}");
        assert_eq!((scene.change(FIRST), scene.change(SECOND)), (401, 200), "{bad:?}");
        let said = status().to_string();
        assert!(said.contains("etc/token: ") && said.contains(why), "{bad:?}: {said}");
        let shown = scene.shown(&proxy);
        assert!(!shown.contains("f1rst") && !shown.contains("s3cond"), "{bad:?}: {shown}");
    }
    scene.save_token(FIRST.as_bytes());
    proxy.phase("token taken over");
    assert_eq!((scene.change(FIRST), scene.change(SECOND)), (200, 401));
    // An edit that names it no more forgets it.
    scene.save(&format!("token = \"{SECOND}\"\n"));
    proxy.phase("reloaded");
    assert_eq!((scene.change(FIRST), scene.change(SECOND)), (401, 200));
    proxy.stop();
}

#[test]
fn o4_a_token_that_cannot_be_read_is_a_fault_where_it_is_named() {
    let scene = Scene::with(IN_FILE);
    let check = portway(&scene.place.file(), &["check"]);
    assert_eq!(check.code, 2, "{check:?}");
    assert!(check.err.contains("etc/token: there is no such file"), "{}", check.err);
    assert!(check.err.contains("token = { file = \"token\" }"), "the picture shows where: {}", check.err);
    scene.save_token(b"f1rst-short\n");
    let check = portway(&scene.place.file(), &["check"]);
    assert!(check.err.contains("shorter than 16") && !check.err.contains("f1rst"), "{}", check.err);
    // Whoever else may read it is told of; the routes run.
    scene.save_token(FIRST.as_bytes());
    std::fs::set_permissions(scene.token(), std::fs::Permissions::from_mode(0o640)).unwrap();
    let check = portway(&scene.place.file(), &["check"]);
    assert!(check.err.contains("others than Portway can read the token") && check.code == 0, "{check:?}");
    let mut proxy = Portway::run(&scene.place.file());
    assert_eq!(proxy.count("others than Portway can read the token"), 1);
    let status = || Asker::tcp(scene.admin.number).get("/v1/status").to_string();
    proxy.until("the status has it", |_| status().contains("others than Portway"));
    std::fs::set_permissions(scene.token(), std::fs::Permissions::from_mode(0o600)).unwrap();
    proxy.until("it is healed", |_| !status().contains("others than Portway"));
    assert_eq!(scene.change(FIRST), 200);
    proxy.stop();
}

#[test]
fn o4_a_token_in_the_environment_is_read_at_each_edit_that_names_it() {
    let scene = Scene::with("token = { env = \"TOKEN_OF_TEST\" }\n");
    let run = |value: Option<&str>| {
        let mut command = Command::new(PORTWAY);
        command.arg("run").arg("--config").arg(scene.place.file());
        value.map(|value| command.env("TOKEN_OF_TEST", value));
        command
    };
    for (value, why) in [(None, "has no variable `TOKEN_OF_TEST`"), (Some("f1rst"), "shorter than 16")] {
        let output = run(value).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(why) && said.contains("env = \"TOKEN_OF_TEST\""), "{said}");
        assert!(output.status.code() == Some(1) && !said.contains("f1rst"), "{said}");
    }
    // The environment of a check is another one.
    assert_eq!(portway(&scene.place.file(), &["check"]).code, 0);
    let mut proxy = Portway::start(&mut run(Some(FIRST)));
    assert_eq!((scene.change(FIRST), scene.change(SECOND)), (200, 401));
    scene.save(&format!("token = \"{SECOND}\"\nread_token = {{ env = \"TOKEN_OF_TEST\" }}\n"));
    proxy.phase("reloaded");
    assert_eq!((scene.change(FIRST), scene.change(SECOND)), (401, 200));
    scene.save("token = { env = \"NOT_SET_IN_TEST\" }\n");
    assert!(proxy.refused().contains("NOT_SET_IN_TEST"));
    assert_eq!(scene.change(SECOND), 200);
    proxy.stop();
}

#[test]
fn o4_a_placeholder_is_no_token() {
    for (written, cure) in [
        ("\"${PORTWAY_TOKEN}\"", "token = { env = \"PORTWAY_TOKEN\" }"),
        ("\"$PORTWAY_TOKEN\"", "token = { env = \"PORTWAY_TOKEN\" }"),
        ("\"${portway_admin_token}\"", "token = { env = \"portway_admin_token\" }"),
        ("\"${PORTWAY_TOKEN:-abcdefgh}\"", "token = { file = "),
        ("\"$(cat /run/secrets/portway)\"", "token = { file = "),
        ("\"{{.Values.admin.token}}\"", "token = { file = "),
        ("{ env = \"${PORTWAY_TOKEN}\" }", "write env = \"PORTWAY_TOKEN\""),
        ("{ env = \"$PORTWAY_TOKEN\" }", "write env = \"PORTWAY_TOKEN\""),
        ("{ env = \"PORTWAY-TOKEN\" }", "letters, digits and _"),
        ("{ fil = \"/run/x\" }", "did you mean `file`"),
        ("{ file = \"/run/x\", env = \"X\" }", "in one place, not in two"),
        ("{}", "says nothing of the token"),
        ("{ file = \"\" }", "the path is empty"),
    ] {
        let scene = Scene::with(&format!("token = {written}\n"));
        let check = portway(&scene.place.file(), &["check"]);
        assert!(check.err.contains(cure) && check.code == 2, "{written}\n{}", check.err);
        assert!(check.err.contains(": 1 fault"), "{written}\n{}", check.err);
    }
    // A `$` may be part of a token.
    for fine in ["$kX3vW9qLr2TzP7sN", "kX3vW9q$Lr2TzP7sN", "$6$rounds$0123456789"] {
        let scene = Scene::with(&format!("token = \"{fine}\"\n"));
        assert_eq!(portway(&scene.place.file(), &["check"]).code, 0, "{fine}");
    }
}
