//! `compare`: every program, every row, in alternating rounds; then the table.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::args::Options;
use crate::config::STREAM_MODULE;
use crate::machine::Machine;
use crate::measure::Bench;
use crate::program::{Kind, Program, Variant, find, first_line};
use crate::rows::{self, Extra, Row, Work};
use crate::sys;
use crate::table::{Missing, Results};

/// Descriptors that a process of the benchmark needs beside its connections.
const SPARE_DESCRIPTORS: u64 = 500;

/// How long `--short` may take, unless it is told how many rounds.
const SHORT: Duration = Duration::from_secs(170);

/// Measures and prints. Errors: a program that does not start, or any request that failed; what was measured until
/// then is printed all the same.
pub fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let descriptors = sys::raise_descriptors()?;
    let (proxy, load) = split_cores(options.both_cores)?;
    let machine = Machine::look(sys::cores()?.len());
    let (programs, missing) = programs(&options)?;
    let rows = pick_rows(&options, descriptors)?;
    let rounds = options.rounds.unwrap_or(if options.short { 3 } else { 5 });
    let dir = Scratch::new()?;

    let mut results = Results { rows, programs, missing, values: BTreeMap::new() };
    let mut bench = Bench { dir: &dir.path, proxy: proxy.clone(), load: load.clone(), next: 0 };
    let budget = (options.short && options.rounds.is_none()).then_some(SHORT);
    let outcome = all_rounds(&mut results, &mut bench, rounds, budget);

    let rounds = results.values.values().map(Vec::len).max().unwrap_or(0);
    let title = title(&options, rounds, &proxy, &load);
    let mut text = format!("\n{}\n{title}\n", machine.text());
    text.extend(machine.warning().map(|warning| format!("{warning}\n")));
    text.push_str(&results.text());
    std::io::stdout().lock().write_all(text.as_bytes())?;
    if let Some(path) = &options.json {
        let json = document(&machine, &title, args, &results, &outcome);
        fs::write(path, format!("{json:#}\n")).with_context(|| path.display().to_string())?;
    }
    outcome
}

fn all_rounds(
    results: &mut Results,
    bench: &mut Bench,
    rounds: usize,
    budget: Option<Duration>,
) -> Result<()> {
    let began = Instant::now();
    for round in 0..rounds {
        // Would one more, as long as the others, still fit?
        let next = began.elapsed() * (round as u32 + 1) / (round as u32).max(1);
        if round > 0 && budget.is_some_and(|budget| next > budget) {
            eprintln!("only {round} of {rounds} rounds: no time is left for another");
            return Ok(());
        }
        for row in 0..results.rows.len() {
            for turn in 0..results.programs.len() {
                // Each round begins with another program.
                let program = (turn + round) % results.programs.len();
                if takes_part(&results.programs[program], &results.rows[row]) {
                    one(results, bench, (row, program))
                        .with_context(|| format!("round {} of {rounds}", round + 1))?;
                }
            }
        }
        eprintln!("round {} of {rounds} is done", round + 1);
    }
    Ok(())
}

/// What some do not have, or not without a proxy, is compared with those that do. Forced splicing is for bulk; a direct connection has no proxy that could hold anything.
fn takes_part(program: &Program, row: &Row) -> bool {
    match program.kind {
        Kind::Haproxy { splice: true } | Kind::Realm | Kind::Direct if row.work.extra() != Extra::None => {
            false
        }
        Kind::Haproxy { .. } | Kind::Realm if row.is_udp() => false,
        Kind::Haproxy { splice: true } => row.is_bulk(),
        Kind::Direct => !matches!(row.work, Work::Hold { .. }),
        _ => true,
    }
}

fn one(results: &mut Results, bench: &mut Bench, (row, program): (usize, usize)) -> Result<()> {
    let (name, row_name) = (&results.programs[program].name, results.rows[row].name);
    let values = bench
        .measure(&results.programs[program], results.rows[row].work)
        .with_context(|| format!("row {row_name}, {name}"))?;
    let shown: Vec<String> = results.rows[row]
        .metrics
        .iter()
        .filter_map(|metric| Some(format!("{:.*} {}", metric.digits, values.get(metric.key)?, metric.label)))
        .collect();
    eprintln!("  {row_name:12} {name:16} {}", shown.join(", "));
    results.values.entry((row, program)).or_default().push(values);
    Ok(())
}

/// The proxy's cores, and those of load and backend.
fn split_cores(both: bool) -> Result<(Vec<usize>, Vec<usize>)> {
    match *sys::cores()? {
        [first, second, ..] if both => Ok((vec![first, second], vec![first, second])),
        [first, second, ..] => Ok((vec![first], vec![second])),
        _ => bail!("the benchmark needs two cores"),
    }
}

