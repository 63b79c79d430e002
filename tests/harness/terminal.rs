//! Terminals: each has a shell, and a person who types or pastes one line after the other, and sees what comes.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{PATIENCE, PORTWAY};

/// What the shell prints when a command has ended, before its exit code.
const ENDED: &str = "\u{1}ended ";

/// What programs print that go on running, once they are ready.
const GOES_ON: [&str; 3] = ["ready", "listening on", "Serving HTTP on"];

#[derive(Default)]
struct Output {
    text: Mutex<String>,
    more: Condvar,
}

/// A terminal with bash in it.
pub struct Terminal {
    script: Child,
    keys: ChildStdin,
    /// What it has shown since the last line was typed.
    output: Arc<Output>,
    /// Whether a program runs in the foreground.
    busy: bool,
}

impl Terminal {
    /// In a folder where `portway` is a command.
    fn open(folder: &Path) -> Terminal {
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("script");
        command
            .args(["--quiet", "--command", "bash --norc --noprofile --noediting -i", "/dev/null"])
            .current_dir(folder)
            .env("PATH", path)
            .env("PROMPT_COMMAND", "printf '\\001ended %s\\n' $?")
            // Nobody is here to leave a pager.
            .env("PAGER", "cat")
            .env("MANPAGER", "cat")
            .env_remove("PORTWAY_CONFIG");
        let mut script =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let keys = script.stdin.take().unwrap();
        let (mut stdout, output) = (script.stdout.take().unwrap(), Arc::<Output>::default());
        let shown = output.clone();
        std::thread::spawn(move || {
            let (mut raw, mut buffer) = (Vec::new(), [0; 4096]);
            while let Ok(read @ 1..) = stdout.read(&mut buffer) {
                raw.extend_from_slice(&buffer[..read]);
                let whole = raw.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                *shown.text.lock().unwrap() += &plain(&raw[..whole]);
                raw.drain(..whole);
                shown.more.notify_all();
            }
        });
        let mut terminal = Terminal { script, keys, output, busy: true };
        terminal.ended();
        terminal.paste("PS1= PS2=; stty -echo cols 120 rows 50");
        terminal.ended();
        terminal
    }

    fn paste(&mut self, line: &str) {
        self.output.text.lock().unwrap().clear();
        writeln!(self.keys, "{line}").unwrap();
        self.busy = true;
    }

    /// Waits until it has shown something that `seen` finds. Returns all that it has shown by then.
    fn wait(&self, what: &str, seen: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut screen = self.output.text.lock().unwrap();
        while !seen(&screen) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what} does not come:\n{screen}");
            screen = self.output.more.wait_timeout(screen, left).unwrap().0;
        }
        screen.clone()
    }

    /// Waits for the end of a command, for so long at most: also while a test fails.
    fn ends_within(&self, limit: Duration) {
        let screen = self.output.text.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.output.more.wait_timeout_while(screen, limit, |screen| !screen.contains(ENDED)));
    }

    /// Waits for the end of a command: what it has printed, and its exit code.
    fn ended(&mut self) -> (String, i32) {
        let screen = self.wait("the end of the command", |screen| screen.contains(ENDED));
        self.busy = false;
        let (printed, code) = screen.split_once(ENDED).unwrap();
        (printed.to_owned(), code.lines().next().unwrap().trim().parse().unwrap())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A hang-up makes Portway read its file again: Ctrl-C ends it. The shell ends with its terminal.
        if self.busy && self.keys.write_all(b"\x03").is_ok() {
            self.ends_within(PATIENCE);
        }
        self.script.kill().ok();
        self.script.wait().ok();
    }
}

/// What a terminal shows of it: without colours and carriage returns.
fn plain(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let (mut plain, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        match c {
            '\r' => {}
            '\u{1b}' => drop(chars.find(|c| c.is_ascii_alphabetic())),
            c => plain.push(c),
        }
    }
    plain
}

/// A person with a folder, and as many terminals as she is told to open.
pub struct Person<'f> {
    folder: &'f Path,
    terminals: Vec<Terminal>,
    /// What the last command that ended has printed.
    pub printed: String,
}

impl<'f> Person<'f> {
    pub fn at(folder: &'f Path) -> Person<'f> {
        std::os::unix::fs::symlink(PORTWAY, folder.join("portway")).unwrap();
        Person { folder, terminals: Vec::new(), printed: String::new() }
    }

    /// Pastes the lines of a block, one after the other, into a terminal. If a program runs there, Ctrl-C ends it first.
    pub fn pastes(&mut self, terminal: usize, block: &str) {
        let lines: Vec<&str> = block.lines().filter(|line| line.trim() != "cargo test").collect();
        if !lines.is_empty() {
            self.ctrl_c(terminal);
        }
        for (at, line) in lines.iter().enumerate() {
            let goes_on = self.types(terminal, line);
            assert!(
                !goes_on || at + 1 == lines.len(),
                "`{line}` does not end: the next line would wait for ever"
            );
        }
    }

    /// Types one line. Returns whether it goes on running.
    fn types(&mut self, terminal: usize, line: &str) -> bool {
        while self.terminals.len() <= terminal {
            self.terminals.push(Terminal::open(self.folder));
        }
        let shell = &mut self.terminals[terminal];
        shell.paste(&line.replace("cargo run --release --", "portway"));
        let goes_on = |screen: &str| GOES_ON.iter().any(|text| screen.contains(text));
        // Of a command that goes on the first lines say so; what ends may print the same words.
        let screen = shell.wait(line, |screen| screen.contains(ENDED) || goes_on(screen) && runs_on(line));
        if !screen.contains(ENDED) {
            return true;
        }
        let (printed, code) = shell.ended();
        let expected = line.split_once("# exit code ").map_or(0, |(_, code)| code.trim().parse().unwrap());
        assert_eq!(code, expected, "{line}\n{printed}");
        self.printed = printed;
        false
    }

    /// Ends what runs in the foreground.
    fn ctrl_c(&mut self, terminal: usize) {
        let Some(shell) = self.terminals.get_mut(terminal).filter(|shell| shell.busy) else { return };
        shell.keys.write_all(b"\x03").unwrap();
        let (printed, code) = shell.ended();
        assert_eq!(code, 0, "{printed}");
    }

    /// Waits until the program in a terminal has printed it, since it was started.
    pub fn sees(&self, terminal: usize, text: &str) -> String {
        self.terminals[terminal].wait(text, |screen| screen.contains(text))
    }
}

/// Whether it is a command that goes on until it is stopped.
fn runs_on(line: &str) -> bool {
    let line = line.replace("cargo run --release --", "portway");
    line.starts_with("python3 -m http.server ")
        || ["run", "forward", "whoami", "demo"].iter().any(|word| {
            line.starts_with(&format!("portway {word} ")) || line.trim() == format!("portway {word}")
        })
}
