//! `portway import`: a file of another proxy as a file of routes.

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::config_file;
use super::output::{colour, say};
use crate::config::{self, Imported, Program};

/// Makes a file of routes of a file of nginx (stream), HAProxy (tcp), realm, rinetd or Docker Compose, and prints it
#[derive(Debug, clap::Args)]
#[command(after_help = "What is not carried over stands as a comment, with its line and the reason.
A route that would then serve others, or with other bytes, is off; standard error names it.

Exit codes: 0 all of it is carried over; 3 not all of it: read the comments; 2 the file cannot be read.

Example:
  portway import /etc/haproxy/haproxy.cfg > portway.toml
  portway check portway.toml")]
pub struct Args {
    /// The file of the other program; `-`: standard input.
    file: PathBuf,
    /// Whose file it is. Without it, its text tells.
    #[arg(long, value_name = "PROGRAM")]
    from: Option<From>,
}

/// The programs whose files are understood.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum From {
    /// nginx.conf, or what it includes in `stream`.
    Nginx,
    /// haproxy.cfg: proxies of `mode tcp`.
    Haproxy,
    /// The configuration of realm, TOML or JSON.
    Realm,
    /// rinetd.conf.
    Rinetd,
    /// compose.yaml: the `ports` of services.
    Compose,
}

impl From {
    fn program(self) -> Program {
        match self {
            From::Nginx => Program::Nginx,
            From::Haproxy => Program::Haproxy,
            From::Realm => Program::Realm,
            From::Rinetd => Program::Rinetd,
            From::Compose => Program::Compose,
        }
    }
}

/// Which routes serve nobody, on a line.
fn off(name: &str, imported: &Imported) -> String {
    const SHOWN: usize = 10;
    let (count, all) = (imported.off.len(), imported.routes);
    let shown = imported.off.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    let more = count.saturating_sub(SHOWN);
    match (count, all) {
        (0, _) => String::new(),
        (1, 1) => format!("{name}: its only route is off: {shown}\n"),
        (1, _) => format!("{name}: 1 of {all} routes is off: {shown}\n"),
        (_, _) if more > 0 => format!("{name}: {count} of {all} routes are off: {shown} and {more} more\n"),
        _ => format!("{name}: {count} of {all} routes are off: {shown}\n"),
    }
}

/// Prints the file of routes to standard output, and to standard error how much of the other file is not in it.
pub fn run(args: &Args) -> ExitCode {
    let name = config_file::name(&args.file);
    let read = config_file::read(&args.file);
    let imported = read.and_then(|text| config::import(&name, &text, args.from.map(From::program)));
    let (shown, said, code) = match imported {
        Ok(imported) => {
            let shown = say(&mut stdout().lock(), &imported.text);
            let (lost, code) = match imported.named() {
                0 => (String::new(), 0),
                1 => (format!("{name}: 1 statement is not carried over; a comment has it\n"), 3),
                more => (format!("{name}: {more} statements are not carried over; comments have them\n"), 3),
            };
            (shown, lost + &off(&name, &imported), code)
        }
        Err(report) => (ExitCode::SUCCESS, report.render(colour(&stderr())), 2),
    };
    // If standard error is gone, the exit code is all that can be said.
    drop(stderr().lock().write_all(said.as_bytes()));
    if shown == ExitCode::SUCCESS { ExitCode::from(code) } else { shown }
}
