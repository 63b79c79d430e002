//! `portway reload`: makes the running proxy read its file again, and shows the outcome.

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use super::admin;
use super::output::say;
use super::table;
use crate::admin::api::{ReloadFile, ReloadOutcome, Reloaded};

/// Makes the running proxy read its file again, waits until it is carried out or refused, and shows the outcome
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 the file is what runs; 1 nobody answers; 2 a file has faults, and changes nothing.

Example:
  portway reload
  portway reload --keep"
)]
pub struct Args {
    #[command(flatten)]
    proxy: admin::Proxy,
    /// Takes the file as it is, also where an edit of it was rolled back, and ends a probation.
    #[arg(long)]
    keep: bool,
    /// As JSON: the answer of /v1/reload.
    #[arg(long)]
    json: bool,
}

/// Asks for a reload, and waits for the outcome.
pub fn run(args: &Args) -> ExitCode {
    let asked = args
        .proxy
        .find()
        .and_then(|proxy| proxy.patient().post("/v1/reload", &ReloadFile { keep: args.keep }));
    let reloaded: Reloaded = match asked {
        Ok(reloaded) => reloaded,
        Err(failure) => return failure.exit(),
    };
    let generation = reloaded.generation;
    let said = match reloaded.outcome {
        _ if args.json => return and_then(table::json(&reloaded), &reloaded),
        ReloadOutcome::Reloaded => {
            format!("reloaded: {}; generation {generation}\n", reloaded.changed.unwrap_or_default())
        }
        ReloadOutcome::NoFile => "there is no file: its routes were given on the command line\n".to_owned(),
        ReloadOutcome::Started | ReloadOutcome::Unchanged | ReloadOutcome::RolledBack => {
            format!("nothing changed: the file is what runs; generation {generation}\n")
        }
        ReloadOutcome::Refused => {
            let report = reloaded.report.unwrap_or_default();
            let end = match reloaded.changed {
                None => format!("refused: what runs goes on as before; generation {generation}\n"),
                Some(changed) => {
                    format!("refused, but for other files: {changed}; generation {generation}\n")
                }
            };
            // If standard error is gone, the exit code is all that can be said.
            drop(stderr().lock().write_all((report + &end).as_bytes()));
            return ExitCode::from(2);
        }
    };
    say(&mut stdout().lock(), &said)
}

fn and_then(shown: ExitCode, reloaded: &Reloaded) -> ExitCode {
    if reloaded.outcome == ReloadOutcome::Refused { ExitCode::from(2) } else { shown }
}
