//! Layer 7: the command line. Each command is one module with its `Args` and its `run`.

mod admin;
mod by_hand;
mod check;
mod completions;
mod config_file;
mod connections;
mod demo;
mod drain;
mod example;
mod forward;
mod from;
mod groups;
mod hints;
mod import;
mod man;
mod man_file;
mod names;
mod output;
mod plan;
mod probe;
mod progress;
mod pull;
mod reload;
mod routes;
mod run;
mod schema;
mod status;
mod table;
mod top;
mod upgrade;
mod upstreams;
mod whoami;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// A TCP and UDP reverse proxy and port forwarder: one binary, one TOML file that can be edited while it runs.
#[derive(Debug, Parser)]
#[command(name = "portway", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::Args>),
    Status(status::Args),
    Routes(routes::Args),
    Upstreams(upstreams::Args),
    Plan(plan::Args),
    Connections(connections::Args),
    Kill(connections::KillArgs),
    Reload(reload::Args),
    Top(top::Args),
    Drain(drain::Args),
    Upgrade(upgrade::Args),
    Disable(by_hand::DisableArgs),
    Enable(by_hand::EnableArgs),
    Weight(by_hand::WeightArgs),
    Forward(Box<forward::Args>),
    Whoami(whoami::Args),
    Probe(probe::Args),
    Check(check::Args),
    Import(import::Args),
    Pull(Box<pull::Args>),
    Schema(schema::Args),
    Example(example::Args),
    Demo(demo::Args),
    Completions(completions::Args),
    Man(man::Args),
    #[command(hide = true)]
    Names(names::Args),
    /// Prints the version, as --version does.
    Version,
}

/// Parses the command line and runs the command. Exit codes: 0 fine; 1 it ran and failed; 2 the command line or the
/// file is wrong; 3 `plan` and `import`: there is something to look at.
pub fn main() -> ExitCode {
    // As clap does: an argument that is not UTF-8 is shown as far as it can be.
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into()).collect();
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        let error = hints::with_usage(error, Cli::command(), &arguments);
        hints::with_hint(error, &arguments).exit()
    });
    match cli.command {
        Command::Run(args) => run::run(*args),
        Command::Status(args) => status::run(&args),
        Command::Routes(args) => routes::run(&args),
        Command::Upstreams(args) => upstreams::run(&args),
        Command::Disable(args) => by_hand::disable(&args),
        Command::Enable(args) => by_hand::enable(&args),
        Command::Weight(args) => by_hand::weight(&args),
        Command::Names(args) => names::run(&args),
        Command::Connections(args) => connections::run(&args),
        Command::Kill(args) => connections::kill(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Drain(args) => drain::run(&args),
        Command::Upgrade(args) => upgrade::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Forward(args) => forward::run(*args),
        Command::Whoami(args) => whoami::run(args),
        Command::Probe(args) => probe::run(args),
        Command::Check(args) => args.run(),
        Command::Import(args) => import::run(&args),
        Command::Pull(args) => pull::run(&args),
        Command::Schema(args) => args.run(),
        Command::Example(args) => args.run(),
        Command::Demo(args) => demo::run(args),
        Command::Completions(args) => args.run(Cli::command()),
        Command::Man(args) => args.run(Cli::command()),
        Command::Version => output::say(&mut std::io::stdout().lock(), &Cli::command().render_version()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// clap breaks lines where the terminal ends: a line end in the text would be a second break.
    #[test]
    fn no_line_of_a_help_ends_in_the_middle_of_a_sentence() {
        for command in Cli::command().get_subcommands() {
            let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in notes.lines().filter(|line| !line.is_empty() && !line.starts_with(' ')) {
                assert!(line.ends_with(['.', ':']), "{}: {line}", command.get_name());
            }
        }
    }
}