fn title(options: &Options, rounds: usize, proxy: &[usize], load: &[usize]) -> String {
    let work = if options.short { "short" } else { "full" };
    let place = if options.both_cores {
        format!("all on cores {proxy:?}")
    } else {
        format!("proxy on core {proxy:?}, load and backend on core {load:?}")
    };
    format!("{rounds} alternating rounds of the {work} work, {place}; median (min–max)")
}

fn pick_rows(options: &Options, descriptors: u64) -> Result<Vec<Row>> {
    let mut rows = rows::all(options.short);
    if let Some(wanted) = &options.rows {
        for name in wanted {
            let known: Vec<&str> = rows.iter().map(|row| row.name).collect();
            ensure!(known.contains(&name.as_str()), "no row `{name}`; there are {}", known.join(", "));
        }
        rows.retain(|row| wanted.iter().any(|name| name == row.name));
    }
    for row in &rows {
        if let Work::Hold { connections, .. } = row.work {
            let needed = 2 * connections + SPARE_DESCRIPTORS;
            ensure!(
                needed <= descriptors,
                "row `hold` needs {needed} descriptors, the hard limit is {descriptors}: raise it (ulimit -Hn), or \
                 leave the row out with --rows"
            );
        }
    }
    Ok(rows)
}

/// Those that are here, and those that are not.
pub fn programs(options: &Options) -> Result<(Vec<Program>, Vec<Missing>)> {
    let mut programs = Vec::new();
    for (name, variant) in &options.portway {
        programs.push(portway(name, variant)?);
    }
    let mut missing = Vec::new();
    let wanted =
        |name: &str| options.peers.as_ref().is_none_or(|peers| peers.iter().any(|peer| peer == name));
    let peers = [
        ("haproxy", Kind::Haproxy { splice: false }, "-v"),
        ("haproxy-splice", Kind::Haproxy { splice: true }, "-v"),
        ("nginx", Kind::Nginx, "-v"),
        ("realm", Kind::Realm, "--version"),
        ("direct", Kind::Direct, ""),
    ];
    for name in options.peers.iter().flatten().filter(|name| *name != "none") {
        ensure!(peers.iter().any(|(peer, _, _)| peer == name), "no peer `{name}`");
    }
    for (name, kind, flag) in peers {
        if !wanted(name) {
            continue;
        }
        let version = match present(&kind) {
            Ok(Some(path)) => first_line(&path, &[flag]),
            Ok(None) => String::new(),
            Err(error) => {
                missing.push(Missing { name: name.to_owned(), why: error.to_string() });
                continue;
            }
        };
        programs.push(Program { name: name.to_owned(), kind, version });
    }
    Ok((programs, missing))
}

/// Where a peer's program is; `None`: it needs none. Errors: it is not installed.
fn present(kind: &Kind) -> Result<Option<PathBuf>> {
    let name = match kind {
        Kind::Haproxy { .. } => "haproxy",
        Kind::Nginx => "nginx",
        Kind::Realm => "realm",
        Kind::Direct | Kind::Portway(_) => return Ok(None),
    };
    let path = find(name).with_context(|| format!("{name} is not installed"))?;
    if *kind == Kind::Nginx && !Path::new(STREAM_MODULE).exists() {
        let built = Command::new(&path).arg("-V").output()?;
        let built_in =
            String::from_utf8_lossy(&built.stderr).split_whitespace().any(|word| word == "--with-stream");
        ensure!(built_in, "nginx has no stream module (Debian: libnginx-mod-stream)");
    }
    Ok(Some(path))
}

/// A build that has `run` is run with a file: then its access log can be off, as the peers' are.
fn portway(name: &str, variant: &Variant) -> Result<Program> {
    let help = Command::new(&variant.bin).args(["run", "--help"]).output();
    let help = help.with_context(|| format!("cannot run {}", variant.bin.display()))?;
    let file = help.status.success();
    ensure!(
        file || variant.keys.is_empty(),
        "{name}: this build has no `run`, so no key of a route can be set"
    );
    let version = first_line(&variant.bin, &["--version"]);
    let mut how = vec![if file { "run, access log off" } else { "forward" }.to_owned()];
    how.extend(variant.args.iter().cloned());
    how.extend(variant.env.iter().chain(&variant.keys).map(|(name, value)| format!("{name}={value}")));
    let kind = Kind::Portway(Variant { file, ..variant.clone() });
    Ok(Program { name: name.to_owned(), kind, version: format!("{version} ({})", how.join(", ")) })
}

fn document(
    machine: &Machine,
    title: &str,
    args: &[String],
    results: &Results,
    outcome: &Result<()>,
) -> Value {
    let mut json = results.json();
    json["machine"] = machine.json();
    json["title"] = json!(title);
    json["arguments"] = json!(args);
    json["error"] = json!(outcome.as_ref().err().map(|error| format!("{error:#}")));
    json
}

/// A folder for the programs' files; removed at the end.
pub struct Scratch {
    /// Where it is.
    pub path: PathBuf,
}

impl Scratch {
    /// A new folder.
    pub fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("portway-bench-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Scratch { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
