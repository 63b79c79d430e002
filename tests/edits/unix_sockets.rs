//! R8: who may connect to Unix sockets, by the mode and the group of their files.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Gid, Uid};

use crate::harness::instance::*;
use crate::harness::launch::{Launch, echo};
use crate::harness::until;

/// The mode and the group of a file.
fn access(path: &Path) -> (String, u32) {
    let meta = std::fs::symlink_metadata(path).unwrap();
    (format!("{:04o}", meta.permissions().mode() & 0o7777), meta.gid())
}

/// A group of this system that is not ours.
fn a_group() -> (String, u32) {
    let groups = std::fs::read_to_string("/etc/group").unwrap();
    let all = groups.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        Some((fields.first()?.to_string(), fields.get(2)?.parse::<u32>().ok()?))
    });
    let own = rustix::process::getegid().as_raw();
    let mut others = all.filter(|(_, number)| *number != own);
    others.next().expect("a second group in /etc/group")
}

/// A folder that everybody can enter, with a file in it.
fn open_place(text: impl FnOnce(&Path) -> String) -> Place {
    let place = Place::with("");
    std::fs::set_permissions(place.root(), std::fs::Permissions::from_mode(0o755)).unwrap();
    place.save(&text(place.root()));
    place
}

/// A route at a path of this folder; `listen` with `PATH` in it.
fn at(folder: &Path, listen: &str, backend: &Backend, more: &str) -> (PathBuf, String) {
    let path = folder.join("app.sock");
    let listen = listen.replace("PATH", &format!("unix:{}", path.display()));
    let upstream = backend.addr;
    let text =
        format!("{HEAD}[[route]]\nname = \"app\"\nlisten = {listen}\nupstream = \"{upstream}\"\n{more}");
    (path, text)
}

/// Starts it as a shell with this umask does.
fn with_umask(umask: &str, place: &Place) -> Portway {
    let script = format!("umask {umask}; exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-ec", &script, "sh", PORTWAY, "run", "--config"]).arg(place.file());
    Portway::start(&mut command)
}

/// Whether a user with only this group can connect.
fn lets_in(path: &Path, group: u32) -> bool {
    let output = Command::new("setpriv")
        .args(["--reuid=65533", &format!("--regid={group}"), "--clear-groups", PORTWAY, "probe"])
        .arg(format!("unix:{}", path.display()))
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    output.status.success()
}

#[test]
fn r8_everybody_who_reaches_the_folder_may_connect_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let backend = Backend::named("one");
        let place = open_place(|folder| at(folder, "\"PATH\"", &backend, "").1);
        let (path, _) = at(place.root(), "\"PATH\"", &backend, "");
        let portway = with_umask(umask, &place);
        assert_eq!(access(&path).0, "0666", "umask {umask}");
        if crate::harness::is_root() && has("setpriv") {
            assert!(lets_in(&path, 65533));
        }
        portway.stop();
        assert!(!path.exists());
    }
}

#[test]
fn r8_mode_and_group_are_as_the_file_has_them() {
    if lacks_root() || lacks(&["setpriv"]) {
        return;
    }
    let (name, number) = a_group();
    for (listen, expected) in [
        (format!("{{ address = \"PATH\", mode = \"0660\", group = \"{name}\" }}"), ("0660", number)),
        (format!("[\"127.0.0.1:PORT\", {{ address = \"PATH\", group = {number} }}]"), ("0660", number)),
        (format!("{{ address = \"PATH\", mode = \"666\", group = \"{number}\" }}"), ("0666", number)),
        ("{ address = \"PATH\", mode = \"0600\" }".to_owned(), ("0600", rustix::process::getegid().as_raw())),
    ] {
        let (backend, port) = (Backend::named("one"), Port::reserve());
        let listen = listen.replace("PORT", &port.number.to_string());
        let place = open_place(|folder| at(folder, &listen, &backend, "").1);
        let (path, _) = at(place.root(), &listen, &backend, "");
        let portway = with_umask("022", &place);
        assert_eq!(access(&path), (expected.0.to_owned(), expected.1), "{listen}");
        assert_eq!(lets_in(&path, number), expected.0 != "0600", "{listen}");
        assert_eq!(lets_in(&path, 65533), expected.0 == "0666", "{listen}");
        portway.stop();
    }
}

