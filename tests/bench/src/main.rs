//! The benchmark: see `--help`, and `compare` beside this folder.
//!
//! One program in several roles: `instructions` and `syscalls` count what one step costs, without noise; `kept`
//! compares such counts with a file; `compare` is the driver: for each round, row and program it starts a backend, the
//! program and a load (`backend` and `load`: this program again), and reads the program's CPU time around the work.

mod args;
mod backend;
mod compare;
mod config;
mod extra;
mod floor;
mod helper;
mod kept;
mod load;
mod machine;
mod measure;
mod proc;
mod program;
mod rows;
mod stats;
mod steps;
mod sys;
mod table;
mod upgrade;
mod wire;

use std::process::ExitCode;

use anyhow::{Result, bail};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let role = args.first().map_or("bench", String::as_str);
            eprintln!("{role}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    match args.split_first() {
        Some((role, rest)) if role == "upgrade" => upgrade::run(rest),
        Some((role, rest)) if role == "between" => upgrade::stand_between(rest),
        _ if args.iter().any(|arg| arg == "--help" || arg == "-h") => {
            print!("{}", args::HELP);
            Ok(())
        }
        Some((role, rest)) => match role.as_str() {
            "compare" => compare::run(rest),
            "instructions" => steps::run(steps::Tool::Callgrind, rest),
            "allocations" => steps::run(steps::Tool::Memcheck, rest),
            "kept" => kept::run(rest),
            "syscalls" => steps::run(steps::Tool::Strace, rest),
            "exec" => sys::exec(rest),
            "backend" => backend::run(),
            "floor" => floor::run(rest),
            "load" => load::run(rest),
            other => bail!("no such role: {other}"),
        },
        None => bail!("compare, backend or load"),
    }
}
