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

/// Rounds after which a row of times stays undecided.
const DECIDED: usize = 15;

/// How long `--short` may take, unless it is told how many rounds.
const SHORT: Duration = Duration::from_secs(170);

/// Measures and prints. Errors: a program that does not start, or any request that failed; what was measured until
/// then is printed all the same.
pub fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    if !options.here {
        sys::in_a_namespace()?;
    }
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
    if budget.is_none() {
        for row in 0..results.rows.len() {
            decide(results, bench, (row, rounds))?;
        }
    }
    Ok(())
}

/// Goes on with a row of times at a given rate until it tells who is faster, or for so many rounds.
fn decide(results: &mut Results, bench: &mut Bench, (row, rounds): (usize, usize)) -> Result<()> {
    for round in rounds..DECIDED {
        if !results.rows[row].is_paced() || results.is_decided(row) {
            break;
        }
        for turn in 0..results.programs.len() {
            let program = (turn + round) % results.programs.len();
            if takes_part(&results.programs[program], &results.rows[row]) {
                one(results, bench, (row, program)).with_context(|| format!("round {}", round + 1))?;
            }
        }
    }
    Ok(())
}

/// What some do not have, or not without a proxy, is compared with those that do. Forced splicing is for bulk; a direct connection has no proxy that could hold anything.
fn takes_part(program: &Program, row: &Row) -> bool {
    match &program.kind {
        Kind::Haproxy { splice: true, .. } | Kind::Realm { .. } | Kind::Floor | Kind::Direct
            if row.work.extra() != Extra::None =>
        {
            false
        }
        kind if row.is_udp() && !kind.forwards_udp() => false,
        Kind::Haproxy { splice: true, .. } => row.is_bulk(),
        // It differs only in how connections end.
        Kind::Nginx { half_close: true, .. } => matches!(row.work, Work::Churn { extra: Extra::None, .. }),
        Kind::Direct => !matches!(row.work, Work::Hold { .. } | Work::HoldMore { .. }),
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
        if let Work::Hold { connections, .. } | Work::HoldMore { connections, .. } = row.work {
            let needed = 2 * connections + SPARE_DESCRIPTORS;
            ensure!(
                needed <= descriptors,
                "row `{}` needs {needed} descriptors, the hard limit is {descriptors}: raise it (ulimit -Hn), or \
                 leave the row out with --rows",
                row.name
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
    let known = peers(options);
    for name in options.peers.iter().flatten().filter(|name| *name != "none") {
        ensure!(known.iter().any(|peer| peer.name == *name), "no peer `{name}`");
    }
    for Peer { name, kind } in known {
        if !wanted(&name) {
            continue;
        }
        match present(&kind) {
            Ok(version) => programs.push(Program { name, kind, version }),
            Err(error) => missing.push(Missing { name, why: error.to_string() }),
        }
    }
    Ok((programs, missing))
}

/// A peer that may be here.
struct Peer {
    name: String,
    kind: Kind,
}

/// All peers: the builds that were named, or else the installed ones.
fn peers(options: &Options) -> Vec<Peer> {
    let mut peers = Vec::new();
    for kind in ["haproxy", "nginx", "realm"] {
        let named = options.peer.iter().filter(|(other, _)| other == kind).map(|(_, bin)| bin.clone());
        let mut bins: Vec<PathBuf> = named.collect();
        if bins.is_empty() {
            bins.push(find(kind).unwrap_or_default());
        }
        for (at, bin) in bins.into_iter().enumerate() {
            let number = if at == 0 { String::new() } else { format!("-{}", at + 1) };
            let mut add = |more: &str, kind_of| {
                peers.push(Peer { name: format!("{kind}{number}{more}"), kind: kind_of });
            };
            match kind {
                "haproxy" => {
                    add("", Kind::Haproxy { bin: bin.clone(), splice: false });
                    add("-splice", Kind::Haproxy { bin, splice: true });
                }
                "nginx" => {
                    add("", Kind::Nginx { bin: bin.clone(), half_close: false });
                    add("-half-close", Kind::Nginx { bin, half_close: true });
                }
                _ => add("", Kind::Realm { bin }),
            }
        }
    }
    peers.push(Peer { name: "floor".to_owned(), kind: Kind::Floor });
    peers.push(Peer { name: "direct".to_owned(), kind: Kind::Direct });
    peers
}

/// What a peer says of its version. Errors: it is not installed, or cannot do this work.
fn present(kind: &Kind) -> Result<String> {
    let (bin, flag, name) = match kind {
        Kind::Haproxy { bin, .. } => (bin, "-v", "haproxy"),
        Kind::Nginx { bin, .. } => (bin, "-v", "nginx"),
        Kind::Realm { bin } => (bin, "--version", "realm"),
        Kind::Floor => return Ok("the least that a proxy over epoll can do".to_owned()),
        Kind::Direct | Kind::Portway(_) => return Ok(String::new()),
    };
    ensure!(bin.is_file(), "{name} is not installed");
    if let Kind::Nginx { .. } = kind {
        let built = Command::new(bin).arg("-V").output()?;
        let words = String::from_utf8_lossy(&built.stderr).into_owned();
        let built_in = words.split_whitespace().any(|word| word == "--with-stream");
        let is_installed = find("nginx").as_deref() == Some(bin);
        ensure!(
            built_in || (is_installed && Path::new(STREAM_MODULE).exists()),
            "nginx has no stream module (Debian: libnginx-mod-stream)"
        );
    }
    Ok(first_line(bin, &[flag]))
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
