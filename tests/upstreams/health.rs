//! Active checks: what they find, and what follows.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::server::*;
use crate::harness::instance::*;

const DOWN: &str = "upstream is down: its check fails";
const UP: &str = "upstream is up again: its check passes";

/// A server that gives one answer to whatever it is asked, and counts who comes.
struct Oracle {
    port: u16,
    answer: Arc<Mutex<&'static [u8]>>,
    came: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<u8>>>,
}

impl Oracle {
    fn that_answers(answer: &'static [u8]) -> Oracle {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let oracle = Oracle {
            port: listener.local_addr().unwrap().port(),
            answer: Arc::new(Mutex::new(answer)),
            came: Arc::default(),
            asked: Arc::default(),
        };
        let (answer, came, asked) = (oracle.answer.clone(), oracle.came.clone(), oracle.asked.clone());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                came.fetch_add(1, Ordering::SeqCst);
                let mut question = [0; 100];
                // Whoever only connects sends nothing.
                let got = stream.read(&mut question).unwrap_or_default();
                if got > 0 {
                    *asked.lock().unwrap() = question[..got].to_vec();
                    drop(stream.write_all(*answer.lock().unwrap()));
                }
            }
        });
        oracle
    }

    fn answers(&self, answer: &'static [u8]) {
        *self.answer.lock().unwrap() = answer;
    }

    fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }
}

const QUICK: &str = "interval = \"100ms\", timeout = \"100ms\"";

#[test]
fn a_dead_server_is_found_before_a_client_comes() {
    let (port, mut servers) = (Port::reserve(), ["a", "b"].map(Server::new));
    let entries: Vec<_> = servers.iter().map(|server| entry(server, "")).collect();
    let health = format!("balance = \"first\"\nhealth = {{ {QUICK}, rise = 1, fall = 2 }}");
    let place = Place::with(&leads(&port, &entries, &health));
    let mut portway = Portway::run(&place.file());
    assert_eq!(reach(&port, 2).concat(), "aa");
    for _ in 0..2 {
        servers[0].die();
        let down = portway.phase(DOWN);
        assert_eq!(down["upstream"], servers[0].addr().to_string());
        assert!(down["error"].as_str().unwrap().contains("connection refused"), "{down}");
        assert_eq!(reach(&port, 3).concat(), "bbb");
        servers[0].start();
        portway.phase(UP);
        assert_eq!(reach(&port, 3).concat(), "aaa");
    }
    // No client has tried the dead one.
    portway.catch_up();
    assert!(!portway.seen.iter().any(|line| line["detail"].is_string()), "{}", portway.log());
    servers.iter().for_each(Server::end_connections);
    portway.stop();
}

#[test]
fn a_server_that_answers_otherwise_is_down_though_it_connects_and_its_connections_are_cut() {
    let (port, oracle) = (Port::reserve(), Oracle::that_answers(b"+PONG\r\n"));
    let servers = ["a", "b"].map(Server::new);
    // Only the first is checked to be well by the oracle: the second route's check is a connect.
    let route = |name: &str, port: &Port, server: &Server, more: &str| {
        leads(port, &[entry(server, "")], more).replace("\"app\"", &format!("\"{name}\""))
    };
    let other = Port::reserve();
    let check = format!(
        "on_down = \"cut\"\nhealth = {{ {QUICK}, rise = 2, fall = 2, port = {}, send = \"PING\\r\\n\", \
         expect = \"regex:^\\\\+PONG\" }}",
        oracle.port
    );
    let (first, second) =
        (route("checked", &port, &servers[0], &check), route("other", &other, &servers[0], ""));
    let (_, second) = second.split_once("[[route]]").unwrap();
    let place = Place::with(&format!("{first}[[route]]{second}"));
    let mut portway = Portway::run(&place.file());
    let (mut cut, mut kept) = (Flow::open(port.number), Flow::open(other.number));
    portway.until("it is checked", |_| oracle.came() > 2);
    assert_eq!(*oracle.asked.lock().unwrap(), b"PING\r\n");
    oracle.answers(b"-LOADING\r\n");
    let down = portway.phase(DOWN);
    assert_eq!(down["error"], "it answered \"-LOADING\\r\\n\"");
    assert!(cut.was_reset());
    portway.until("the cut is in the access log", |portway| {
        portway.seen.iter().any(|line| line["route"] == "checked" && line["outcome"] == "upstream-down")
    });
    // Where all are down they are tried all the same; such a connection is not cut again.
    let mut late = Flow::open(port.number);
    let came = oracle.came();
    portway.until("it was checked again and again", |_| oracle.came() > came + 5);
    oracle.answers(b"+PONG\r\n");
    portway.phase(UP);
    portway.catch_up();
    let ended = portway.seen.iter().filter(|line| line["outcome"].is_string()).count();
    assert_eq!((ended, portway.count(DOWN)), (1, 1), "{}", portway.log());
    servers.iter().for_each(Server::end_connections);
    assert!(!late.was_reset() && !kept.was_reset());
    drop((late, kept));
    portway.stop();
}

