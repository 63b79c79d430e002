//! `portway man`: the manual, from the same definitions as `--help`; of the file, from those of the schema.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::man_file;
use super::output::say;

/// Prints a page of the manual, for man(1): `portway man | man -l -`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  portway man | man -l -
  portway man run > portway-run.1
  portway man portway.toml > portway.toml.5")]
pub struct Args {
    /// The page of this command, or `portway.toml`: that of the file, key by key. Without it, that of Portway as a whole.
    #[arg(value_name = "PAGE")]
    command: Option<String>,
}

/// How the page of the file is called, and the file.
const FILE: &str = "portway.toml";

/// Sections of the page of the whole that `--help` has elsewhere, or not at all: heading and lines.
const MORE: [(&str, &[&str]); 7] = [
    (
        "FILES",
        &[
            "/etc/portway/portway.toml: the routes, where neither --config nor PORTWAY_CONFIG names another file.",
        ],
    ),
    (
        "EDITS",
        &[
            "An edit is taken over once its text is stable and its writer has closed the file. Where the file system does not \
             tell of that, one that takes a route away waits until nothing has changed for 10 seconds.",
            "What is the same in both texts is not touched: the socket of a route, its queue, its connections, its counters.",
            "An included file with a fault holds back only itself, also at the start. The routes of one that is removed go \
             after two seconds.",
        ],
    ),
    (
        "NAMES",
        &[
            "The name of an upstream is looked up by the system's resolver, in the background, every 5 seconds and within a \
             second of a failed connect. A new address has its share at once.",
            "An address that does not answer costs 250 ms before the next, of the other family too, is tried beside it.",
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            "PORTWAY_CONFIG: the file of the routes.",
            "PORTWAY_ADMIN, PORTWAY_TOKEN: where the running Portway answers, and the token of its [admin].",
            "NO_COLOR: if set, faults have no colours.",
        ],
    ),
    (
        "SIGNALS",
        &[
            "SIGTERM, SIGINT: it is no longer ready, listening sockets close after their route's drain_delay, open connections \
             then have its drain_timeout; another one ends the delay, and the next the rest.",
            "SIGHUP: reloads the file at once.",
            "SIGUSR1: opens log files anew.",
            "SIGUSR2: lets the program take over that the running one was started from, as `portway upgrade` does.",
        ],
    ),
    (
        "EXIT STATUS",
        &[
            "0: fine.",
            "1: it ran, and failed.",
            "2: the command line or the file is wrong; nothing was started.",
            "3: plan, import: there is something to look at.",
        ],
    ),
    ("SEE ALSO", &["portway.toml(5)"]),
];

impl Args {
    /// Prints the page to standard output. `whole`: the definition of the command line. Exit code 2: there is no such
    /// command.
    pub fn run(&self, whole: clap::Command) -> ExitCode {
        if self.command.as_deref() == Some(FILE) {
            return print(&man_file::page());
        }
        let mut whole = whole.disable_help_subcommand(true);
        whole.build();
        let found = match &self.command {
            None => Some(&whole),
            Some(name) => whole.find_subcommand(name),
        };
        let Some(command) = found else {
            let message = format!("there is no command `{}`", self.command.as_deref().unwrap_or_default());
            // Prints the message with the usage, and ends the process.
            whole.error(clap::error::ErrorKind::InvalidSubcommand, message).exit()
        };
        match page(command, self.command.is_none()) {
            Ok(text) => print(&String::from_utf8_lossy(&text)),
            // Writing to a vector does not fail.
            Err(_) => ExitCode::FAILURE,
        }
    }
}

/// Prints a page, and to whom it is shown how to read it.
fn print(page: &str) -> ExitCode {
    let printed = say(&mut io::stdout().lock(), page);
    if io::stdout().is_terminal() {
        // If standard error is gone, nobody reads.
        drop(writeln!(io::stderr().lock(), "this is the source of the page; to read it, add: | man -l -"));
    }
    printed
}

/// The page of a command. `whole`: it is that of Portway as a whole, and has [`MORE`].
fn page(command: &clap::Command, whole: bool) -> io::Result<Vec<u8>> {
    let source = concat!("portway ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(source).manual("Portway");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if whole {
        man.render_subcommands_section(&mut text)?;
    }
    let mut roff = Roff::new();
    if let Some(notes) = command.get_after_help() {
        roff.control("SH", ["NOTES"]);
        for line in notes.to_string().lines() {
            match line {
                "" => roff.control("PP", []),
                // An example stays as it is.
                line if line.starts_with(' ') => roff.control("nf", []).text([roman(line)]).control("fi", []),
                line => roff.text([roman(line)]).control("br", []),
            };
        }
    }
    for (heading, lines) in MORE.iter().filter(|_| whole) {
        roff.control("SH", [*heading]);
        for line in *lines {
            roff.text([roman(*line)]).control("br", []);
        }
    }
    roff.to_writer(&mut text)?;
    Ok(text)
}
