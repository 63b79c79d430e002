//! F2, S1: made-up senders.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use super::peers::*;
use crate::harness::instance::*;

const LIVE: usize = 100;
const MADE_UP: u32 = 200_000;
const AT_ONCE: u32 = 200;
const NEW: u32 = 50;

fn memory(portway: &Portway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", portway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// 200,000 senders that nobody answers, each of another address and port: memory stands still once the bound is reached,
/// a hundred sessions that live lose nothing, and keep their way to the upstream, and fifty that begin are served.
#[test]
fn s1_a_flood_of_made_up_senders_displaces_nobody_who_lives_and_keeps_nobody_out() {
    let port = free_port();
    let server =
        Server::on(
            "127.0.0.1:0",
            |datagram| {
                if datagram == b"flood" { Vec::new() } else { vec![datagram.to_vec()] }
            },
        );
    // On a busy machine a live one is asked again after more than a minute: it must not end for that.
    let limits = "max_sessions = 4000\nidle_timeout = \"1h\"\non_change = \"cut\"";
    let text = one(port, &[server.addr], limits).replace("access = \"stderr\"", "access = \"off\"");
    let place = Place::with(&text);
    let mut portway = Portway::run(&place.file());
    let live: Vec<Client> = (0..LIVE).map(|_| Client::of(port)).collect();
    prove(&live);
    let target: SocketAddr = ([127, 0, 0, 1], port).into();
    let (mut after_bound, mut highest, mut newcomers) = (0, 0, 0);
    for sender in 0..MADE_UP {
        let [_, a, b, c] = (sender / 4 + (1 << 16)).to_be_bytes();
        let socket = UdpSocket::bind((Ipv4Addr::new(127, a, b, c), 0)).unwrap();
        socket.send_to(b"flood", target).unwrap();
        if sender % AT_ONCE == 0 {
            // An answer shows that all before it was read: no datagram is lost for want of room in a socket.
            let client = &live[(sender / AT_ONCE) as usize % LIVE];
            let question = sender.to_be_bytes();
            assert_eq!(client.ask(&question), question);
        }
        if sender % (MADE_UP / NEW) == AT_ONCE / 2 {
            let newcomer = Client::from(Ipv4Addr::new(127, 0, 1, (sender / (MADE_UP / NEW)) as u8), port);
            assert_eq!(newcomer.ask(b"new"), b"new");
            newcomers += 1;
        }
        if sender == 10_000 {
            after_bound = memory(&portway);
        }
        if sender > 10_000 && sender % 10_000 == 0 {
            highest = highest.max(memory(&portway));
        }
    }
    assert!(highest <= after_bound + 8, "{after_bound} MiB at the bound, then {highest} MiB");
    assert_eq!(newcomers, NEW);
    assert!(portway.sockets().len() <= 4010, "{} sockets", portway.sockets().len());
    let heard = server.heard();
    let floods = heard.iter().filter(|(_, datagram)| datagram == b"flood").count();
    assert!(floods >= MADE_UP as usize / 2, "only {floods} of {MADE_UP} came through");
    let mut ways: Vec<SocketAddr> = heard
        .iter()
        .filter(|(_, datagram)| datagram != b"flood" && datagram != b"new")
        .map(|(from, _)| *from)
        .collect();
    ways.sort();
    ways.dedup();
    assert_eq!(ways.len(), LIVE, "a live session was made anew");
    place.save(&one(port, &[server.addr], "on_change = \"cut\"\nmax_sessions = 1"));
    portway.phase("reloaded");
    portway.stop();
}
