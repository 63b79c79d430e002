//! `portway check`: reads the file and shows every fault; nothing is started.

use std::io::Write;
use std::process::ExitCode;

use super::config_file::{self, ConfigFile};
use super::output::{colour, say};
use super::progress::patiently;
use crate::config::Compiled;
use crate::server::check::{Checked, check};
use crate::server::user::become_user_of;

/// Reads a file, or with `-` standard input, and all that it includes, and shows every fault; nothing is started.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portway check /etc/portway/portway.toml")]
pub struct Args {
    #[command(flatten)]
    file: ConfigFile,
}

impl Args {
    /// Faults go to standard error, with exit code 2; the summary of a good file goes to standard output.
    pub fn run(&self) -> ExitCode {
        let path = self.file.path();
        let name = config_file::name(&path);
        let text = config_file::read(&path);
        // As `run` does, and before there is a second thread: what only root may read is a fault.
        let user = match text.as_ref().map_or(Ok(None), |text| become_user_of(&path, text.clone())) {
            Ok(user) => user,
            Err(error) => {
                // If standard error is closed, the exit code still tells.
                drop(writeln!(std::io::stderr().lock(), "error: {error}"));
                return ExitCode::FAILURE;
            }
        };
        let again = user.is_some() && !config_file::is_stdin(&path);
        let text = if again { config_file::read(&path) } else { text };
        match patiently("reading", || check(&name, &text?)) {
            Ok(Checked { compiled, notices }) => {
                warnings(notices.into_iter());
                say(&mut std::io::stdout().lock(), &summary(&name, &compiled))
            }
            Err(report) => {
                let colour = colour(&std::io::stderr());
                // If even standard error is closed, the exit code still tells.
                let mut text = report.render(colour);
                if let Some(user) = user {
                    text +=
                        &format!("it was read as the user `{user}`, whom `run` becomes: [process] user\n");
                }
                let _ = std::io::stderr().lock().write_all(text.as_bytes());
                ExitCode::from(2)
            }
        }
    }
}

/// Shows warnings on standard error. They do not change the exit code.
fn warnings(lines: impl Iterator<Item = String>) {
    for line in lines {
        // If standard error is closed, nobody reads them.
        drop(writeln!(std::io::stderr().lock(), "warning: {line}"));
    }
}

fn summary(name: &str, compiled: &Compiled) -> String {
    let routes = routes(compiled.table.routes.len(), compiled.table.disabled.len());
    let listeners = count(compiled.table.sockets(), "listener");
    let mut text = format!("{name}: fine, {routes}, {listeners}\n");
    for file in compiled.files().included().values() {
        let served = file.routes().count() - file.disabled();
        text.push_str(&format!("  {}: {}\n", file.name(), self::routes(served, file.disabled())));
    }
    text
}

fn routes(served: usize, disabled: usize) -> String {
    let served = count(served, "route");
    match disabled {
        0 => served,
        disabled => format!("{served} ({disabled} more with enabled = false)"),
    }
}

fn count(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
