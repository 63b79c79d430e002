//! A route table from a store: what comes is written and runs, and whatever goes wrong there, what runs goes on.

mod bad;
mod by_itself;
mod fleet;
mod http;
mod programs;
mod server;
mod signed;
pub mod signer;
mod simulation;
mod unit;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::PORTWAY;
use crate::harness::instance::{Backend, HEAD, Place, Port, Portway, route};
use server::{Answer, Store};

/// A proxy whose file comes from a store, in front of named backends.
struct Fleet {
    store: Store,
    place: Place,
    port: Port,
    admin: Port,
}

impl Fleet {
    /// The store has nothing yet, and the file leads to `local`.
    fn new(local: &Backend) -> Fleet {
        let (port, admin) = (Port::reserve(), Port::reserve());
        let fleet = Fleet { store: Store::start(), place: Place::with(""), port, admin };
        fleet.place.save(&fleet.text(local));
        fleet
    }

    /// A file whose route leads there.
    fn text(&self, to: &Backend) -> String {
        let admin = format!("[admin]\nlisten = \"{}\"\n", self.admin.local());
        format!("{HEAD}{admin}{}", route("web", &self.port.local(), to, ""))
    }

    /// Puts a file into the store whose route leads there.
    fn publish(&self, to: &Backend) {
        self.store.put("/edge.toml", Answer::text(&self.text(to)));
    }

    fn on_disk(&self) -> String {
        std::fs::read_to_string(self.place.file()).unwrap()
    }

    /// `portway run --from`, looking often.
    fn command(&self, more: &[&str]) -> Command {
        let mut command = run_from(&self.place.file(), &self.store.url("/edge.toml"));
        command.args(more);
        command
    }

    fn run(&self) -> Portway {
        Portway::start(&mut self.command(&[]))
    }

    /// What `portway status` shows of the source.
    fn status(&self) -> serde_json::Value {
        let admin = self.admin.local();
        let output = Command::new(PORTWAY).args(["status", "--json", "--admin", &admin]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["source"].take()
    }

    /// Ends the store, then the proxy: no socket to the store is left.
    fn stop(mut self, mut portway: Portway) {
        self.store.go_away();
        portway.catch_up();
        portway.stop();
    }

    /// Ends the proxy beside a store that goes on, which it has a socket to.
    fn stop_beside(self, mut portway: Portway) {
        portway.signal(rustix::process::Signal::TERM);
        portway.phase("stopped");
    }
}

fn run_from(file: &Path, url: &str) -> Command {
    let mut command = Command::new(PORTWAY);
    command.arg("run").arg(file).args(["--from", url, "--every", "100ms", "--node", "edge-1"]);
    command
}

/// How a line of the log about a refused text begins.
const REFUSED: &str = "text of the store refused";
/// About a store that does not answer.
const AWAY: &str = "the store does not answer";
/// About a file that was written.
const WRITTEN: &str = "the file is written";

/// What is said of a text of the store that was taken.
struct Taken {
    written: Value,
    reloaded: Value,
}

/// Waits until a text of the store is written and runs. Who follows the file may be the first to say so: whoever writes it also
/// waits for the disk. No reload before may be unread.
fn taken(portway: &mut Portway) -> Taken {
    let first = portway.phase_of(&[WRITTEN, "reloaded"]);
    if first["message"] == "reloaded" {
        return Taken { written: portway.phase(WRITTEN), reloaded: first };
    }
    Taken { written: first, reloaded: portway.phase("reloaded") }
}
