//! What one step costs, counted instead of timed: instructions in user space (callgrind), allocations (memcheck) or system
//! calls (strace).
//! Each count is the difference of two runs that differ in nothing but the number of steps, divided by that number:
//! start and end fall out. One connection at a time, and all on one core where backend and load give way to the program: it
//! sleeps again before the next byte comes, so no two share a wake-up, and the count does not depend on time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::args::Options;
use crate::compare::{Scratch, programs};
use crate::helper::{Backend, Load, Order};
use crate::program::{Kind, Program, Setup, find};
use crate::rows::Extra;
use crate::table::markdown;
use crate::{machine, sys};

/// What counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tool {
    /// valgrind's callgrind: instructions in user space.
    Callgrind,
    /// valgrind's memcheck: allocations.
    Memcheck,
    /// strace: system calls, by name.
    Strace,
}

/// A step that is counted.
pub struct Step {
    /// What it is, for a person.
    pub title: &'static str,
    /// The load that does it.
    load: &'static str,
    /// The number in the load that says how many.
    count: &'static str,
    /// Its other numbers.
    numbers: &'static [(&'static str, u64)],
}

const PING: [(&str, u64); 5] = [("connections", 1), ("size", 64), ("warm", 10), ("rate", 0), ("flow", 0)];
const PING_16K: [(&str, u64); 5] =
    [("connections", 1), ("size", 16 * 1024), ("warm", 10), ("rate", 0), ("flow", 0)];
const DATAGRAM: [(&str, u64); 4] = [("clients", 1), ("size", 200), ("warm", 10), ("rate", 0)];
/// What is counted.
pub const STEPS: [Step; 5] = [
    Step { title: "64 B there and back", load: "ping", count: "requests", numbers: &PING },
    Step { title: "16 KiB there and back", load: "ping", count: "requests", numbers: &PING_16K },
    Step {
        title: "connection, 1 byte each way",
        load: "churn",
        count: "connections",
        numbers: &[("slots", 1), ("warm", 10), ("hello", 0), ("reset", 0)],
    },
    Step {
        title: "the same, ends with RST",
        load: "churn",
        count: "connections",
        numbers: &[("slots", 1), ("warm", 10), ("hello", 0), ("reset", 1)],
    },
    Step {
        title: "datagram, 200 B there and back",
        load: "datagrams",
        count: "requests",
        numbers: &DATAGRAM,
    },
];

impl Step {
    fn is_udp(&self) -> bool {
        self.load == "datagrams"
    }
}

/// Counts by name, of one run or of one step.
pub type Counts = BTreeMap<String, f64>;

impl Tool {
    /// Steps in the two runs.
    fn steps(self, step: &Step) -> (u64, u64) {
        match (self, step.load) {
            (Tool::Strace, _) | (_, "churn") => (100, 1_100),
            (_, _) => (1_000, 11_000),
        }
    }

    fn command(self, dir: &Path) -> Result<Vec<String>> {
        let dir = dir.display();
        let (name, args) = match self {
            Tool::Callgrind => {
                let out = format!("--callgrind-out-file={dir}/count.%p");
                ("valgrind", vec!["--tool=callgrind".to_owned(), "--quiet".to_owned(), out])
            }
            Tool::Memcheck => {
                let log = format!("--log-file={dir}/count.%p");
                ("valgrind", vec!["--leak-check=no".to_owned(), log])
            }
            Tool::Strace => {
                let words = "-f -c -U name,calls,errors -o".split(' ').map(str::to_owned);
                ("strace", words.chain([format!("{dir}/count.all")]).collect())
            }
        };
        let path = find(name).with_context(|| format!("{name} is not installed (Debian package {name})"))?;
        Ok([vec![path.display().to_string()], args].concat())
    }

    /// Adds what one file of the tool says.
    fn read(self, text: &str, counts: &mut Counts) {
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok());
            match (self, words.first()) {
                (Tool::Callgrind, Some(&"totals:")) => {
                    *counts.entry("instructions".to_owned()).or_default() += number(1).unwrap_or(0.0);
                }
                // ==PID==   total heap usage: 1,234 allocs, …
                (Tool::Memcheck, Some(_)) if line.contains("total heap usage:") => {
                    let allocs = words.get(4).and_then(|word| word.replace(',', "").parse::<f64>().ok());
                    *counts.entry("allocations".to_owned()).or_default() += allocs.unwrap_or(0.0);
                }
                (Tool::Strace, Some(name)) if *name != "total" => {
                    let Some(calls) = number(1) else { continue };
                    *counts.entry((*name).to_owned()).or_default() += calls;
                    *counts.entry("all".to_owned()).or_default() += calls;
                    *counts.entry(format!("{name}{FAILED}")).or_default() += number(2).unwrap_or(0.0);
                }
                _ => {}
            }
        }
    }
}

/// Marks the count of calls that failed, `EAGAIN` among them.
const FAILED: &str = ", failed";

