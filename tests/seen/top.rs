//! `portway top` in a real terminal (tmux), over real traffic, with a real kill.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::harness::instance::*;

/// A terminal of 80 by 24 in which a command runs.
pub struct Terminal {
    /// Of a tmux server of its own.
    socket: String,
}

impl Terminal {
    fn run(folder: &Path, command: &str) -> Terminal {
        // A server that ends still has the name of its socket.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tmux-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let socket = folder.join(name).display().to_string();
        let terminal = Terminal { socket };
        let mut tmux = terminal.tmux();
        tmux.args(["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", command]);
        assert!(tmux.status().unwrap().success());
        terminal
    }

    fn tmux(&self) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.args(["-S", &self.socket])
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "xterm-256color")
            .env_remove("TMUX");
        tmux
    }

    /// What it shows; `escapes`: with colours and the like.
    pub fn shows(&self, escapes: bool) -> String {
        let mut tmux = self.tmux();
        tmux.args(["capture-pane", "-p"]).args(escapes.then_some("-e"));
        String::from_utf8(tmux.output().unwrap().stdout).unwrap()
    }

    pub fn until(&self, what: &str, mut is: impl FnMut(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let shown = self.shows(false);
            if is(&shown) {
                return shown;
            }
            assert!(Instant::now() < end, "{what}:\n{shown}");
            pass(Duration::from_millis(20));
        }
    }

    pub fn keys(&self, keys: &[&str]) {
        assert!(self.tmux().arg("send-keys").args(keys).status().unwrap().success());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.tmux().arg("kill-server").output());
    }
}

/// A command in a shell that stays, so that what is left of the screen can be seen.
pub fn top(place: &Place, environment: &str) -> Terminal {
    let admin = place.root().join("admin.sock").display().to_string();
    let command = format!(
        "export LC_ALL=C.UTF-8 {environment}; {PORTWAY} top --admin unix:{admin} --every 200ms; echo left with $?; cat"
    );
    Terminal::run(place.root(), &command)
}

/// A connection, and what the proxy calls its client.
fn open(port: &Port) -> (Flow, String) {
    let stream = TcpStream::connect(port.local()).unwrap();
    let client = stream.local_addr().unwrap().to_string();
    (Flow::greeted(stream).unwrap(), client)
}

/// A file with an admin endpoint beside it.
fn place(port: &Port, backend: &Backend) -> Place {
    let place = Place::with("");
    let admin = place.root().join("admin.sock");
    let route = route("app", &port.local(), backend, "");
    place.save(&format!("{HEAD}[admin]\nlisten = \"unix:{}\"\n{route}", admin.display()));
    place
}

#[test]
fn top_shows_what_is_open_and_kills_what_it_was_told_to() {
    if !can("tmux", Command::new("tmux").arg("-V").output().is_ok()) {
        return;
    }
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let place = place(&port, &backend);
    let portway = Portway::run(&place.file());
    let ((mut one, first), (mut other, second)) = (open(&port), open(&port));
    let terminal = top(&place, "");
    terminal.until("it counts what is open", |shown| shown.contains("2 open of") && shown.contains("app"));
    terminal.keys(&["3"]);
    terminal.until("both are shown", |shown| shown.contains(&first) && shown.contains(&second));
    // Bytes that move show as a rate.
    terminal.until("a rate is shown", |shown| {
        one.ping().unwrap();
        shown.lines().any(|line| line.contains(&first) && !line.trim_end().ends_with(" 0 B"))
    });
    assert!(terminal.shows(true).contains("\u{1b}[1m"), "nothing is bold");

    let number = first.rsplit(':').next().unwrap();
    terminal.keys(&["/"]);
    terminal.keys(&["-l", number]);
    terminal.keys(&["Enter"]);
    terminal.until("the other is left out", |shown| shown.contains(&first) && !shown.contains(&second));
    terminal.keys(&["x"]);
    terminal.until("it asks", |shown| shown.contains("Reset connection") && shown.contains(&first));
    // Nothing has happened yet, and nothing happens after a no.
    terminal.keys(&["n"]);
    terminal.until("the question has gone", |shown| !shown.contains("Reset connection"));
    one.ping().unwrap();
    terminal.keys(&["x"]);
    terminal.until("it asks again", |shown| shown.contains("Reset connection"));
    terminal.keys(&["y"]);
    terminal.until("it is said", |shown| shown.contains("1 connection reset"));
    assert!(one.ping().is_err());
    other.ping().unwrap();
    terminal.keys(&["Escape"]);
    terminal.until("one is left", |shown| shown.contains(&second) && !shown.contains(&first));

    // A fault of the file, and its end.
    let good = std::fs::read_to_string(place.file()).unwrap();
    place.save(&good.replace("upstream = ", "upstraem = "));
    terminal.keys(&["4"]);
    terminal.until("the fault is shown", |shown| {
        shown.contains("REFUSED") && shown.contains("did you mean `upstream`?") && shown.contains("^^^^")
    });
    place.save(&good);
    terminal.until("it runs again", |shown| {
        shown.contains("The file is what runs.") && shown.contains("seen while") && shown.contains("upstraem")
    });
    drop(other);
    portway.stop();
    terminal.until("nobody answers", |shown| shown.contains("NO ANSWER"));
    terminal.keys(&["q"]);
    // The terminal is as it was before.
    terminal.until("it is left", |shown| shown.contains("left with 0") && !shown.contains("NO ANSWER"));
}

#[test]
fn top_needs_no_colour_and_no_more_than_ascii() {
    if !can("tmux", Command::new("tmux").arg("-V").output().is_ok()) {
        return;
    }
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let place = place(&port, &backend);
    let portway = Portway::run(&place.file());
    let mut flow = Flow::open(port.number);
    // SGR with a colour of its own; 39 and 49 are those of the terminal.
    let coloured = |text: &str| {
        let sequences = text.split("\u{1b}[").skip(1).filter_map(|rest| rest.split_once('m'));
        let numbers = sequences.flat_map(|(numbers, _)| numbers.split(';'));
        numbers
            .filter_map(|number| number.parse::<u8>().ok())
            .any(|n| matches!(n, 30..=38 | 40..=48 | 90..=107))
    };
    let terminal = top(&place, "");
    terminal.until("it is up", |shown| shown.contains(" up "));
    assert!(coloured(&terminal.shows(true)), "{}", terminal.shows(true));
    drop(terminal);
    let terminal = top(&place, "NO_COLOR=1 LC_ALL=C");
    terminal.until("bars are shown", |shown| {
        flow.ping().unwrap();
        shown.contains('@')
    });
    let shown = terminal.shows(true);
    assert!(!coloured(&shown) && shown.is_ascii(), "{shown}");
    terminal.keys(&["C-c"]);
    terminal.until("it is left", |shown| shown.contains("left with 0"));
    drop(flow);
    portway.stop();
}

#[test]
fn without_a_terminal_top_says_what_to_take_instead() {
    let output = Command::new(PORTWAY).arg("top").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("portway status --json"));
}
