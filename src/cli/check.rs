//! `portway check`: reads the file and shows every fault; nothing is started.

use std::io::Write;
use std::process::ExitCode;

use super::config_file::{self, ConfigFile};
use super::output::{colour, say};
use super::progress::patiently;
use crate::config::{self, Compiled, Report};
use crate::server::{access, credentials, lists};

/// Reads a file, or with `-` standard input, and shows every fault in it; nothing is started.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: portway check /etc/portway/portway.toml")]
pub struct Args {
    #[command(flatten)]
    file: ConfigFile,
}

impl Args {
    /// Faults go to standard error, with exit code 2; the summary of a good file goes to standard output.
    pub fn run(&self) -> ExitCode {
        let path = self.file.path();
        let name = config_file::name(&path);
        let compiled = patiently("reading", || -> Result<(Compiled, Vec<String>), Report> {
            let compiled = config_file::read(&path).and_then(|text| config::compile(&name, &text))?;
            let files = Report::both(lists::read(&compiled), credentials::read(&compiled));
            let (_, (_, read)) = Report::both(access::check(&compiled), files)?;
            let notices: Vec<String> = read.iter().flat_map(|read| read.notices()).collect();
            Ok((compiled, notices))
        });
        match compiled {
            Ok((compiled, notices)) => {
                warnings(notices.into_iter());
                say(&mut std::io::stdout().lock(), &summary(&name, &compiled))
            }
            Err(report) => {
                let colour = colour(&std::io::stderr());
                // If even standard error is closed, the exit code still tells.
                let _ = std::io::stderr().lock().write_all(report.render(colour).as_bytes());
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
    let count = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    let mut routes = count(compiled.table.routes.len(), "route");
    match compiled.table.disabled.len() {
        0 => {}
        disabled => routes.push_str(&format!(" ({disabled} more with enabled = false)")),
    }
    let listeners = count(compiled.table.sockets(), "listener");
    format!("{name}: fine, {routes}, {listeners}\n")
}
