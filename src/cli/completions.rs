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
        let text = self.shell.with_names(&String::from_utf8_lossy(&text), &whole);
        say(&mut std::io::stdout().lock(), &text)
    }
}

/// What a shell runs to know the names of what runs.
const NAMES: [(&str, &str); 2] =
    [("ROUTE", "portway names routes 2>/dev/null"), ("UPSTREAM", "portway names upstreams 2>/dev/null")];

impl Shell {
    /// Lets the shell ask the running proxy where a route or an upstream is to be named. clap knows such words only with a
    /// feature that it calls unstable; what it writes for other words is always the same.
    fn with_names(self, text: &str, whole: &clap::Command) -> String {
        match self {
            Shell::Bash => bash(text, whole),
            Shell::Zsh => zsh(text),
            Shell::Fish => fish(text, whole),
        }
    }
}

/// What a shell runs for this argument. `None`: it is no name of what runs.
fn asks(arg: &clap::Arg) -> Option<&'static str> {
    let names = arg.get_value_names().unwrap_or_default();
    NAMES.iter().find(|(name, _)| names.iter().any(|of| of.as_str() == *name)).map(|(_, ask)| *ask)
}

/// A positional argument is one of the words of its command, and an option completes files.
fn bash(text: &str, whole: &clap::Command) -> String {
    let mut all = String::with_capacity(text.len() + 1024);
    let (mut command, mut option) = (None, None);
    for line in text.lines() {
        let said = line.trim();
        if let Some(name) = said.strip_prefix("portway__subcmd__").and_then(|rest| rest.strip_suffix(')')) {
            command = whole.find_subcommand(name);
        }
        let of =
            |long: &str| command?.get_arguments().find(|arg| arg.get_long() == Some(long)).and_then(asks);
        option = match said.strip_prefix("--").and_then(|rest| rest.strip_suffix(')')) {
            Some(long) => of(long),
            None => option.filter(|_| !said.starts_with("return")),
        };
        let words = command.and_then(|command| command.get_positionals().find_map(asks));
        let line = match (option, words) {
            (Some(ask), _) => line.replace("compgen -f", &format!("compgen -W \"$({ask})\" --")),
            (None, Some(ask)) if said.starts_with("opts=") => {
                format!("{} $({ask})\"", line.trim_end_matches('"'))
            }
            _ => line.to_owned(),
        };
        all += &line;
        all.push('\n');
    }
    all
}

/// Each argument ends with its name and with what completes it.
fn zsh(text: &str) -> String {
    let mut whole = text.to_owned();
    for (name, ask) in NAMES {
        let function = format!("_portway_names_{}", name.to_lowercase());
        whole = whole.replace(&format!(":{name}:_default"), &format!(":{name}:{function}"));
        for positional in [format!(":{} ", name.to_lowercase()), format!(":{} --", name.to_lowercase())] {
            let lines = whole.lines().map(|line| match line.contains(&positional) {
                true => line.replace(":_default", &format!(":{function}")) + "\n",
                false => format!("{line}\n"),
            });
            whole = lines.collect();
        }
        let asks = format!("{function}() {{\n    compadd -- ${{(f)\"$({ask})\"}}\n}}\n");
        whole = whole.replacen("\n_portway() {", &format!("\n{asks}\n_portway() {{"), 1);
    }
    whole
}

/// The words that an argument takes, for fish. clap writes those of options only.
fn words(arg: &clap::Arg) -> Option<String> {
    if let Some(ask) = asks(arg) {
        return Some(format!("({ask})"));
    }
    let values = arg.get_possible_values();
    let words: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
    Some(words.join(" ")).filter(|words| arg.is_positional() && !words.is_empty())
}

/// What is said of an option twice is put together.
fn fish(text: &str, whole: &clap::Command) -> String {
    let mut text = text.to_owned();
    for command in whole.get_subcommands() {
        for arg in command.get_arguments() {
            let Some(words) = words(arg) else { continue };
            let option = arg.get_long().map(|long| format!(" -l {long} -r")).unwrap_or_default();
            let command = command.get_name();
            text += &format!(
                "complete -c portway -n \"__fish_portway_using_subcommand {command}\"{option} -f -a \"{words}\"\n"
            );
        }
    }
    text
}