/// Counts, and prints one table. Takes `--portway` and `--peers` as `compare` does; without `--peers`, no peer.
pub fn run(tool: Tool, args: &[String]) -> Result<()> {
    let mut options = Options::parse(args)?;
    options.peers.get_or_insert_default();
    let (mut programs, missing) = programs(&options)?;
    for missing in &missing {
        eprintln!("MISSING: {}: {}", missing.name, missing.why);
    }
    programs.retain(|program| program.kind != Kind::Direct);
    let (dir, mut runs, mut lines) = (Scratch::new()?, 0, vec![header(&programs)]);
    for step in &STEPS {
        let mut counts = Vec::new();
        for program in &programs {
            if step.is_udp() && !program.kind.forwards_udp() {
                counts.push(Counts::new());
                continue;
            }
            eprintln!("  {}, {}", step.title, program.name);
            let one = per_step(tool, step, program, Place { dir: &dir.path, runs: &mut runs });
            counts.push(one.with_context(|| format!("{}, {}", step.title, program.name))?);
        }
        lines.extend(table_lines(step.title, &counts));
    }
    println!("{}\nper step\n\n{}", machine::Machine::look(sys::cores()?.len()).text(), markdown(&lines));
    Ok(())
}

fn header(programs: &[Program]) -> Vec<String> {
    let names = programs.iter().map(|program| program.name.clone());
    ["step".to_owned(), String::new()].into_iter().chain(names).collect()
}

fn table_lines(title: &str, counts: &[Counts]) -> Vec<Vec<String>> {
    let names: BTreeSet<&String> = counts.iter().flat_map(BTreeMap::keys).collect();
    let least =
        |name: &str| counts.iter().any(|counts| counts.get(name).is_some_and(|count| *count >= 0.005));
    let names = names.into_iter().filter(|name| !name.ends_with(FAILED) && least(name));
    let line = |(at, name): (usize, &String)| {
        let cells = counts.iter().map(|counts| {
            let failed = counts.get(&format!("{name}{FAILED}")).copied().unwrap_or(0.0);
            let count = counts.get(name).copied().unwrap_or(0.0);
            let failed = if failed >= 0.005 { format!(" ({failed:.2} failed)") } else { String::new() };
            format!("{count:.*}{failed}", if count >= 100.0 { 0 } else { 2 })
        });
        let title = if at == 0 { title.to_owned() } else { String::new() };
        [title, name.clone()].into_iter().chain(cells).collect()
    };
    names.enumerate().map(line).collect()
}

/// Where the files of the runs go, and how many runs there were.
pub struct Place<'a> {
    pub dir: &'a Path,
    pub runs: &'a mut u16,
}

/// What one step costs a program, by name.
pub fn per_step(tool: Tool, step: &Step, program: &Program, place: Place<'_>) -> Result<Counts> {
    let Place { dir, runs } = place;
    let (few, many) = tool.steps(step);
    let less = counted(tool, step, program, (dir, few, runs))?;
    let mut counts = counted(tool, step, program, (dir, many, runs))?;
    for (name, count) in &mut counts {
        *count = (*count - less.get(name).copied().unwrap_or(0.0)) / (many - few) as f64;
    }
    Ok(counts)
}

/// One run of a program under the tool, with `number` steps.
fn counted(
    tool: Tool,
    step: &Step,
    program: &Program,
    (dir, number, runs): (&Path, u64, &mut u16),
) -> Result<Counts> {
    sys::run_on(sys::cores()?.get(..1).context("no core")?)?;
    let backend = Backend::start()?;
    backend.give_way()?;
    let under = tool.command(dir)?;
    let setup = Setup {
        dir,
        upstream: backend.address,
        cores: 1,
        connections: 1000,
        udp: step.is_udp(),
        extra: Extra::None,
        under: &under,
    };
    let running = program.start(setup)?;
    *runs += 1;
    let numbers: Vec<(&str, u64)> = step.numbers.iter().copied().chain([(step.count, number)]).collect();
    let order = Order { kind: step.load, numbers: &numbers, limit: 300 };
    let mut load = Load::start(&order, running.address, *runs)?;
    load.give_way()?;
    load.work()?;
    drop(load);
    running.stop(tool == Tool::Strace)?;

    let mut counts = Counts::new();
    for entry in fs::read_dir(dir)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("count.") {
            tool.read(&fs::read_to_string(entry.path())?, &mut counts);
            fs::remove_file(entry.path())?;
        }
    }
    ensure!(!counts.is_empty(), "the tool counted nothing");
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callgrinds_total_is_read() {
        let mut counts = Counts::new();
        Tool::Callgrind.read("events: Ir\nsummary: 12\n\nfn=(1)\n1 12\ntotals: 4711\n", &mut counts);
        assert_eq!(counts, Counts::from([("instructions".to_owned(), 4711.0)]));
    }

    #[test]
    fn memchecks_allocations_are_read() {
        let mut counts = Counts::new();
        let text = "==7== HEAP SUMMARY:\n==7==   total heap usage: 1,234 allocs, 1,200 frees, 9,999 bytes allocated\n";
        Tool::Memcheck.read(text, &mut counts);
        assert_eq!(counts, Counts::from([("allocations".to_owned(), 1234.0)]));
    }

    #[test]
    fn straces_calls_are_read_with_their_failures() {
        let text = "syscall          calls    errors\n---------- --------- ---------\n\
                    recvfrom           400       200\nclose               20\n---------- --------- ---------\n\
                    total              420       200\n";
        let mut counts = Counts::new();
        Tool::Strace.read(text, &mut counts);
        assert_eq!(counts["recvfrom"], 400.0);
        assert_eq!(counts["recvfrom, failed"], 200.0);
        assert_eq!(counts["close"], 20.0);
        assert_eq!(counts["all"], 420.0);
        assert!(!counts.contains_key("total"));
        let lines = table_lines("x", &[counts]);
        assert_eq!(lines[1], ["", "close", "20.00"]);
        assert_eq!(lines[2], ["", "recvfrom", "400 (200.00 failed)"]);
    }
}
