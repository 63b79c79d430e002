//! `portway names`: the names of what runs, one a line. Shells ask it when a person presses Tab.

use std::collections::BTreeSet;
use std::io::stdout;
use std::process::ExitCode;

use clap::ValueEnum;

use super::admin::{self, Failure};
use super::output::say;
use crate::admin::api::{Routes, Upstreams};

/// Prints the names of routes or of upstreams of the running proxy, one a line, for the completion of shells
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which names.
    what: What,
    #[command(flatten)]
    proxy: admin::Proxy,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// Those of routes.
    Routes,
    /// Upstreams, as the file has them.
    Upstreams,
}

/// Prints the names. Prints nothing if nobody answers: a shell has no use for a message.
pub fn run(args: &Args) -> ExitCode {
    let names = names(args).unwrap_or_default();
    let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
    say(&mut stdout().lock(), &lines)
}

fn names(args: &Args) -> Result<BTreeSet<String>, Failure> {
    let proxy = args.proxy.find()?.hasty();
    Ok(match args.what {
        What::Routes => {
            proxy.get::<Routes>("/v1/routes")?.routes.into_iter().map(|route| route.name).collect()
        }
        What::Upstreams => {
            let upstreams = proxy.get::<Upstreams>("/v1/upstreams")?.upstreams;
            upstreams.into_iter().map(|upstream| upstream.upstream).collect()
        }
    })
}
