//! `portway run`: serves the routes of a file.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::admin;
use crate::server::run::{self, Failure, Source};

/// Serve the routes of a file, and take in its edits while it runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portway run --config portway.toml")]
pub struct Args {
    /// The file of the routes.
    #[arg(long, value_name = "FILE", env = "PORTWAY_CONFIG", default_value = "/etc/portway/portway.toml")]
    config: PathBuf,
}

/// Runs until a signal or a request stops it.
pub fn run(args: Args) -> ExitCode {
    exit(run::main(Source::File(args.config), admin::serve))
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
