//! `portway run`: serves the routes of a file.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::config_file::{self, ConfigFile};
use super::from::HowToPull;
use crate::admin;
use crate::config::Report;
use crate::model::Fault;
use crate::server::pull::{self, PullPlan};
use crate::server::run;
use crate::server::start::{Failure, Source};

/// Serve the routes of a file, and take in its edits while it runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  portway run portway.toml
  portway run portway.toml --from https://config.example/edge.toml --key edge.pub")]
pub struct Args {
    #[command(flatten)]
    file: ConfigFile,
    /// Takes over from the process that has started this one: `portway upgrade` says so.
    #[arg(long, hide = true)]
    take_over: bool,
    /// Takes over from the process that waits at this Unix socket, if one does, and then waits there for the next: for two
    /// containers of one pod, with a folder that they share. Both need the same user.
    #[arg(long, value_name = "PATH")]
    handover: Option<PathBuf>,
    /// Keep the file as a store has it, as `portway pull` does. Without the store it runs from the file.
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    #[command(flatten)]
    how: HowToPull,
}

/// Runs until a signal or a request stops it.
pub fn run(args: Args) -> ExitCode {
    let path = args.file.path();
    if config_file::is_stdin(&path) {
        let fault =
            Fault::new("`run` follows the edits of a file", "give its path; `check -` reads standard input");
        return exit(Err(Failure::File(Report::about_file(&config_file::name(&path), fault))));
    }
    let plan = match args.from.as_deref().map(|url| args.how.plan(url, &path)).transpose() {
        Ok(plan) => plan.map(Box::new),
        Err(report) => return exit(Err(Failure::File(report))),
    };
    if let Some(plan) = plan.as_ref().filter(|_| !path.exists()) {
        wait_for_file(plan);
    }
    let source = if args.take_over { Source::TakeOver(path, plan) } else { Source::File(path, plan) };
    exit(run::main(source, args.handover, admin::serve))
}

/// Pulls until there is a file to start from: no store, no start, and the store may come.
fn wait_for_file(plan: &PullPlan) {
    let path = plan.file.display();
    say_why(&format!("there is no {path} yet: waiting for the text of {}", plan.access.url));
    pull::until_there(plan.clone(), say_why);
}

/// Tells an operator on standard error, before there are logs.
fn say_why(line: &str) {
    // If standard error is gone, nobody looks.
    drop(writeln!(std::io::stderr().lock(), "portway: {line}"));
}

/// Shows why nothing was started, and chooses the exit code.
pub(super) fn exit(ended: Result<(), Failure>) -> ExitCode {
    let colour = super::output::colour(&std::io::stderr());
    let (text, code) = match ended {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::File(report)) => (report.render(colour), ExitCode::from(2)),
        Err(Failure::Sockets(report)) => (report.render(colour), ExitCode::FAILURE),
        // Whoever has started this process shows it.
        Err(Failure::Told) => return ExitCode::FAILURE,
        Err(failure @ (Failure::System(_) | Failure::NotRelieved(_))) => {
            (format!("error: {failure}\n"), ExitCode::FAILURE)
        }
    };
    // If standard error is gone, the exit code is all that can be said.
    drop(std::io::stderr().lock().write_all(text.as_bytes()));
    code
}
