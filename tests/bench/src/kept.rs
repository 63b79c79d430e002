//! Counts of one step that stand in a file: a change that costs more must say so there.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::args::Options;
use crate::compare::{Scratch, programs};
use crate::program::{Program, first_line};
use crate::steps::{Place, STEPS, Step, Tool, per_step};

/// By how much a count may grow unsaid: callgrind's differ by less from run to run.
const TOLERANCE: f64 = 0.02;
/// The same for counts that are next to nothing.
const LEAST: f64 = 0.05;

/// A step is counted so often at most: what an allocation costs depends on where the one before it came to lie, by 3 % of a
/// connection.
const ROUNDS: usize = 12;
/// The same for those that are written to the file.
const ROUNDS_KEPT: usize = 3;

/// Counts by step and name.
type Kept = BTreeMap<(String, String), f64>;

/// `FILE [--bless] --portway BIN`: counts, and compares with the file, or writes it.
pub fn run(args: &[String]) -> Result<()> {
    let (blesses, args): (Vec<_>, Vec<_>) = args.iter().cloned().partition(|arg| arg == "--bless");
    let Some((file, args)) = args.split_first() else { bail!("kept FILE [--bless] --portway BIN") };
    let mut options = Options::parse(args)?;
    options.peers = Some(Vec::new());
    let (programs, _) = programs(&options)?;
    let program = programs.first().context("no build of Portway is named: --portway BIN")?;
    let compiler = first_line(Path::new("rustc"), &["--version"]);
    let before = if blesses.is_empty() {
        std::fs::read_to_string(file).with_context(|| file.clone())?
    } else {
        String::new()
    };
    let (kept, mut least) = (read(&before)?, Kept::new());
    let mut again: Vec<&Step> = STEPS.iter().collect();
    // The least counts: see ROUNDS.
    for _ in 0..if blesses.is_empty() { ROUNDS } else { ROUNDS_KEPT } {
        for (key, count) in count(program, &again)? {
            least.entry(key).and_modify(|least: &mut f64| *least = least.min(count)).or_insert(count);
        }
        if blesses.is_empty() {
            let worse = compared(&kept, &least).0;
            again.retain(|step| worse.iter().any(|worse| worse.starts_with(&format!("{}: ", step.title))));
        }
    }
    if !blesses.is_empty() {
        return std::fs::write(file, text(&compiler, &least)).with_context(|| file.clone());
    }
    let (worse, report) = compared(&kept, &least);
    print!("{report}");
    let of = before.lines().next().unwrap_or_default().trim_start_matches("# ");
    ensure!(
        worse.is_empty(),
        "more than {}: {} (counted with {compiler}, the file with {of}): spend less, or say in the message of the change why \
         not, and write the file anew with --bless",
        Path::new(file).display(),
        worse.join(", "),
    );
    Ok(())
}

fn count(program: &Program, steps: &[&Step]) -> Result<Kept> {
    let (dir, mut runs, mut counted) = (Scratch::new()?, 0, Kept::new());
    for step in steps {
        for tool in [Tool::Callgrind, Tool::Memcheck] {
            let counts = per_step(tool, step, program, Place { dir: &dir.path, runs: &mut runs });
            for (name, count) in counts.with_context(|| step.title)? {
                counted.insert((step.title.to_owned(), name), count);
            }
        }
    }
    Ok(counted)
}

fn text(compiler: &str, kept: &Kept) -> String {
    let mut text = format!("# {compiler}\n");
    for ((step, name), count) in kept {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{step}: {name} {count:.*}", if *count >= 100.0 { 0 } else { 2 });
    }
    text
}

fn read(text: &str) -> Result<Kept> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let kept = lines.map(|line| {
        let (step, count) = line.rsplit_once(": ")?;
        let (name, count) = count.split_once(' ')?;
        Some(((step.to_owned(), name.to_owned()), count.parse().ok()?))
    });
    kept.collect::<Option<Kept>>().context("a line is not `STEP: NAME COUNT`")
}

/// What has become worse, and a line for each count.
fn compared(before: &Kept, now: &Kept) -> (Vec<String>, String) {
    let (mut worse, mut report) = (Vec::new(), String::new());
    for (key, count) in now {
        let old = before.get(key).copied();
        let is_worse = old.is_none_or(|old| *count > old * (1.0 + TOLERANCE) + LEAST);
        let (step, name) = key;
        if is_worse {
            worse.push(format!("{step}: {name}"));
        }
        let old = old.map_or("-".to_owned(), |old| format!("{old:.2}"));
        // Writing to a string cannot fail.
        let _ =
            writeln!(report, "{} {step}: {name} {count:.2} (kept: {old})", if is_worse { "!" } else { " " });
    }
    (worse, report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(counts: &[(&str, &str, f64)]) -> Kept {
        counts.iter().map(|(step, name, count)| (((*step).to_owned(), (*name).to_owned()), *count)).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let counts = kept(&[("64 B there: and back", "instructions", 4711.0), ("x", "allocations", 0.25)]);
        let text = text("rustc 1.0", &counts);
        assert_eq!(text, "# rustc 1.0\n64 B there: and back: instructions 4711\nx: allocations 0.25\n");
        assert_eq!(read(&text).unwrap(), counts);
        assert!(read("nonsense\n").is_err());
    }

    #[test]
    fn two_percent_are_let_through_and_more_is_not() {
        let before = kept(&[("a", "instructions", 1000.0), ("a", "allocations", 0.0)]);
        let worse = |instructions, allocations| {
            let now = kept(&[("a", "instructions", instructions), ("a", "allocations", allocations)]);
            compared(&before, &now).0
        };
        assert_eq!(worse(1020.0, 0.05), Vec::<String>::new());
        assert_eq!(worse(500.0, 0.0), Vec::<String>::new());
        assert_eq!(worse(1021.0, 0.0), ["a: instructions"]);
        assert_eq!(worse(1000.0, 0.06), ["a: allocations"]);
        // One that the file does not know.
        let now = kept(&[("b", "instructions", 1.0)]);
        assert_eq!(compared(&before, &now).0, ["b: instructions"]);
    }
}
