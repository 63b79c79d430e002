//! The judge of `portway upgrade`: pairs of every kind through one upgrade, many upgrades under new connections, and new
//! processes that die. Clients and backend are here, Portway is in processes of its own.

#[path = "../../../upgrade/between.rs"]
mod between;
mod crowd;
mod end;
mod faults;
mod live;
mod pairs;
mod report;
mod row;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub use faults::stand_between;

use crate::machine::Machine;
use crate::sys;

/// What `--help` prints.
const HELP: &str = "\
Judges `portway upgrade` of a release build, and prints a table.

tests/upgrade/judge [options]
  --portway BIN       this build; without it one is made
  --only A,B          of: pairs (each byte of many pairs through one upgrade), row (many upgrades under new connections),
                      faults (the new process dies at every step)
  --pairs N           how many; without it as many as the limit of descriptors allows, at most 10,000
  --every MS          between two questions of the pairs that measure the pause (default 10; 0: at once)
  --upgrades N        of the row (default 50)
  --rate N            its new connections a second (default 500)
  --faults N          how many (default 100)
";

/// A Portway that holds N connections needs two descriptors for each, 1,024 for pipes, a part of 32 in reserve, and some.
const PART_IN_RESERVE: u64 = 32;
const RESERVE: u64 = 1_024 + 100;

struct Options {
    portway: PathBuf,
    only: Vec<String>,
    pairs: u64,
    every: Duration,
    upgrades: u64,
    rate: u64,
    faults: u64,
}

impl Options {
    fn parse(args: &[String], limit: u64) -> Result<Options> {
        let most = (limit - limit / PART_IN_RESERVE).saturating_sub(RESERVE) / 2 / 100 * 100;
        let mut options = Options {
            portway: PathBuf::new(),
            only: ["pairs", "row", "faults"].map(str::to_owned).to_vec(),
            pairs: most.min(10_000),
            every: Duration::from_millis(10),
            upgrades: 50,
            rate: 500,
            faults: 100,
        };
        let mut args = args.iter();
        while let Some(option) = args.next() {
            let value = args.next().with_context(|| format!("{option} needs a value"))?;
            let number = || value.parse::<u64>().with_context(|| format!("{option} needs a number"));
            match option.as_str() {
                // One that is named is meant once: the build script adds its own only where there is none.
                "--portway" => options.portway = value.rsplit('=').next().unwrap_or(value).into(),
                "--only" => options.only = value.split(',').map(str::to_owned).collect(),
                "--pairs" => options.pairs = number()?,
                "--every" => options.every = Duration::from_millis(number()?),
                "--upgrades" => options.upgrades = number()?,
                "--rate" => options.rate = number()?,
                "--faults" => options.faults = number()?,
                other => bail!("no such option: {other} (see --help)"),
            }
        }
        options.portway = options.portway.canonicalize().context("--portway BIN")?;
        Ok(options)
    }

    fn wants(&self, scenario: &str) -> bool {
        self.only.iter().any(|only| only == scenario)
    }

    /// As the figures to reach say it, of so many pairs.
    fn mix(&self) -> pairs::Mix {
        let ninth = self.pairs / 9;
        pairs::Mix {
            all: self.pairs,
            bulk: ninth.min(1_000),
            half_closed: ninth.min(1_000),
            held: ninth.min(1_000),
            asking: (self.pairs / 90).min(100),
            every: self.every,
        }
    }
}

/// The role. Errors: a figure that has to be zero is not.
pub fn run(args: &[String]) -> Result<()> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{HELP}");
        return Ok(());
    }
    sys::in_a_namespace()?;
    shorten_queues()?;
    let limit = sys::raise_descriptors()?;
    let options = Options::parse(args, limit)?;
    let machine = Machine::look(sys::cores()?.len());
    let dir = std::env::temp_dir().join(format!("portway-judge-{}", std::process::id()));
    let judged = judge(&options, &dir, &report::Report::begin(&machine, limit));
    if judged.as_ref().is_ok_and(|clean| *clean) {
        std::fs::remove_dir_all(&dir)?;
    } else {
        eprintln!("upgrade: the logs are in {}", dir.display());
    }
    if judged? { Ok(()) } else { bail!("a figure that has to be zero is not") }
}

/// In this namespace: what nobody reads is to stand in every queue and pipe of thousands of connections at once, and the kernel
/// has only so much memory for all queues.
fn shorten_queues() -> Result<()> {
    for (name, sizes) in [("tcp_rmem", "4096 65536 131072"), ("tcp_wmem", "4096 16384 131072")] {
        std::fs::write(format!("/proc/sys/net/ipv4/{name}"), sizes).with_context(|| name.to_owned())?;
    }
    Ok(())
}

/// Runs what was asked for. Returns whether nothing was lost, refused or left.
fn judge(options: &Options, dir: &Path, report: &report::Report) -> Result<bool> {
    let mut clean = true;
    if options.wants("pairs") {
        clean &= report.pairs(&pairs::run(&options.portway, &dir.join("pairs"), options.mix())?);
    }
    if options.wants("row") {
        let row = row::Row { upgrades: options.upgrades, rate: options.rate, kept: 200 };
        clean &= report.row(&row::run(&options.portway, &dir.join("row"), row)?);
    }
    if options.wants("faults") {
        let faults = faults::Faults { faults: options.faults, idle: options.pairs.min(1_000), asking: 20 };
        clean &= report.faults(&faults::run(&options.portway, &dir.join("faults"), faults)?);
    }
    Ok(clean)
}
