//! The pairs of `config/from`: the file of another program and Portway's, with the ports of this test. Where Debian has the
//! program, both run, and the same clients see the same; of the others Portway's half runs.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use portway::config::{Program, compile, import};

use super::programs;
use super::stage::Stage;
use super::visit::{Way, connections, datagrams, kinds, short_sessions, summary};
use crate::clients::daemon::Daemon;
use crate::harness::instance::*;

/// Starts the other program: the folder, its text, the ports of TCP.
type Start = fn(&Path, &str, &[&Port]) -> Box<dyn std::any::Any>;

/// A pair.
struct Pair {
    folder: &'static str,
    file: &'static str,
    /// The ports that are listened on, of TCP and of UDP.
    tcp: &'static [u16],
    udp: &'static [u16],
    /// The addresses of backends.
    backends: &'static [&'static str],
    /// Its program, and how it is started; `None`: Debian has none.
    other: Option<(&'static str, Start)>,
    /// As `portway import` knows it.
    program: Option<Program>,
}

fn folder(pair: &Pair) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/from").join(pair.folder)
}

/// A text with other ports.
fn with_ports(text: &str, ports: &[(u16, u16)], stage: &Stage, backends: &[&str]) -> String {
    let mut text = text.to_owned();
    // In two steps, so that a new number is not taken for an old one.
    for (at, backend) in backends.iter().enumerate() {
        let (host, port) = backend.rsplit_once(':').unwrap();
        text = text.replace(backend, &format!("127.0.0.1:<B{at}>"));
        text = text.replace(&format!("{host} {port}"), &format!("127.0.0.1 <B{at}>"));
    }
    for (at, (old, _)) in ports.iter().enumerate() {
        text = text.replace(&old.to_string(), &format!("<L{at}>"));
    }
    let of = |backend: &str| stage.known(backend).to_string();
    for (at, backend) in backends.iter().enumerate() {
        text = text.replace(&format!("<B{at}>"), &of(backend));
    }
    for (at, (_, new)) in ports.iter().enumerate() {
        text = text.replace(&format!("<L{at}>"), &new.to_string());
    }
    text
}

const SOURCES: [Ipv4Addr; 2] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 9)];

impl Pair {
    fn run(&self) {
        let ours = std::fs::read_to_string(folder(self).join("portway.toml")).unwrap();
        let theirs = std::fs::read_to_string(folder(self).join(self.file)).unwrap();
        if let Some(program) = self.program {
            let imported = import(self.file, theirs.as_bytes(), Some(program)).unwrap();
            let table = |text: &str| compile("routes.toml", text.as_bytes()).unwrap().table;
            assert_eq!(
                table(&imported.text),
                table(&ours),
                "{}: what import makes of it\n{}",
                self.folder,
                imported.text
            );
        }
        let mut stage = Stage::default();
        for backend in self.backends {
            stage.port(backend);
        }
        let numbers: BTreeSet<u16> = self.tcp.iter().chain(self.udp).copied().collect();
        let reserve =
            || -> Vec<(u16, Port)> { numbers.iter().map(|number| (*number, Port::reserve())).collect() };
        let (mine, others) = (reserve(), reserve());
        let text = |text: &str, ports: &[(u16, Port)]| {
            let numbers: Vec<(u16, u16)> = ports.iter().map(|(old, port)| (*old, port.number)).collect();
            with_ports(text, &numbers, &stage, self.backends)
        };
        let place = Place::with(&short_sessions(&format!("{HEAD}{}", text(&ours, &mine))));
        let portway = Portway::run(&place.file());
        let dir = tempfile::tempdir().unwrap();
        let looked: Vec<&Port> =
            others.iter().filter(|(old, _)| self.tcp.contains(old)).map(|(_, port)| port).collect();
        let running = match self.other {
            Some((needs, start)) if !lacks(&[needs]) => {
                Some(start(dir.path(), &text(&theirs, &others), &looked))
            }
            _ => None,
        };
        for ((old, mine), (_, other)) in mine.iter().zip(&others) {
            let other = running.iter().map(|_| other.number);
            self.compare(*old, &std::iter::once(mine.number).chain(other).collect::<Vec<u16>>());
        }
        drop(running);
        portway.stop();
    }

