//! Descriptors run out, and come back.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::launch::{Launch, connect, echo, lacks, ping, until, visit};

fn limit(portway: &crate::harness::launch::Portway, column: usize) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", portway.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(column).unwrap().to_owned()
}

#[test]
fn the_soft_limit_is_raised_to_the_hard_one() {
    let (launch, _) = Launch::on_free_port(&echo().to_string());
    let portway = launch.under(&["prlimit", "--nofile=64:3000"]).start().ready();
    assert_eq!((limit(&portway, 3), limit(&portway, 4)), ("3000".into(), "3000".into()));
    assert_eq!(portway.lines.count("WARN"), 0);
}

/// RELIABILITY C1: 200 clients and descriptors for a dozen.
#[test]
fn when_descriptors_run_out_clients_wait_and_nothing_spins() {
    let (launch, addr) = Launch::on_free_port(&echo().to_string());
    let portway = launch.under(&["prlimit", "--nofile=64"]).start().ready();
    portway.lines.wait_for("few connections fit");
    let mut first = connect(addr);
    ping(&mut first);
    let mut waiting: Vec<TcpStream> = (0..199)
        .map(|_| {
            let mut client = connect(addr);
            client.write_all(b"!").unwrap();
            client.set_nonblocking(true).unwrap();
            client
        })
        .collect();
    portway.lines.wait_for("no descriptor is left for another connection");
    let (cpu, started) = (portway.cpu(), Instant::now());
    let mut slowest = Duration::ZERO;
    while started.elapsed() < Duration::from_secs(2) {
        slowest = slowest.max(ping(&mut first));
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let used = portway.cpu() - cpu;
    assert!(used < started.elapsed() / 20, "{used:?} of processor time in {:?}", started.elapsed());
    assert!(slowest < Duration::from_millis(500), "an open connection was held up: {slowest:?}");
    // As they are served, they leave, and make room for the next: to the last.
    until("every client is served", || {
        waiting.retain_mut(|client| match client.read(&mut [0]) {
            Ok(1) => false,
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            other => panic!("a waiting client was turned away: {other:?}"),
        });
        waiting.is_empty()
    });
    ping(&mut first);
    visit(addr);
    until("the end of the episode", || {
        visit(addr);
        portway.lines.count("accepting without a pause") > 0
    });
    for told in ["no descriptor is left", "accepting without a pause", "few connections fit"] {
        assert_eq!(portway.lines.count(told), 1, "{:#?}", portway.lines.all());
    }
    assert_eq!(portway.lines.count("cannot accept"), 0);
    assert_eq!(portway.lines.count("outcome=connect-failed"), 0);
}

/// RELIABILITY C3: what accept4(2) may say and a server must survive.
#[test]
fn no_error_of_accept_ends_the_loop_or_spins() {
    if lacks(&["strace"]) {
        return;
    }
    let errors = ["ECONNABORTED", "EINTR", "EPROTO", "ENOBUFS", "ENOMEM", "EMFILE", "ENFILE"];
    std::thread::scope(|scope| {
        for error in errors {
            scope.spawn(move || survives(error));
        }
    });
}

fn survives(error: &str) {
    let (launch, addr) = Launch::on_free_port(&echo().to_string());
    // The first accept fails, and then each third.
    let inject = format!("inject=accept4:error={error}:when=1+3");
    let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=accept4", "-e", &inject];
    let portway = launch.under(&strace).start().ready();
    let cpu = portway.cpu();
    let started = Instant::now();
    for _ in 0..8 {
        visit(addr);
    }
    let (used, took) = (portway.cpu() - cpu, started.elapsed());
    assert!(took < Duration::from_secs(15), "{error}: {took:?}");
    assert!(used < Duration::from_millis(500), "{error}: {used:?} of processor time");
    let told = portway.lines.count("cannot accept");
    let of_one_client = matches!(error, "ECONNABORTED" | "EINTR" | "EPROTO");
    assert_eq!(told, usize::from(!of_one_client), "{error}: {:#?}", portway.lines.all());
}

/// The same error for ever: it costs no processor, and is told once.
#[test]
fn an_error_of_accept_that_stays_costs_nothing() {
    if lacks(&["strace"]) {
        return;
    }
    for (error, messages) in [("EMFILE", 1), ("ECONNABORTED", 0)] {
        let (launch, addr) = Launch::on_free_port(&echo().to_string());
        let inject = format!("inject=accept4:error={error}");
        let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=accept4", "-e", &inject];
        let portway = launch.under(&strace).start().ready();
        let _client = connect(addr);
        let cpu = portway.cpu();
        let started = Instant::now();
        until("two seconds are over", || started.elapsed() > Duration::from_secs(2));
        let used = portway.cpu() - cpu;
        assert!(used < Duration::from_millis(200), "{error}: {used:?} of processor time in two seconds");
        assert_eq!(portway.lines.count("cannot accept"), messages, "{error}");
    }
}
