//! `portway pull`: keeps a file as a store has it.

use std::path::PathBuf;
use std::process::ExitCode;

use super::from::HowToPull;
use super::run::exit;
use crate::server::pull::{Once, main};
use crate::server::start::Failure;

/// Keeps a file as a store has it, for a `portway run` that follows the file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What comes is compiled as `portway check` does; with a fault, or without the signature of --key, it is not written. While the \
store is away the file stays. Exit codes of --once: 0 the file is as the store has it, 1 it is not, 2 the command line is wrong.

Examples:
  portway pull --from https://config.example/edge.toml --key edge.pub --to /etc/portway/portway.toml
  portway pull --from etcds://etcd-1,etcd-2,etcd-3/edge/routes --ca ca.pem --to portway.toml --once")]
pub struct Args {
    /// Where the text is: https:// or http:// (ETag; Consul's long poll), etcds:// or etcd:// (watch).
    #[arg(long, value_name = "URL")]
    from: String,
    /// The file to write. Its signature is written beside it.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Look once.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    how: HowToPull,
}

/// Pulls for ever, or once.
pub fn run(args: &Args) -> ExitCode {
    let plan = match args.how.plan(&args.from, &args.to) {
        Ok(plan) => plan,
        Err(report) => return exit(Err(Failure::File(report))),
    };
    match main(plan, args.once) {
        Ok(Once::Fine) => ExitCode::SUCCESS,
        Ok(Once::Not(_)) => ExitCode::FAILURE,
        Err(error) => exit(Err(Failure::System(error))),
    }
}
