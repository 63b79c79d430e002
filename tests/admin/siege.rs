//! Strangers who take every place of the endpoint, and come back: probes and people are answered beside them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use super::asker::{Asker, Stream, head, portway, start};
use crate::harness::instance::{Backend, HEAD, Place, Port, Portway, route};
use crate::harness::proc::Process;
use crate::harness::{pass, until};

/// As many as the endpoint has places, and one.
const MOST: usize = 17;
const TOKEN: &str = "s3cret-0123456789abcdef";
/// For an answer on a machine that does twenty things at once. Without any rule a place is free after 10 s.
const SOON: Duration = Duration::from_secs(3);

/// How strangers begin, to hold a place as long as they can.
fn beginnings() -> Vec<(&'static str, Vec<u8>)> {
    let request =
        |line: &str, more: &str| format!("{line} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n").into_bytes();
    vec![
        ("silence", Vec::new()),
        ("a head that stops", b"GET /v1/status HTTP/1.1\r\nHost: loc".to_vec()),
        (
            "a body that does not come",
            request("POST /v1/kill", "Expect: 100-continue\r\nContent-Length: 1\r\n"),
        ),
        (
            "a body that nobody asked for",
            request("GET /v1/status", "Expect: 100-continue\r\nContent-Length: 1\r\n"),
        ),
        ("answers that nobody reads", request("GET /v1/openapi.json", "").repeat(150)),
        ("an idle connection", request("GET /healthz", "")),
    ]
}

/// Strangers who hold 32 connections and open a new one now and then, until told to stop.
struct Siege {
    stop: Arc<AtomicBool>,
    strangers: Option<JoinHandle<()>>,
    /// How long it took one of the first, at most, to have its place, and a probe behind it its answer.
    longest: Duration,
}

impl Siege {
    /// `pace`: how often they open a new one. `None`: never.
    fn begin(asker: Asker, beginning: Vec<u8>, pace: Option<Duration>) -> Siege {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, probe) = (stop.clone(), asker.with(&asker.head));
        let open = move |held: &mut VecDeque<Box<dyn Stream>>| {
            let mut stream = asker.connect();
            // Of one that had to give way.
            drop(stream.write_all(&beginning));
            // Whoever is answered, or told to go on, has its place, and is no longer a newcomer.
            if beginning.ends_with(b"\r\n\r\n") {
                drop(stream.read_exact(&mut [0; 12]));
            }
            held.push_back(stream);
        };
        let (mut held, mut longest) = (VecDeque::new(), Duration::ZERO);
        for _ in 0..2 * MOST {
            let begun = Instant::now();
            open(&mut held);
            is_answered(&probe, "/healthz");
            longest = longest.max(begun.elapsed());
        }
        let strangers = spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if pace.is_some() {
                    open(&mut held);
                    drop(held.pop_front());
                }
                pass(pace.unwrap_or(Duration::from_millis(5)));
            }
        });
        Siege { stop, strangers: Some(strangers), longest }
    }
}

impl Drop for Siege {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.strangers.take().map(JoinHandle::join));
    }
}

/// Asks as a probe does.
fn is_answered(asker: &Asker, path: &str) -> bool {
    let mut stream = asker.connect();
    let asked = format!("GET {path} HTTP/1.1\r\n{}\r\n", asker.head);
    let mut answer = [0; 12];
    let answered = stream.write_all(asked.as_bytes()).and_then(|()| stream.read_exact(&mut answer));
    answered.is_ok() && &answer == b"HTTP/1.1 200"
}

/// Asks as a probe and as a person do, and returns how long the longest answers took. On a machine that stops a client for
/// a while between its connect and its request, one of ten may have to ask again, as probes do.
fn longest(place: &Place, asker: &Asker) -> [Duration; 2] {
    let timed = |most: usize, ask: &dyn Fn() -> bool| {
        let (mut longest, mut unanswered) = (Duration::ZERO, 0);
        for _ in 0..most {
            let begun = Instant::now();
            unanswered += usize::from(!ask());
            longest = longest.max(begun.elapsed());
        }
        assert!(unanswered <= most / 10, "{unanswered} of {most} were not answered");
        longest
    };
    let probe = |path: &str| is_answered(asker, path);
    let person = || portway(&place.file(), &["status"]).code == 0;
    [timed(20, &|| probe("/healthz") && probe("/readyz")), timed(10, &person)]
}

/// Each siege in turn: nobody waits, memory stays, and places are free afterwards.
fn stands(place: &Place, proxy: &Portway, asker: &Asker, pace: Option<Duration>) {
    let process = Process(proxy.pid());
    longest(place, asker);
    let (before, sockets) = (process.memory(), proxy.descriptors()["socket"]);
    for (what, beginning) in beginnings() {
        let siege = Siege::begin(asker.with(&asker.head), beginning, pace);
        let [probes, people] = longest(place, asker);
        let probes = probes.max(siege.longest);
        let more = process.memory().saturating_sub(before);
        println!("{what}: a probe {probes:?}, a person {people:?}, {} KiB more", more / 1024);
        assert!(probes < SOON && people < SOON, "{what}: a probe {probes:?}, a person {people:?}");
        assert!(more < 8 << 20, "{what}: {more} bytes more");
        assert!(proxy.descriptors()["socket"] <= sockets + MOST, "{what}: {:?}", proxy.descriptors());
        drop(siege);
        until("all have left", || proxy.descriptors()["socket"] <= sockets);
    }
}