#[test]
fn r8_an_edit_of_the_mode_or_the_group_touches_no_connection() {
    if lacks_root() {
        return;
    }
    let (name, number) = a_group();
    let backend = Backend::named("one");
    let more = "on_change = \"cut\"\n";
    let place = open_place(|folder| at(folder, "\"PATH\"", &backend, more).1);
    let path = at(place.root(), "\"PATH\"", &backend, more).0;
    let mut portway = Portway::run(&place.file());
    let own = access(&path).1;
    let inode = std::fs::metadata(&path).unwrap().ino();
    let mut client = BufReader::new(UnixStream::connect(&path).unwrap());
    client.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    let mut greeting = String::new();
    client.read_line(&mut greeting).unwrap();
    let steps = [
        (format!("{{ address = \"PATH\", mode = \"0660\", group = \"{name}\" }}"), ("0660", number)),
        (format!("{{ address = \"PATH\", mode = \"0620\", group = \"{name}\" }}"), ("0620", number)),
        ("{ address = \"PATH\", mode = \"0600\" }".to_owned(), ("0600", number)),
        ("\"PATH\"".to_owned(), ("0666", number)),
    ];
    for (listen, expected) in steps {
        place.save(&at(place.root(), &listen, &backend, more).1);
        let told = portway.phase("reloaded");
        assert!(told["plan"].as_str().unwrap().contains("app.sock"), "{told}");
        assert_eq!(access(&path), (expected.0.to_owned(), expected.1), "{listen}");
        client.get_mut().write_all(b"ping\n").unwrap();
        let mut answer = [0; 5];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"ping\n");
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), inode, "another socket");
    }
    // A group that does not exist holds the whole edit back.
    let before = access(&path);
    let unknown = "{ address = \"PATH\", mode = \"0600\", group = \"no-such-group\" }";
    place.save(&at(place.root(), unknown, &backend, more).1);
    let headline = portway.refused();
    assert!(headline.contains("no group `no-such-group`") && headline.contains(":6:"), "{headline}");
    assert_eq!(access(&path), before);
    assert_ne!(own, number);
    drop(client);
    portway.stop();
}

