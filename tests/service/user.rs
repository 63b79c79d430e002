//! `[process] user`: whom a start as root becomes, as the kernel tells it of every thread.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::launch::{Launch, PORTWAY, Portway, lacks, lacks_root};

/// A file in a folder that every user may enter.
struct File {
    _folder: TempDir,
    path: PathBuf,
}

impl File {
    fn of(text: &str) -> File {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let path = folder.path().join("portway.toml");
        fs::write(&path, text).unwrap();
        File { _folder: folder, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Writes another text and has it read.
    fn edit(&self, portway: &Portway, text: &str) {
        fs::write(&self.path, text).unwrap();
        portway.signal(Signal::HUP);
    }
}

fn text(user: &str, ports: &[u16]) -> String {
    let routes = ports.iter().map(|port| {
        format!("[[route]]\nname = \"r{port}\"\nlisten = \"127.0.0.1:{port}\"\nupstream = \"127.0.0.1:1\"\n")
    });
    let process = if user.is_empty() { String::new() } else { format!("[process]\nuser = {user}\n") };
    process + &routes.collect::<String>()
}

/// One line of what the kernel says of each thread, without its name.
fn of_threads(portway: &Portway, name: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{}/task", portway.id())).unwrap();
    let line = |thread: &Path| {
        let status = fs::read_to_string(thread.join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let lines: Vec<String> = threads.map(|thread| line(&thread.unwrap().path())).collect();
    assert!(lines.len() > 1, "the workers run");
    lines
}

#[track_caller]
fn assert_each(portway: &Portway, name: &str, expected: &str) {
    let said = of_threads(portway, name);
    assert!(said.iter().all(|line| line == expected), "{name}: {said:?}, not {expected}");
}

fn listens(portway: &Portway, port: u16) -> bool {
    let sockets = fs::read_to_string(format!("/proc/{}/net/tcp", portway.id())).unwrap();
    let wanted = format!("0100007F:{port:04X}");
    sockets.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields[1], fields[3]) == (&wanted, "0A")
    })
}

/// In a network of its own, where low ports need the right.
fn in_network(file: &File) -> Portway {
    Launch::default().args(&["run", file.path()]).unshared("-n", "ip link set lo up").start()
}

#[test]
fn a_start_as_root_becomes_the_user_and_an_edit_still_opens_ports_below_1024() {
    if lacks_root() || lacks(&["unshare", "ip"]) {
        return;
    }
    let file = File::of(&text("\"nobody\"", &[80]));
    let portway = in_network(&file).ready();
    for (name, expected) in [
        ("Uid", "65534 65534 65534 65534"),
        ("Gid", "65534 65534 65534 65534"),
        ("Groups", ""),
        // CAP_NET_BIND_SERVICE is the tenth.
        ("CapPrm", "0000000000000400"),
        ("CapEff", "0000000000000400"),
        ("CapInh", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
    ] {
        assert_each(&portway, name, expected);
    }
    assert!(listens(&portway, 80));
    file.edit(&portway, &text("\"nobody\"", &[80, 81]));
    portway.lines.wait_for("reloaded");
    assert!(listens(&portway, 80) && listens(&portway, 81));
    // Only the next start can follow these.
    file.edit(&portway, &text("0", &[80, 81]));
    portway.lines.wait_for("takes effect at the next start");
    file.edit(&portway, &text("\"nobody-here\"", &[80, 81]));
    portway.lines.wait_for("this system has no user `nobody-here`");
    assert_each(&portway, "Uid", "65534 65534 65534 65534");
    assert_eq!(portway.lines.count("runs as root"), 0);
}

#[test]
fn a_user_keeps_the_rights_that_the_file_needs() {
    if lacks_root() || lacks(&["unshare", "ip"]) {
        return;
    }
    // The 10th: ports below 1024, the 13th: CAP_NET_RAW, the 12th: CAP_NET_ADMIN.
    for (more, rights) in
        [("source = \"client\"\n", "0000000000002400"), ("source = { mark = 7 }\n", "0000000000001400")]
    {
        let file = File::of(&(text("\"nobody\"", &[80]) + more));
        let portway = in_network(&file).ready();
        assert_each(&portway, "CapPrm", rights);
        assert_each(&portway, "CapEff", rights);
        // An edit to what needs none is taken, and back.
        file.edit(&portway, &text("\"nobody\"", &[80]));
        portway.lines.wait_for("generation=2");
        file.edit(&portway, &(text("\"nobody\"", &[80]) + more));
        portway.lines.wait_for("generation=3");
    }
    // What comes with an edit has to wait for the next start.
    let file = File::of(&text("\"nobody\"", &[80]));
    let portway = in_network(&file).ready();
    file.edit(&portway, &(text("\"nobody\"", &[80]) + "source = \"client\"\n"));
    portway.lines.wait_for("keeps what the file needs");
}

#[test]
fn a_start_as_root_without_need_says_so_once() {
    if lacks_root() || lacks(&["unshare", "ip"]) {
        return;
    }
    for (user, warnings) in [("", 1), ("\"root\"", 0), ("0", 0)] {
        let file = File::of(&text(user, &[80]));
        let portway = in_network(&file).ready();
        file.edit(&portway, &text(user, &[80, 81]));
        portway.lines.wait_for("reloaded");
        assert_eq!(portway.lines.count("it runs as root"), warnings, "{user}");
        assert_eq!(portway.lines.count("WARN"), warnings, "{user}");
        assert_each(&portway, "Uid", "0 0 0 0");
        assert_each(&portway, "NoNewPrivs", "1");
    }
}

/// As in the container and under systemd: another user started it.
#[test]
fn who_is_not_root_stays_who_it_is() {
    if lacks_root() || lacks(&["setpriv"]) {
        return;
    }
    let stays = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    for (user, warnings) in [("", 0), ("\"nobody\"", 0), ("\"daemon\"", 1)] {
        let file = File::of(
            &text(user, &[0]).replace("127.0.0.1:0", &crate::harness::launch::own_address(8).to_string()),
        );
        let portway = Launch::default().args(&["run", file.path()]).under(&stays).start().ready();
        assert_eq!(portway.lines.count("WARN"), warnings, "{user}: {:#?}", portway.lines.all());
        assert_eq!(portway.lines.count("[process] user is of no effect"), warnings, "{user}");
        assert_each(&portway, "Uid", "65534 65534 65534 65534");
        assert_each(&portway, "NoNewPrivs", "1");
    }
}

/// What root could read, and its user cannot, fails at the start and not at the first edit.
#[test]
fn a_start_fails_where_the_user_may_not_read_the_file() {
    if lacks_root() {
        return;
    }
    let file = File::of(&text("\"nobody\"", &[8080]));
    fs::set_permissions(&file.path, Permissions::from_mode(0o600)).unwrap();
    let mut portway = Launch::default().args(&["run", file.path()]).start();
    assert_eq!(portway.ended().code(), Some(2));
    portway.lines.wait_for("let the user that runs Portway read the file");
}

/// And `check` as root finds it before the start.
#[test]
fn a_check_as_root_looks_as_the_user_would() {
    if lacks_root() {
        return;
    }
    let check = |path: &str| {
        let said = Command::new(PORTWAY).args(["check", path]).output().unwrap();
        (said.status.code(), String::from_utf8(said.stderr).unwrap())
    };
    let file = File::of(&(text("\"nobody\"", &[8080]) + "deny = { file = \"deny.txt\" }\n"));
    let list = file.path.with_file_name("deny.txt");
    fs::write(&list, "192.0.2.0/24\n").unwrap();
    assert_eq!(check(file.path()), (Some(0), String::new()));
    for of in [&list, &file.path] {
        fs::set_permissions(of, Permissions::from_mode(0o600)).unwrap();
        let (code, said) = check(file.path());
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(of.to_str().unwrap()) && said.contains("permission denied"), "{said}");
        assert!(
            said.ends_with("it was read as the user `nobody`, whom `run` becomes: [process] user\n"),
            "{said}"
        );
        let mut portway = Launch::default().args(&["run", file.path()]).start();
        assert!(!portway.ended().success());
        portway.lines.wait_for("permission denied");
        fs::set_permissions(of, Permissions::from_mode(0o644)).unwrap();
    }
    // From standard input as well.
    fs::set_permissions(&list, Permissions::from_mode(0o600)).unwrap();
    let read = fs::File::open(&file.path).unwrap();
    let of_input = Command::new(PORTWAY)
        .args(["check", "-"])
        .current_dir(list.parent().unwrap())
        .stdin(read)
        .output()
        .unwrap();
    let said = String::from_utf8(of_input.stderr).unwrap();
    assert!(of_input.status.code() == Some(2) && said.contains("permission denied"), "{said}");
}

#[test]
fn a_user_whom_the_system_does_not_have_is_a_fault_with_its_place() {
    let file = File::of(&text("\"nobody-here\"", &[8080]));
    let check = Command::new(PORTWAY).args(["check", file.path()]).output().unwrap();
    let said = String::from_utf8(check.stderr).unwrap();
    assert_eq!(check.status.code(), Some(2), "{said}");
    assert!(
        said.contains("this system has no user `nobody-here`") && said.contains("portway.toml:2:8"),
        "{said}"
    );
    assert!(said.contains("one of the names in /etc/passwd"), "{said}");
    let mut portway = Launch::default().args(&["run", file.path()]).start();
    assert!(!portway.ended().success());
    portway.lines.wait_for("this system has no user `nobody-here`");
}
