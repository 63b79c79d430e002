//! Sessions that wait for a name, and datagrams that wait to be read.

use std::net::Ipv4Addr;

use rustix::process::Signal;

use super::peers::*;
use crate::harness::instance::*;
use crate::upstreams::resolver::{Resolver, Says};

/// What the log says was dropped, message by message.
fn dropped(portway: &mut Portway) -> Vec<String> {
    portway.catch_up();
    let told = portway.seen.iter().filter(|line| message(line) == "datagrams were dropped");
    told.map(|line| line["reasons"].as_str().unwrap().to_owned()).collect()
}

/// How many of them were dropped for this reason.
fn drops(portway: &mut Portway, reason: &str) -> u64 {
    let told = dropped(portway);
    let reasons = told.iter().flat_map(|reasons| reasons.split(", "));
    reasons.filter_map(|told| told.strip_prefix(reason)?.strip_prefix(' ')?.parse::<u64>().ok()).sum()
}

/// The name server says nothing at first, so the sessions wait; the resolver asks it again after a second.
#[test]
fn t6_t7_what_comes_before_its_name_has_an_address_is_kept_up_to_a_bound_and_sent_in_order() {
    if lacks_root() {
        return;
    }
    let netns = Netns::new();
    netns.resolver("nameserver 127.0.0.1\noptions timeout:1 attempts:5\n");
    let resolver = netns.enter(|| Resolver::start(&[("app", Says::Silence)]));
    let server = netns.enter(|| Server::on("127.0.0.11:3000", |datagram| vec![datagram.to_vec()]));
    let text = format!(
        "{LOGGED}[[route]]\nprotocol = \"udp\"\nlisten = \"127.0.0.1:8080\"\nupstream = \"app.test:3000\"\n\
         idle_timeout = \"2s\"\n"
    );
    let place = Place::with(&text);
    let mut portway = Portway::start(netns.command(PORTWAY).arg("run").arg("--config").arg(place.file()));
    let [few, large] = netns.enter(|| [Client::of(8080), Client::of(8080)]);
    // Seven small ones: four are kept. Of three with 1,500 bytes two are: four KiB are kept.
    (0..7).for_each(|n| few.send(&[n]));
    (0..3).for_each(|n| large.send(&[n; 1500]));
    portway.until("what does not fit is said", |portway| dropped(portway).concat().contains("resolving"));
    resolver.says("app", Says::Addrs(vec![Ipv4Addr::new(127, 0, 0, 11)]));
    for n in 0..4 {
        assert_eq!(few.hear(), [n]);
    }
    for n in 0..2 {
        assert_eq!(large.hear(), [n; 1500]);
    }
    assert!(few.hears_nothing() && large.hears_nothing());
    assert_eq!(few.ask(b"later"), b"later");
    let mut ended = records(&mut portway, 2);
    ended.sort_by_key(|record| record["up"].as_u64());
    let counts: [Vec<serde_json::Value>; 3] =
        ["up_datagrams", "down_datagrams", "up"].map(|key| ended.iter().map(|r| r[key].clone()).collect());
    let wanted: [Vec<serde_json::Value>; 3] =
        [[5, 2], [5, 2], [9, 3000]].map(|both| both.map(Into::into).to_vec());
    assert_eq!(counts, wanted);
    portway.stop();
    assert_eq!(server.heard().len(), 7);
}

/// Of what was kept for a name, what the kernel then does not let go is counted with what did not fit.
#[test]
fn what_was_kept_for_a_name_and_may_not_be_sent_is_counted_as_dropped() {
    if lacks_root() || lacks(&["nft"]) {
        return;
    }
    let netns = Netns::new();
    netns.resolver("nameserver 127.0.0.1\noptions timeout:1 attempts:5\n");
    let resolver = netns.enter(|| Resolver::start(&[("app", Says::Silence)]));
    netns.nft(
        "table ip forbids { chain output { type filter hook output priority 0\n ip daddr 127.0.0.11 drop\n }\n }\n",
    );
    let text = format!(
        "{LOGGED}[[route]]\nprotocol = \"udp\"\nlisten = \"127.0.0.1:8080\"\nupstream = \"app.test:3000\"\n\
         idle_timeout = \"5s\"\n"
    );
    let place = Place::with(&text);
    let mut portway = Portway::start(netns.command(PORTWAY).arg("run").arg("--config").arg(place.file()));
    let client = netns.enter(|| Client::of(8080));
    // Four of seven are kept.
    (0..7).for_each(|n| client.send(&[n]));
    portway.until("what does not fit is said", |portway| dropped(portway).concat().contains("resolving"));
    resolver.says("app", Says::Addrs(vec![Ipv4Addr::new(127, 0, 0, 11)]));
    let record = records(&mut portway, 1).swap_remove(0);
    assert_eq!((&record["up_datagrams"], &record["up"]), (&0.into(), &0.into()), "{record}");
    assert_eq!(record["detail"], "7 datagrams dropped", "{record}");
    portway.signal(Signal::TERM);
    portway.phase("stopped");
    portway.until("all are told", |portway| {
        [("resolving", 3), ("unreachable", 4)].iter().all(|(reason, count)| drops(portway, reason) == *count)
    });
}

