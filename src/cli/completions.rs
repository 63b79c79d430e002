//! `portway completions`: what a shell needs to complete the command line.

use std::process::ExitCode;

use clap::ValueEnum;
use clap_complete::shells::{Bash, Fish, Zsh};

use super::output::say;

/// Prints the completions of the command line for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  portway completions bash > ~/.local/share/bash-completion/completions/portway
  portway completions zsh > ~/.zfunc/_portway        (a folder of your $fpath)
  portway completions fish > ~/.config/fish/completions/portway.fish")]
pub struct Args {
    /// Which shell.
    shell: Shell,
}

/// The shells that completions exist for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    /// Bash, with the package bash-completion or without it.
    Bash,
    /// Zsh.
    Zsh,
    /// Fish.
    Fish,
}

impl Args {
    /// Prints the completions to standard output. `whole`: the definition of the command line.
    pub fn run(&self, mut whole: clap::Command) -> ExitCode {
        let (name, mut text) = (whole.get_name().to_owned(), Vec::new());
        match self.shell {
            Shell::Bash => clap_complete::generate(Bash, &mut whole, name, &mut text),
            Shell::Zsh => clap_complete::generate(Zsh, &mut whole, name, &mut text),
            Shell::Fish => clap_complete::generate(Fish, &mut whole, name, &mut text),
        }
        say(&mut std::io::stdout().lock(), &String::from_utf8_lossy(&text))
    }
}
