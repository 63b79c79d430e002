//! Real programs through a route, while its file is edited.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::peers::*;
use crate::harness::instance::*;
use crate::harness::proc::{LISTEN, Process};

/// A program that ends with its test.
struct Program(Child);

impl Program {
    fn start(command: &mut Command) -> Program {
        Program(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A question for the address of `name`, and what is at the end of its answer.
fn question(id: u16, name: &str) -> Vec<u8> {
    let mut bytes = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    bytes
}

/// Edits a file again and again until it is stopped: what the route is stays, and its text changes.
fn edited<T>(place: &Place, text: impl Fn(u32) -> String, work: impl FnOnce() -> T + Send) -> T
where
    T: Send,
{
    let stop = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let stopped = stop.clone();
        let working = scope.spawn(move || {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            stopped.store(true, Ordering::SeqCst);
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let mut turn = 0;
        while !stop.load(Ordering::SeqCst) {
            place.save(&text(turn));
            turn += 1;
            pass(std::time::Duration::from_millis(50));
        }
        place.save(&text(0));
        working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn thousands_of_questions_to_a_name_server() {
    if lacks(&["dnsmasq"]) {
        return;
    }
    let (port, upstream) = (free_port(), free_port());
    let mut dnsmasq = Command::new("dnsmasq");
    dnsmasq.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
    ]);
    dnsmasq.args(["--listen-address=127.0.0.1", "--address=/example.test/192.0.2.7", "--pid-file="]);
    let _dnsmasq = Program::start(dnsmasq.arg(format!("--port={upstream}")));
    let text = |turn: u32| {
        let more = format!("max_replies = 1\nidle_timeout = \"5s\"\nmax_sessions = {}", 1000 + turn % 2);
        one(port, &[([127, 0, 0, 1], upstream).into()], &more)
    };
    let place = Place::with(&text(0));
    let mut portway = Portway::run(&place.file());
    portway.until("the name server answers", |_| {
        let client = Client::of(upstream);
        drop(client.0.send(&question(1, "up.example.test")));
        !client.hears_nothing()
    });
    let asked = edited(&place, text, || {
        let threads: Vec<_> = (0..4_u16)
            .map(|thread| {
                std::thread::spawn(move || {
                    // A port for each question, as resolvers do it.
                    for n in 0..1000_u16 {
                        let (id, name) = (thread * 1000 + n, format!("host-{n}.example.test"));
                        let answer = Client::of(port).ask(&question(id, &name));
                        assert_eq!(answer[..2], id.to_be_bytes());
                        assert_eq!(answer[answer.len() - 4..], [192, 0, 2, 7], "{name}");
                    }
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).count() * 1000
    });
    let records = records(&mut portway, asked);
    let replied = records.iter().filter(|record| record["outcome"] == "replied").count();
    assert_eq!((replied, records.len()), (asked, asked));
    portway.hang_up();
    portway.stop();
}

/// What reads the header of each datagram: a name server that answers by who asks.
#[test]
fn a_name_server_hears_who_asks() {
    if lacks(&["dnsdist"]) {
        return;
    }
    let (port, upstream, folder) = (free_port(), free_port(), tempfile::tempdir().unwrap());
    let settings = format!(
        "setLocal('127.0.0.1:{upstream}')\nsetProxyProtocolACL({{'127.0.0.1/32'}})\nsetACL({{'127.0.0.0/8'}})\n\
         addAction(makeRule('127.9.9.9/32'), SpoofAction('192.0.2.9'))\n\
         addAction(AllRule(), SpoofAction('192.0.2.1'))\n"
    );
    let file = folder.path().join("dnsdist.conf");
    std::fs::write(&file, settings).unwrap();
    let _dnsdist = Program::start(Command::new("dnsdist").arg("--supervised").arg("-C").arg(&file));
    let more = "idle_timeout = \"1s\"\nproxy_protocol = { send = \"v2\" }";
    let place = Place::with(&one(port, &[([127, 0, 0, 1], upstream).into()], more));
    let mut portway = Portway::run(&place.file());
    let asks = |from: &str| {
        let socket = std::net::UdpSocket::bind((from, 0)).unwrap();
        socket.connect(("127.0.0.1", port)).unwrap();
        Client(socket)
    };
    portway.until("the name server answers", |_| {
        let client = asks("127.0.0.1");
        drop(client.0.send(&question(1, "up.example.test")));
        !client.hears_nothing()
    });
    for (from, answer) in [("127.9.9.9", 9), ("127.9.9.8", 1)] {
        let client = asks(from);
        client.0.set_read_timeout(Some(PATIENCE)).unwrap();
        // As resolvers ask for two kinds from one port: each question by itself.
        for id in 0..4_u16 {
            let heard = client.ask(&question(id, "who.example.test"));
            assert_eq!(heard[heard.len() - 4..], [192, 0, 2, answer], "{from}");
        }
    }
    portway.stop();
}

/// Both ways, with the control connection of TCP on the same port.
#[test]
fn iperf3_loses_nothing_in_either_direction() {
    if lacks(&["iperf3"]) {
        return;
    }
    let upstream = free_port();
    let server =
        Program::start(Command::new("iperf3").args(["-s", "-B", "127.0.0.1", "-p", &upstream.to_string()]));
    let port = free_port();
    let text = |turn: u32| {
        let listen = format!("127.0.0.1:{port}");
        let tcp = format!(
            "[[route]]\nname = \"control\"\nlisten = \"{listen}\"\nupstream = \"127.0.0.1:{upstream}\"\n"
        );
        let more = format!("idle_timeout = \"1s\"\nmax_sessions = {}", 100 + turn % 2);
        format!("{LOGGED}{tcp}{}", udp_route("data", &listen, &[([127, 0, 0, 1], upstream).into()], &more))
    };
    let place = Place::with(&text(0));
    let mut portway = Portway::run(&place.file());
    // Not by a connection: whoever comes while iperf3 ends that is reset.
    portway.until("iperf3 listens", |_| Process(server.0.id()).count(LISTEN) > 0);
    let number = port.to_string();
    for way in [&["-R"][..], &[]] {
        let run = || {
            let output = edited(&place, text, || {
                let mut client = Command::new("iperf3");
                client.args([
                    "-c",
                    "127.0.0.1",
                    "-p",
                    &number,
                    "-u",
                    "-b",
                    "10M",
                    "-t",
                    "1",
                    "-l",
                    "1400",
                    "-J",
                ]);
                client.args(way).output().unwrap()
            });
            let result: Value = serde_json::from_slice(&output.stdout).unwrap();
            let sum = result["end"]["sum"].clone();
            assert!(sum["packets"].as_u64() > Some(500), "{way:?}: {result:#}");
            assert_eq!(sum["out_of_order"].as_u64().unwrap_or_default(), 0, "{sum}");
            sum
        };
        // A busy machine may stop iperf3 itself for so long that a socket of its own is full: once is no proof.
        let sums: Vec<Value> = (0..3).map(|_| run()).take_while(|sum| sum["lost_packets"] != 0).collect();
        assert!(sums.len() < 3, "{way:?} loses in every run: {sums:?}");
    }
    portway.hang_up();
    portway.stop();
}