/// More than one turn reads, and as many as the server's socket holds: each uses some 800 bytes of its buffer.
const BURST: u32 = 400;

/// They wait in its socket while it stands still; nothing comes behind them, and no session ends that would make it look.
#[test]
fn t8_a_burst_of_more_than_one_turn_is_read_to_its_end_without_another_datagram() {
    let (port, server) = (free_port(), Server::silent());
    socket2::SockRef::from(&server.socket).set_recv_buffer_size(1 << 20).unwrap();
    let place = Place::with(&one(port, &[server.addr], "idle_timeout = \"1h\"\non_change = \"cut\""));
    let mut portway = Portway::run(&place.file());
    let client = Client::of(port);
    client.send(b"first");
    portway.until("it has a session", |_| server.heard().len() == 1);
    portway.signal(Signal::STOP);
    (0..BURST).for_each(|n| client.send(&n.to_be_bytes()));
    portway.signal(Signal::CONT);
    portway.until("all have come", |_| server.heard().len() == 1 + BURST as usize);
    let heard: Vec<Vec<u8>> = server.heard().into_iter().skip(1).map(|(_, datagram)| datagram).collect();
    assert!(
        heard.iter().zip(0..).all(|(datagram, n): (_, u32)| *datagram == n.to_be_bytes()),
        "another order"
    );
    place.save(&one(port, &[server.addr], "idle_timeout = \"1s\"\non_change = \"cut\""));
    portway.phase("reloaded");
    portway.stop();
}

/// More than any queue holds, while nobody reads.
#[test]
fn what_the_kernel_drops_before_it_is_read_is_counted_and_said() {
    let (port, server) = (free_port(), Server::silent());
    let place = Place::with(&one(port, &[server.addr], "idle_timeout = \"2s\""));
    let mut portway = Portway::run(&place.file());
    let client = Client::of(port);
    client.send(b"first");
    portway.until("it has a session", |_| !server.heard().is_empty());
    portway.signal(Signal::STOP);
    let mut sent = 1;
    for _ in 0..100_000 {
        // A sender is told nothing of a full queue at the other end.
        client.send(&[0; 500]);
        sent += 1;
    }
    portway.signal(Signal::CONT);
    let record = records(&mut portway, 1).swap_remove(0);
    portway.signal(Signal::TERM);
    portway.phase("stopped");
    let overflow = drops(&mut portway, "overflow");
    assert!(overflow > 0, "{:?}", dropped(&mut portway));
    let up = record["up_datagrams"].as_u64().unwrap();
    assert!(
        up + overflow <= sent && up + overflow >= sent - 10,
        "{up} sent on and {overflow} dropped of {sent}"
    );
}

/// They come again and again; the log says it every ten seconds, and the sum is right.
#[test]
fn t19_drops_are_said_every_ten_seconds_and_none_is_left_out() {
    let (port, server) = (free_port(), Server::echo());
    let place = Place::with(&one(port, &[server.addr], "deny = \"127.0.0.0/8\""));
    let mut portway = Portway::run(&place.file());
    let client = Client::of(port);
    let mut sent = 0;
    while dropped(&mut portway).len() < 3 {
        client.send(b"?");
        sent += 1;
        pass(std::time::Duration::from_millis(100));
    }
    portway.signal(Signal::TERM);
    portway.phase("stopped");
    let told: u64 = dropped(&mut portway)
        .iter()
        .map(|reasons| reasons.strip_prefix("denied ").unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(told, sent, "{:?}", dropped(&mut portway));
    let times: Vec<f64> = portway
        .seen
        .iter()
        .filter(|line| message(line) == "datagrams were dropped")
        .map(|line| seconds(line["timestamp"].as_str().unwrap()))
        .collect();
    assert!(times[..3].windows(2).all(|two| (two[1] - two[0]).rem_euclid(86_400.0) >= 9.99), "{times:?}");
    assert!(server.heard().is_empty());
}

/// Seconds of the day in `…Thh:mm:ss.mmmZ`.
fn seconds(timestamp: &str) -> f64 {
    let time = timestamp.split_once('T').unwrap().1.trim_end_matches('Z');
    time.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap())
}
