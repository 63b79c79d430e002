//! `portway forward`: one route without a file.

use std::io::{self, Write};
use std::process::ExitCode;

use super::policy::PolicyArgs;
use crate::config;
use crate::server::run::{self, Source};

/// Forward one address to one or several upstreams, without a file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Signals: SIGTERM or SIGINT stops it once its connections have ended (at most 30 s later; exit code 0),
a second one at once; SIGUSR1 opens the access log again.

Example:
  portway forward 127.0.0.1:8080 app.internal:3000
  portway forward --protocol udp 127.0.0.1:5353 ns.internal:53")]
pub struct Args {
    /// Where to listen: "8080", "127.0.0.1:8080", "[::1]:8080", "unix:/path", "127.0.0.1:7000-7009".
    listen: String,
    /// Where to connect: in turn, see --balance. One that does not connect is skipped.
    #[arg(required = true)]
    upstream: Vec<String>,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Which messages to log: "error", "warn", "info", "debug", "trace", or a filter in tracing's syntax.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
    /// The format of messages and of the access log: "text" or "json".
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: String,
    /// Where one line per connection goes: "off", "stdout", "stderr" or a file.
    #[arg(long, value_name = "TARGET", default_value = "stderr")]
    access_log: String,
}

impl Args {
    /// The arguments as the text of a file.
    fn as_file(&self) -> String {
        let text = |text: &str| toml::Value::from(text);
        let (level, format, access) = (text(&self.log_level), text(&self.log_format), text(&self.access_log));
        let (listen, upstream) = (text(&self.listen), toml::Value::from(self.upstream.clone()));
        format!(
            "[log]\nlevel = {level}\nformat = {format}\naccess = {access}\n\n\
             [[route]]\nlisten = {listen}\nupstream = {upstream}\n{}",
            self.policy
        )
    }
}

/// Runs until a signal stops it. Exit code 0 after a stop, even if connections were cut; 1 if it could not start; 2 if
/// the arguments are wrong.
pub fn run(args: Args) -> ExitCode {
    match config::compile("the command line, as a file", args.as_file().as_bytes()) {
        Ok(compiled) => super::run::exit(run::main(Source::Fixed(Box::new(compiled)), crate::admin::serve)),
        Err(report) => {
            // If standard error is gone, the exit code is all that can be said.
            writeln!(io::stderr().lock(), "{report}").ok();
            ExitCode::from(2)
        }
    }
}
