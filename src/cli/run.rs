//! `portway run`: serves the routes of a file.

use std::io::Write;
use std::process::ExitCode;

use super::config_file::{self, ConfigFile};
use crate::admin;
use crate::config::Report;
use crate::model::Fault;
use crate::server::run::{self, Failure, Source};

/// Serve the routes of a file, and take in its edits while it runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portway run portway.toml")]
pub struct Args {
    #[command(flatten)]
    file: ConfigFile,
}

/// Runs until a signal or a request stops it.
pub fn run(args: Args) -> ExitCode {
    let path = args.file.path();
    if config_file::is_stdin(&path) {
        let fault =
            Fault::new("`run` follows the edits of a file", "give its path; `check -` reads standard input");
        return exit(Err(Failure::File(Report::about_file(&config_file::name(&path), fault))));
    }
    exit(run::main(Source::File(path), admin::serve))
}

/// Shows why nothing was started, and chooses the exit code.
pub(super) fn exit(ended: Result<(), Failure>) -> ExitCode {
    let colour = super::output::colour(&std::io::stderr());
    let (text, code) = match ended {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::File(report)) => (report.render(colour), ExitCode::from(2)),
        Err(Failure::Sockets(report)) => (report.render(colour), ExitCode::FAILURE),
        Err(failure @ Failure::System(_)) => (format!("error: {failure}\n"), ExitCode::FAILURE),
    };
    // If standard error is gone, the exit code is all that can be said.
    drop(std::io::stderr().lock().write_all(text.as_bytes()));
    code
}
