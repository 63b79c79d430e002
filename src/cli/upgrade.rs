//! `portway upgrade`: lets another program take over from the running one.

use std::io::{Write, stderr, stdout};
use std::path::{PathBuf, absolute};
use std::process::ExitCode;

use super::admin::{self, Failure};
use super::output::say;
use super::progress::patiently;
use super::table;
use crate::admin::api::{Upgrade, Upgraded};

/// Lets another program take over from the running one: a new version, without a client that is refused
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The new process reads the same file, gets every listening socket and serves all new clients. Open connections move to it, \
and notice nothing. Those with TLS cannot: they go on in the old process, and what is left of them after the `drain_timeout` of \
their route is reset. Where the new one cannot start, cannot read the file, dies or does not answer within 5 s, what runs goes \
on as before: only connections of which it had moved bytes are reset. SIGUSR2 does the same.
The first process of a container stays: another one stands in while it becomes the new version (as with --in-place).

Exit codes: 0 it has taken over, or could; 1 it has not; 2 there is nobody to ask, or what runs is too old for this.

Example:
  portway upgrade --check /usr/bin/portway
  portway upgrade"
)]
pub struct Args {
    /// The program. Without it: the file that the running one was started from, as it is now.
    #[arg(value_name = "BINARY")]
    binary: Option<PathBuf>,
    /// Only finds out whether it could: whether it reads the file, and what is handed over.
    #[arg(long)]
    check: bool,
    /// Keeps the process, which becomes the program: for a supervisor that watches it. The first process of a container
    /// always stays.
    #[arg(long)]
    in_place: bool,
    #[command(flatten)]
    proxy: admin::Proxy,
    /// As JSON: the answer of /v1/upgrade.
    #[arg(long)]
    json: bool,
}

/// Asks for the upgrade, and waits until it is done.
pub fn run(args: &Args) -> ExitCode {
    // Another folder is the current one there.
    let path = args.binary.as_ref().map(|path| absolute(path).unwrap_or_else(|_| path.clone()));
    let binary = path.map(|path| path.to_string_lossy().into_owned());
    let order = Upgrade { binary, check: args.check, in_place: args.in_place };
    let asked = || -> Result<Upgraded, Failure> { args.proxy.find()?.patient().post("/v1/upgrade", &order) };
    let done = match patiently("upgrading", asked) {
        Ok(done) => done,
        Err(failure) => {
            if let Failure::Refused(_, problem) = &failure {
                // If standard error is gone, the exit code is all that can be said.
                drop(stderr().lock().write_all(problem.report.as_deref().unwrap_or_default().as_bytes()));
            }
            return failure.exit();
        }
    };
    if args.json {
        return table::json(&done);
    }
    let Upgraded { pid, build, was, draining, .. } = &done;
    let stays =
        if done.in_place { "; the old process becomes the new version, and takes over again" } else { "" };
    let moved = format!(
        "{} and {} moved, and stood still for {:.0} ms at most",
        table::count(done.moved, "connection"),
        table::count(done.moved_sessions, "UDP session"),
        done.pause * 1000.0
    );
    let said = match (done.checked, draining) {
        (true, _) => {
            format!(
                "it could take over: Portway {build} reads the file, and what {was} hands over; nothing has changed\n"
            )
        }
        (false, 0) if done.in_place => {
            format!("upgraded: {was} to {build}, process {pid}; {moved}{stays}\n")
        }
        (false, 0) => {
            format!("upgraded: {was} to {build}, process {pid}; {moved}; the old process has ended\n")
        }
        (false, open) => {
            let (goes, its, is) = if *open == 1 { ("goes", "its", "is") } else { ("go", "their", "are") };
            format!(
                "upgraded: {was} to {build}, process {pid}; {moved}; {} {goes} on in the old process ({} with TLS, which cannot \
                 move; {}) for {its} `drain_timeout`, {} at most, and {is} then reset{stays}\n",
                table::count(*open, "open connection"),
                done.draining_tls,
                table::count(done.draining_sessions, "UDP session"),
                table::span(done.at_most)
            )
        }
    };
    say(&mut stdout().lock(), &said)
}
