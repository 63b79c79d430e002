//! What bad input gets: nothing changes, it is told of with its cure, and the next good edit heals.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::harness::instance::*;

/// A route that must stay, and a flow through it that must live.
struct Steady {
    port: Port,
    flow: Flow,
    place: Place,
    text: String,
    portway: Portway,
}

impl Steady {
    fn new() -> Steady {
        let (port, a) = (Port::reserve(), Backend::named("a"));
        let text = file(&[("web", port.local(), &a)]);
        let place = Place::with(&text);
        let portway = Portway::run(&place.file());
        Steady { flow: Flow::open(port.number), port, place, text, portway }
    }

    /// Puts something bad in the place of the file, and then a good file again.
    fn bears(&mut self, what: &str, spoil: impl FnOnce(&Path), told: &str) {
        let path = self.place.file();
        spoil(&path);
        let line = self.portway.phase_of(&["edit refused", "reloaded", "nothing changed"]);
        let headline = line["headline"].as_str().unwrap_or_else(|| panic!("{what}: {line}"));
        assert!(headline.starts_with(&format!("{}:", path.display())), "{what}: {headline}");
        assert!(headline.contains(told), "{what}: {headline}");
        assert!(headline.contains("; "), "{what} has no cure: {headline}");
        self.flow.ping().unwrap();
        assert_eq!(reached(self.port.number), "a", "{what}");
        if path.is_dir() {
            fs::remove_dir(&path).unwrap();
        }
        self.place.save(&self.text);
        self.portway.phase("fault healed");
    }

    fn bears_text(&mut self, what: &str, text: impl AsRef<[u8]>, told: &str) {
        self.bears(what, |path| fs::write(path, text).unwrap(), told);
    }

    fn stop(mut self) {
        drop(self.flow);
        assert_eq!(self.portway.count("reloaded"), 0);
        self.portway.stop();
    }
}

#[test]
fn bad_text() {
    let mut steady = Steady::new();
    let good = steady.text.clone();
    let more = |more: &str| format!("{good}{more}");
    let twice = more("[[route]]\nlisten = \"127.0.0.1:1\"\nupstream = [\"127.0.0.1:2\"]\n")
        .replace("127.0.0.1:1\"", &format!("{}\"", steady.port.local()));
    steady.bears_text("a wrong type", more("keepalive = 5\n"), ":8:");
    steady.bears_text("an unknown key", more("conect_timeout = \"5s\"\n"), "connect_timeout");
    steady.bears_text("an address twice", twice, ":9:10: ");
    steady.bears_text("invalid UTF-8", [good.as_bytes(), b"# \xff\n"].concat(), ":8:3:");
    steady.bears_text("a NUL", more("# \0\n"), ":8:");
    steady.bears_text("deep nesting", more(&format!("x = {}\n", "[".repeat(20_000))), ":8:");
    steady.bears_text("an empty file", "", "is empty");
    steady.bears_text("no route", HEAD, "");
    let itself = good.replace("\"off\"", &format!("\"{}\"", steady.place.file().display()));
    steady.bears_text(
        "an access log into the file itself",
        &itself,
        ":3:10: the access log would be written",
    );
    assert_eq!(fs::read_to_string(steady.place.file()).unwrap(), good);
    steady.bears_text("a log that is no table", "log = 1\n", "");
    // By rename: while it is written in place, a part of it is a file without a route.
    let by_rename = |path: &Path| {
        let whole = path.with_extension("whole");
        fs::write(&whole, vec![b'#'; 100_000_000]).unwrap();
        fs::rename(whole, path).unwrap();
    };
    steady.bears("100 MB", by_rename, "16 MiB");
    steady.stop();
}

#[test]
fn a_byte_order_mark_is_accepted() {
    let mut steady = Steady::new();
    steady.place.save(&format!("\u{feff}{}", steady.text));
    steady.portway.phase("nothing changed");
    steady.stop();
}

#[test]
fn things_that_are_not_a_file() {
    let mut steady = Steady::new();
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    let link = |target: &'static str| {
        move |path: &Path| {
            remove(path);
            symlink(target, path).unwrap();
        }
    };
    let folder = |path: &Path| {
        remove(path);
        fs::create_dir(path).unwrap();
    };
    let fifo = |path: &Path| {
        remove(path);
        tool("mkfifo", [path]);
    };
    let socket = |path: &Path| {
        remove(path);
        drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    };
    steady.bears("a deleted file", remove, "no such file");
    steady.bears("a dangling link", link("nowhere.toml"), "does not exist");
    steady.bears("a link to itself", link("portway.toml"), "");
    steady.bears("a folder", folder, "folder");
    steady.bears("a FIFO", fifo, "a pipe");
    steady.bears("a socket", socket, "socket");
    steady.bears("a device", link("/dev/zero"), "device");
    // Reading the memory of a process at address 0 is an I/O error.
    steady.bears("an I/O error", link("/proc/self/mem"), "nput/output error");
    steady.stop();
}

#[test]
fn no_permission() {
    let (port, a, b) = (Port::reserve(), Backend::named("a"), Backend::named("b"));
    let text = |backend| file(&[("web", port.local(), backend)]);
    let place = Place::with(&text(&a));
    // Nothing is forbidden to root: then Portway runs as nobody, from where nobody can reach it.
    let program = place.root().join("portway");
    install(PORTWAY, &program);
    for path in [place.root(), &place.folder()] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(program);
    if is_root() {
        command.uid(65534).gid(65534);
    }
    let mut portway = Portway::start(command.arg("run").arg("--config").arg(place.file()));
    fs::set_permissions(place.file(), Permissions::from_mode(0o000)).unwrap();
    assert!(portway.refused().contains("permission denied"), "{}", portway.log());
    assert_eq!(reached(port.number), "a");
    fs::set_permissions(place.file(), Permissions::from_mode(0o644)).unwrap();
    portway.phase("fault healed");
    // Nor may it look into the folder.
    fs::set_permissions(place.folder(), Permissions::from_mode(0o000)).unwrap();
    assert!(portway.refused().contains("permission"), "{}", portway.log());
    assert_eq!(reached(port.number), "a");
    fs::set_permissions(place.folder(), Permissions::from_mode(0o755)).unwrap();
    portway.phase("fault healed");
    place.save(&text(&b));
    portway.phase("reloaded");
    assert_eq!(reached(port.number), "b");
    portway.stop();
}

#[test]
fn a_fault_is_told_once_per_text() {
    let mut steady = Steady::new();
    let bad = format!("{}what = 1\n", steady.text);
    steady.place.save(&bad);
    steady.portway.refused();
    // The same text again, and again by another name: nothing new to say.
    tool("touch", [steady.place.file()]);
    steady.place.save(&bad);
    steady.place.save(&format!("{bad}what = 2\n"));
    steady.portway.refused();
    assert_eq!(steady.portway.count("edit refused"), 2);
    // Except to someone who asks.
    steady.portway.hang_up();
    steady.portway.refused();
    steady.place.save(&steady.text);
    steady.portway.phase("fault healed");
    steady.stop();
}
