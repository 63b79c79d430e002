//! `portway schema`: the JSON Schema of the file, for editors.

use std::process::ExitCode;

use super::output::say;
use crate::config;

/// Prints the JSON Schema of the file, for editors.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portway schema > portway.schema.json

The first line of the TOML file then names it:
  #:schema ./portway.schema.json")]
pub struct Args {}

impl Args {
    /// Prints the schema to standard output.
    pub fn run(&self) -> ExitCode {
        say(&mut std::io::stdout().lock(), &format!("{:#}\n", config::schema()))
    }
}