#[test]
fn s6_strangers_at_a_tcp_endpoint_keep_no_probe_and_no_person_waiting() {
    let (port, admin, backend) = (Port::reserve(), Port::reserve(), Backend::named("one"));
    for token in [String::new(), format!("token = \"{TOKEN}\"\n")] {
        let listen = admin.local();
        let head = format!("{HEAD}[admin]\nlisten = \"{listen}\"\n{token}");
        let place = Place::with(&(head + &route("web", &port.local(), &backend, "")));
        let proxy = Portway::run(&place.file());
        let asker = Asker::tcp(admin.number);
        stands(&place, &proxy, &asker, Some(Duration::from_millis(20)));
        let metrics = asker.ask("GET", "/metrics", "").body;
        let gave_way = |reason: &str| {
            let name = format!("portway_admin_gave_way_total{{reason=\"{reason}\"}} ");
            let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
            line.unwrap().parse::<u64>().unwrap()
        };
        assert!(gave_way("unproven") > 100 && gave_way("waiting") == 0, "{metrics}");
        proxy.stop();
    }
}

#[test]
fn s6_nor_do_clients_of_a_unix_socket() {
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let (place, proxy, asker) = start(&route("web", &port.local(), &backend, ""));
    stands(&place, &proxy, &asker, None);
    proxy.stop();
}

/// Sixteen hold every place with a request under way; the one whose answer is sent gives its place up.
#[test]
fn s6_the_seventeenth_takes_the_place_of_one_that_falls_idle() {
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let (_place, proxy, asker) = start(&route("web", &port.local(), &backend, ""));
    let half = b"POST /v1/kill HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{";
    let mut held: Vec<_> = (1..MOST).map(|_| asker.connect()).collect();
    held.iter_mut().for_each(|stream| stream.write_all(half).unwrap());
    let mut idle = held.remove(5);
    idle.write_all(b"}").unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 400");
    assert_eq!(asker.ask("GET", "/healthz", "").status, 200);
    let mut rest = Vec::new();
    // Unread input makes it a reset.
    drop(idle.read_to_end(&mut rest));
    for stream in &mut held {
        // A slow machine may let their time pass, which is answered too.
        drop(stream.write_all(b"}"));
        stream.read_exact(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 40"), "{answer:?}");
    }
    drop((held, idle));
    proxy.stop();
}

/// A body is read only of whoever may send it: whatever its head promises.
#[test]
fn s7_bodies_of_clients_without_the_right_to_change_take_no_memory() {
    let (port, admin, backend) = (Port::reserve(), Port::reserve(), Backend::named("one"));
    let head = format!("{HEAD}[admin]\nlisten = \"{}\"\ntoken = \"{TOKEN}\"\n", admin.local());
    let place = Place::with(&(head + &route("web", &port.local(), &backend, "")));
    let proxy = Portway::run(&place.file());
    let asker = Asker::tcp(admin.number);
    let before = Process(proxy.pid()).memory();
    let large = "#".repeat(16 << 20);
    for (line, status) in [
        ("POST /v1/plan", 401),
        ("POST /v1/kill", 401),
        ("GET /v1/status", 413),
        ("GET /healthz", 413),
        ("POST /v1/nowhere", 401),
    ] {
        let clients: Vec<_> = (1..MOST)
            .map(|_| {
                let (asker, large) = (asker.with(&asker.head), large.clone());
                let request =
                    format!("{line} HTTP/1.1\r\n{}Content-Length: {}\r\n\r\n", asker.head, large.len());
                spawn(move || {
                    let mut stream = asker.connect();
                    // It is answered before it has come.
                    drop(
                        stream
                            .write_all(request.as_bytes())
                            .and_then(|()| stream.write_all(large.as_bytes())),
                    );
                    let mut answer = [0; 12];
                    stream.read_exact(&mut answer).map(|()| answer)
                })
            })
            .collect();
        for client in clients {
            // A reset may destroy an answer of whose request more is under way than is read.
            if let Ok(answer) = client.join().unwrap() {
                assert_eq!(answer, format!("HTTP/1.1 {status}").as_bytes(), "{line}");
            }
        }
        let more = Process(proxy.pid()).memory().saturating_sub(before);
        println!("{line}: {} KiB more", more / 1024);
        assert!(more < 8 << 20, "{line}: {more} bytes more");
    }
    // 64 KiB may be read of everybody.
    let small = "#".repeat(64 << 10);
    assert_eq!(asker.ask("GET", "/v1/status", &small).status, 200);
    proxy.stop();
}

/// One at a time: each in its turn.
#[test]
fn s7_large_bodies_of_those_who_may_take_turns() {
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let (place, proxy, asker) = start(&route("web", &port.local(), &backend, ""));
    let text = head(&place) + &route("web", &port.local(), &backend, "");
    let text = Arc::new(text + &"# a comment\n".repeat(100_000));
    let asked = |text: Arc<String>| {
        let asker = asker.with(&asker.head);
        spawn(move || asker.ask("POST", "/v1/plan", &text))
    };
    // The first one's body stops half way: those behind it wait until its time is over.
    let mut first = asker.connect();
    let (half, _) = text.split_at(text.len() / 2);
    let request =
        format!("POST /v1/plan HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{half}", text.len());
    first.write_all(request.as_bytes()).unwrap();
    let behind: Vec<_> = (0..6).map(|_| asked(text.clone())).collect();
    until("they all have a place", || proxy.descriptors()["socket"] >= 7);
    // Small things are answered meanwhile.
    assert_eq!(asker.get("/v1/status")["generation"], 1);
    let mut answer = [0; 12];
    first.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    for answer in behind {
        let answer = answer.join().unwrap();
        assert_eq!((answer.status, answer.json()["changes"].clone()), (200, false.into()), "{answer:?}");
    }
    drop(first);
    proxy.stop();
}