    /// The same clients at each end that runs. `old`: the port that the files have.
    fn compare(&self, old: u16, ends: &[u16]) {
        let folder = self.folder;
        for from in SOURCES {
            if self.tcp.contains(&old) {
                let way = Way { from, preface: Vec::new() };
                let seen = ends.iter().map(|port| connections(*port, &way, 6));
                let seen: Vec<_> = seen.map(|seen| (summary(&seen), kinds(&seen))).collect();
                println!("{folder} {old} from {from}: {:?}", seen[0]);
                assert!(seen.iter().all(|one| *one == seen[0]), "{folder} {old} from {from}: {seen:#?}");
            }
            if self.udp.contains(&old) {
                let seen = datagrams(ends, from);
                assert!(
                    seen[0].is_some() && seen.iter().all(|one| *one == seen[0]),
                    "{folder} {old}: {seen:?}"
                );
            }
        }
    }
}

/// A script, with all that it has started.
struct Script(Child);

impl Drop for Script {
    fn drop(&mut self) {
        // It leads a group of its own.
        let group = rustix::process::Pid::from_child(&self.0);
        // It may have ended by itself.
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        drop(self.0.wait());
    }
}

fn socat(folder: &Path, text: &str, ports: &[&Port]) -> Box<dyn std::any::Any> {
    use std::os::unix::process::CommandExt;
    let file = folder.join("socat.sh");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("sh");
    command.arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let script = Script(command.spawn().unwrap());
    for port in ports {
        crate::harness::until("socat listens", || std::net::TcpStream::connect(port.local()).is_ok());
    }
    Box::new(script)
}

fn boxed(daemon: Daemon) -> Box<dyn std::any::Any> {
    Box::new(daemon)
}

/// Without `events`, which the harness has.
fn nginx(folder: &Path, text: &str, ports: &[&Port]) -> Box<dyn std::any::Any> {
    boxed(programs::nginx(folder, &text.replace("events {}", ""), ports))
}

#[test]
fn nginx_and_its_pair() {
    Pair {
        folder: "nginx",
        file: "nginx.conf",
        tcp: &[5432],
        udp: &[5353],
        backends: &["127.0.0.1:5433", "127.0.0.1:5434", "127.0.0.1:5354"],
        other: Some(("nginx", nginx)),
        program: Some(Program::Nginx),
    }
    .run();
}

#[test]
fn haproxy_and_its_pair() {
    Pair {
        folder: "haproxy",
        file: "haproxy.cfg",
        tcp: &[8080, 2525],
        udp: &[],
        backends: &["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"],
        other: Some(("haproxy", |folder, text, ports| boxed(programs::haproxy(folder, text, ports)))),
        program: Some(Program::Haproxy),
    }
    .run();
}

#[test]
fn rinetd_and_its_pair() {
    Pair {
        folder: "rinetd",
        file: "rinetd.conf",
        tcp: &[8080],
        udp: &[5353],
        backends: &["127.0.0.1:9001", "127.0.0.1:5354"],
        other: Some(("rinetd", |folder, text, ports| boxed(programs::rinetd(folder, text, ports)))),
        program: Some(Program::Rinetd),
    }
    .run();
}

#[test]
fn socat_and_its_pair() {
    Pair {
        folder: "socat",
        file: "socat.sh",
        tcp: &[8080],
        udp: &[5353],
        backends: &["127.0.0.1:9001", "127.0.0.1:5354"],
        other: Some(("socat", socat)),
        program: None,
    }
    .run();
}

#[test]
fn realm_and_its_pair() {
    Pair {
        folder: "realm",
        file: "realm.toml",
        tcp: &[8080],
        udp: &[5353],
        backends: &["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:5354"],
        other: None,
        program: Some(Program::Realm),
    }
    .run();
}

#[test]
fn traefik_and_its_pair() {
    Pair {
        folder: "traefik",
        file: "traefik.yaml",
        tcp: &[5432],
        udp: &[5353],
        backends: &["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003", "127.0.0.1:5433", "127.0.0.1:5354"],
        other: None,
        program: None,
    }
    .run();
}

#[test]
fn docker_and_its_pair() {
    Pair {
        folder: "docker",
        file: "run.sh",
        tcp: &[8080, 5353],
        udp: &[5353],
        backends: &["web:80", "dns:53"],
        other: None,
        program: None,
    }
    .run();
}