#[test]
fn silence_a_close_and_bytes_in_two_parts() {
    let oracle = Oracle::that_answers(b"\x00\x01");
    let port = Port::reserve();
    let check =
        format!("health = {{ {QUICK}, rise = 1, fall = 1, send = \"hex:50 49\", expect = \"hex:0001\" }}");
    let place = Place::with(&leads(&port, &[format!("\"127.0.0.1:{}\"", oracle.port)], &check));
    let mut portway = Portway::run(&place.file());
    portway.until("it is checked", |_| oracle.came() > 2);
    assert_eq!((*oracle.asked.lock().unwrap()).clone(), b"PI");
    assert_eq!(portway.count(DOWN), 0);
    oracle.answers(b"");
    assert_eq!(portway.phase(DOWN)["error"], "it closed without an answer");
    oracle.answers(b"....\x00\x01....");
    portway.phase(UP);
    portway.stop();
}

#[test]
fn checks_go_on_over_edits_that_do_not_name_them_and_end_with_their_route() {
    let (port, other, oracle) = (Port::reserve(), Port::reserve(), Oracle::that_answers(b"no"));
    let server = Server::new("a");
    let check = format!(
        "health = {{ {QUICK}, rise = 1, fall = 3, port = {}, send = \"?\", expect = \"yes\" }}",
        oracle.port
    );
    let (_, without) = leads(&other, &[entry(&server, "")], "")
        .split_once("[[route]]")
        .map(|(head, route)| (head.to_owned(), route.replace("\"app\"", "\"without\"")))
        .unwrap();
    let checked = leads(&port, &[entry(&server, "")], &check);
    let place = Place::with(&checked);
    let mut portway = Portway::run(&place.file());
    portway.phase(DOWN);
    // Another route comes, and this one changes in something else: the check knows what it knows.
    place.save(&format!("{checked}[[route]]{without}"));
    portway.phase("reloaded");
    place.save(&format!("{checked}idle_timeout = \"1h\"\n[[route]]{without}"));
    portway.phase("reloaded");
    let came = oracle.came();
    portway.until("it is checked on", |_| oracle.came() > came + 4);
    assert_eq!((portway.count(DOWN), portway.count(UP)), (1, 0));
    // The route without a check does not care.
    assert_eq!(Flow::open(other.number).reached, "a");
    let head = checked.split_once("[[route]]").unwrap().0;
    let held = Flow::open(port.number);
    place.save(&format!("{head}[[route]]{without}"));
    portway.phase("reloaded");
    // One may have been under way. A connection of the route that is gone does not keep its check.
    pass(Duration::from_millis(150));
    let came = oracle.came();
    pass(Duration::from_millis(800));
    assert_eq!(oracle.came(), came);
    drop(held);
    server.end_connections();
    portway.stop();
}