#[test]
fn r8_check_and_plan_name_an_unknown_group_and_show_a_change_of_mode() {
    let backend = Backend::named("one");
    let admin = |folder: &Path| format!("[admin]\nlisten = \"unix:{}/admin.sock\"\n", folder.display());
    let text = |folder: &Path, listen: &str| {
        at(folder, listen, &backend, "").1.replacen("[[route]]", &format!("{}[[route]]", admin(folder)), 1)
    };
    let place = open_place(|folder| text(folder, "\"PATH\""));
    let portway = Portway::run(&place.file());
    let run = |args: &[&str], path: &Path| {
        let output = Command::new(PORTWAY).args(args).arg(path).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let new = place.root().join("new.toml");
    std::fs::write(&new, text(place.root(), "{ address = \"PATH\", group = \"no-such-group\" }")).unwrap();
    let (code, said) = run(&["check"], &new);
    assert!(
        code == Some(2) && said.contains("no group `no-such-group`") && said.contains("/etc/group"),
        "{said}"
    );
    let config = place.file().display().to_string();
    let (code, said) = run(&["plan", "--config", &config], &new);
    assert!(code == Some(2) && said.contains("no group `no-such-group`"), "{said}");
    std::fs::write(&new, text(place.root(), "{ address = \"PATH\", mode = \"0660\" }")).unwrap();
    let (code, said) = run(&["plan", "--config", &config], &new);
    assert!(code == Some(3) && said.contains("app.sock: 0666 -> 0660"), "{said}");
    portway.stop();
}

#[test]
fn r8_the_admin_socket_is_private_unless_the_file_says_who_else_may_connect() {
    if lacks_root() || lacks(&["setpriv"]) {
        return;
    }
    let (name, number) = a_group();
    let (backend, port) = (Backend::named("one"), Port::reserve());
    let text = |folder: &Path, more: &str| {
        let routes = route("web", &port.local(), &backend, "");
        format!("{HEAD}[admin]\nlisten = \"unix:{}/admin.sock\"\n{more}{routes}", folder.display())
    };
    let place = open_place(|folder| text(folder, ""));
    let path = place.root().join("admin.sock");
    let mut portway = with_umask("000", &place);
    assert_eq!(access(&path).0, "0600");
    assert!(!lets_in(&path, number));
    for (more, expected) in [
        (format!("group = \"{name}\"\n"), ("0660", true)),
        (format!("mode = \"0640\"\ngroup = \"{name}\"\n"), ("0640", false)),
        (format!("mode = \"0666\"\ngroup = {number}\n"), ("0666", true)),
        (String::new(), ("0600", false)),
    ] {
        place.save(&text(place.root(), &more));
        portway.phase("reloaded");
        assert_eq!(access(&path), (expected.0.to_owned(), number), "{more}");
        assert_eq!(lets_in(&path, number), expected.1, "{more}");
    }
    portway.stop();
}

#[test]
fn r8_a_port_that_was_closed_opens_again_with_its_mode() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let more =
        "when_down = \"refuse\"\nhealth = { interval = \"1s\", timeout = \"1s\", rise = 1, fall = 1 }\n";
    let backend = Backend { addr };
    let listen = "{ address = \"PATH\", mode = \"0640\" }";
    let place = open_place(|folder| at(folder, listen, &backend, more).1);
    let path = at(place.root(), listen, &backend, more).0;
    let mut portway = with_umask("077", &place);
    assert_eq!(access(&path).0, "0640");
    // The same port is bound, so that nobody else gets it.
    let held = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    held.set_reuse_address(true).unwrap();
    drop(listener);
    held.bind(&addr.into()).unwrap();
    portway.phase("no upstream is available: the listening socket is closed");
    until("the file is gone", || !path.exists());
    held.listen(100).unwrap();
    portway.phase("listening again");
    assert_eq!(access(&path).0, "0640");
    portway.stop();
}

#[test]
fn r8_an_inherited_socket_keeps_its_mode_and_the_log_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portway.sock");
    let socket = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).unwrap();
    let file = folder.path().join("portway.toml");
    let text = format!(
        "[[route]]\nlisten = {{ address = \"unix:{}\", mode = \"0660\" }}\nupstream = \"{}\"\n",
        path.display(),
        echo()
    );
    std::fs::write(&file, text).unwrap();
    let launch = Launch::default().args(&["run", "--config", file.to_str().unwrap()]);
    let portway = launch.inherit(socket).start().ready();
    portway.lines.wait_for("SocketMode=");
    assert_eq!(access(&path).0, "0604");
}

#[test]
fn r8_only_a_member_of_a_group_can_give_a_socket_to_it() {
    if lacks_root() || lacks(&["setpriv"]) {
        return;
    }
    let (_, number) = a_group();
    let backend = Backend::named("one");
    let listen = format!("{{ address = \"PATH\", group = {number} }}");
    let place = open_place(|folder| at(folder, &listen, &backend, "").1);
    let path = at(place.root(), &listen, &backend, "").0;
    rustix::fs::chown(place.root(), Some(Uid::from_raw(65533)), Some(Gid::from_raw(65533))).unwrap();
    let as_nobody = |groups: &str| {
        // A proxy that starts although it may not would run on.
        let mut command = Command::new("timeout");
        command
            .args(["--foreground", "40", "setpriv", "--reuid=65533", "--regid=65533", groups])
            .args([PORTWAY, "run", "--config"])
            .arg(place.file());
        command
    };
    let output = as_nobody("--clear-groups").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("to the group `{number}`")) && said.contains("SupplementaryGroups="),
        "{said}"
    );
    assert!(!path.exists(), "a socket was left behind");
    let portway = Portway::start(&mut as_nobody(&format!("--groups={number}")));
    assert_eq!(access(&path), ("0660".to_owned(), number));
    portway.stop();
}
