//! `portway example`: files to begin with, from the binary, and what the outcomes mean.

use std::fmt::Write;
use std::process::ExitCode;

use clap::builder::{PossibleValue, PossibleValuesParser};

use super::output::say;
use crate::model::{DataPath, Outcome};

/// Prints an example of a file: every key with its default, or one for a purpose; or what outcomes and data paths mean
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  portway example > portway.toml
  portway example tls | portway check -
  portway example outcomes | grep -A 2 connect-failed")]
pub struct Args {
    /// Which one.
    #[arg(value_parser = names(), default_value = "every-key")]
    name: String,
}

/// The files of `config/`, each by its name without `.toml`.
macro_rules! files {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../config/", $name, ".toml")))),*]
    };
}

/// Every file, the one that has all keys first.
const FILES: &[(&str, &str)] = files![
    "every-key" "portway" "access" "admin" "balance" "careful-edits" "failover" "front-door" "health" "internet" "ipv6"
    "limits" "port-range" "proxy-protocol" "sni" "tls" "transparent" "udp" "unix-socket"
];

/// The name of what is no file.
const OUTCOMES: &str = "outcomes";

impl Args {
    /// Prints it to standard output.
    pub fn run(&self) -> ExitCode {
        let text = file(&self.name).map_or_else(outcomes, str::to_owned);
        say(&mut std::io::stdout().lock(), &text)
    }
}

/// The text of a file of `config/`. `None`: there is none of this name.
pub(super) fn file(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// What may stand after `portway example`: shells complete it, and `--help` says what it is.
fn names() -> PossibleValuesParser {
    let files = FILES.iter().map(|(name, text)| PossibleValue::new(*name).help(about(text)));
    let outcomes =
        PossibleValue::new(OUTCOMES).help("How connections end, whose doing it is, what to look at");
    PossibleValuesParser::new(files.chain([outcomes]))
}

/// The first sentence of a file.
fn about(text: &'static str) -> &'static str {
    let line = text.lines().next().unwrap_or_default().trim_start_matches("# ");
    let sentence = line.split_once(". ").map_or(line, |(sentence, _)| sentence);
    sentence.trim_end_matches(['.', ':'])
}

/// Each outcome and each data path, with what it means and what to look at.
fn outcomes() -> String {
    let mut text = "How a connection ended: `outcome` and `blame` of the access log.\n".to_owned();
    // Writing to a string cannot fail.
    for outcome in Outcome::ALL {
        let (blame, meaning, look_at) = (outcome.blame(), outcome.meaning(), outcome.look_at());
        let _ = write!(text, "\n{outcome} (blame: {blame})\n    {meaning}\n    Look at: {look_at}.\n");
    }
    text += "\nHow its bytes went: `path`.\n";
    for path in DataPath::ALL {
        let _ = write!(text, "\n{path}\n    {}\n    Why: {}.\n", path.meaning(), path.why());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_config_is_in_the_binary_and_says_what_it_is_for() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // Pairs of files of other programs and ours.
            if path.is_dir() {
                continue;
            }
            let name = path.file_stem().unwrap().to_str().unwrap();
            let text = file(name).unwrap_or_else(|| panic!("{name} is not in the binary"));
            assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{name}");
            assert!(
                text.starts_with("# ") && (10..110).contains(&about(text).len()),
                "{name}: {}",
                about(text)
            );
            count += 1;
        }
        assert_eq!(count, FILES.len());
    }

    #[test]
    fn what_an_outcome_means_is_one_short_sentence() {
        for outcome in Outcome::ALL {
            let (meaning, look_at) = (outcome.meaning(), outcome.look_at());
            assert!(meaning.ends_with('.') && meaning.len() < 160, "{outcome}: {meaning}");
            assert!(!look_at.ends_with('.') && look_at.len() < 70, "{outcome}: {look_at}");
            assert!(!format!("{meaning}{look_at}").contains(['|', '\n', '[']), "{outcome}");
        }
    }
}
