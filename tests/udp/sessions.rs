//! F1, F5: who a session is between, how long it lives, and what is said of it.

use std::time::{Duration, Instant};

use super::peers::*;
use crate::harness::instance::*;
use crate::harness::proc::Process;

#[test]
fn an_answer_leaves_from_the_very_address_that_was_written_to() {
    let (port, server) = (free_port(), Server::echo());
    for (listen, to) in [
        (format!("{port}"), &["127.0.0.1", "127.0.0.2", "127.9.8.7", "[::1]"][..]),
        (format!("0.0.0.0:{port}"), &["127.0.0.1", "127.0.0.2"]),
        (format!("[::]:{port}"), &["[::1]"]),
        (format!("[::1]:{port}"), &["[::1]"]),
        (format!("127.0.0.3:{port}"), &["127.0.0.3"]),
    ] {
        let text = format!("{LOGGED}{}", udp_route("udp", &listen, &[server.addr], "idle_timeout = \"1s\""));
        let place = Place::with(&text);
        let portway = Portway::run(&place.file());
        for to in to {
            let client = Client::at(&format!("{to}:{port}"));
            for turn in 0..3 {
                let text = format!("{listen} {to} {turn}");
                assert_eq!(client.says(&text), text);
            }
        }
        portway.stop();
    }
}

/// F1: a session is the client's address and the address that it wrote to.
#[test]
fn one_client_at_two_addresses_has_two_sessions() {
    let (port, server) = (free_port(), Server::echo());
    let text =
        format!("{LOGGED}{}", udp_route("udp", &port.to_string(), &[server.addr], "idle_timeout = \"1s\""));
    let place = Place::with(&text);
    let mut portway = Portway::run(&place.file());
    let client = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    for to in ["127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.2"] {
        client.send_to(to.as_bytes(), (to, port)).unwrap();
        let mut buffer = [0; 64];
        let (length, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from.to_string()), (to.as_bytes(), format!("{to}:{port}")));
    }
    let ways = [server.sources_of(b"127.0.0.1"), server.sources_of(b"127.0.0.2")];
    assert!(ways[0].len() == 1 && ways[1].len() == 1 && ways[0] != ways[1], "{ways:?}");
    let records = records(&mut portway, 2);
    for record in &records {
        assert_eq!((&record["up_datagrams"], &record["down_datagrams"]), (&2.into(), &2.into()), "{record}");
        assert_eq!((&record["up"], &record["down"]), (&18.into(), &18.into()), "{record}");
        assert_eq!((&record["outcome"], &record["path"]), (&"idle".into(), &"datagram".into()), "{record}");
        assert_eq!(record["upstream"], server.addr.to_string());
    }
    assert_eq!(records.len(), 2);
    portway.stop();
}

/// Not even on a machine that is busy with other things, on which a loop gets little of it.
#[test]
fn a_session_with_nothing_to_read_costs_no_processor_time() {
    let (port, server) = (free_port(), Server::echo());
    let place = Place::with(&one(port, &[server.addr], "idle_timeout = \"5s\""));
    let portway = Portway::run(&place.file());
    assert_eq!(Client::of(port).says("hello"), "hello");
    let process = Process(portway.pid());
    let before = process.cpu();
    pass(Duration::from_secs(2));
    let used = process.cpu() - before;
    assert!(used < Duration::from_millis(60), "{used:?} of processor time in two seconds");
    portway.stop();
}

/// F5. In both directions a datagram puts the end off: elsewhere one-way streams die of an idle timer that looks at one
/// side only.
#[test]
fn silence_in_both_directions_ends_a_session_and_one_of_them_does_not() {
    let (port, server) = (free_port(), Server::echo());
    let place = Place::with(&one(port, &[server.addr], "idle_timeout = \"400ms\""));
    let mut portway = Portway::run(&place.file());
    let client = Client::of(port);
    client.ask(b"hello");
    let from = server.sources_of(b"hello")[0];
    // Only the upstream speaks, for three times the idle time.
    for turn in 0..12_u8 {
        pass(Duration::from_millis(100));
        server.socket.send_to(&[turn], from).unwrap();
        assert_eq!(client.hear(), [turn]);
    }
    portway.catch_up();
    assert!(portway.seen.iter().all(|line| line.get("outcome").is_none()), "{}", portway.log());
    let began = Instant::now();
    let record = records(&mut portway, 1).swap_remove(0);
    assert!(began.elapsed() >= Duration::from_millis(350), "{:?}", began.elapsed());
    assert_eq!((&record["outcome"], &record["down_datagrams"]), (&"idle".into(), &13.into()), "{record}");
    // The same client again is a new session.
    client.ask(b"again");
    assert_ne!(server.sources_of(b"again")[0], from);
    records(&mut portway, 2);
    portway.stop();
}

#[test]
fn a_session_without_an_answer_lives_for_a_part_of_the_idle_time() {
    let (port, server) = (free_port(), Server::silent());
    // A quarter of 24 s.
    let place = Place::with(&one(port, &[server.addr], "idle_timeout = \"24s\""));
    let mut portway = Portway::run(&place.file());
    let client = Client::of(port);
    let began = Instant::now();
    client.send(b"anybody?");
    let record = records(&mut portway, 1).swap_remove(0);
    let lived = began.elapsed();
    assert!((5_900..20_000).contains(&lived.as_millis()), "{lived:?}");
    assert_eq!((&record["outcome"], &record["blame"]), (&"unanswered".into(), &"upstream".into()));
    portway.stop();
}

/// F5: DNS. Two questions from one port, as resolvers ask for A and AAAA, are one session until both are answered.
#[test]
fn a_session_ends_when_each_question_has_its_answers() {
    let answers = |datagram: &[u8]| match datagram {
        b"hold" => Vec::new(),
        b"go" => vec![b"answer".to_vec(); 4],
        _ => vec![b"answer".to_vec(); 2],
    };
    let (port, server) = (free_port(), Server::on("127.0.0.1:0", answers));
    let place = Place::with(&one(port, &[server.addr], "max_replies = 2"));
    let mut portway = Portway::run(&place.file());
    let client = Client::of(port);
    for (questions, expected) in [(&["hold", "go"][..], 4), (&["one"], 2)] {
        for question in questions {
            client.send(question.as_bytes());
        }
        for _ in 0..expected {
            assert_eq!(client.hear(), b"answer");
        }
    }
    let records = records(&mut portway, 2);
    let seen: Vec<_> =
        records.iter().map(|r| (r["up_datagrams"].clone(), r["down_datagrams"].clone())).collect();
    assert_eq!(seen, [(2.into(), 4.into()), (1.into(), 2.into())]);
    assert!(records.iter().all(|record| record["outcome"] == "replied"));
    assert_ne!(server.sources_of(b"go"), server.sources_of(b"one"));
    portway.stop();
}

#[test]
fn a_port_may_be_of_tcp_and_of_udp() {
    let (port, server, backend) = (free_port(), Server::named("udp"), Backend::named("tcp"));
    let listen = format!("127.0.0.1:{port}");
    let udp = udp_route("udp", &listen, &[server.addr], "idle_timeout = \"1s\"");
    let place = Place::with(&format!("{LOGGED}{udp}{}", route("tcp", &listen, &backend, "")));
    let portway = Portway::run(&place.file());
    assert_eq!(reached(port), "tcp");
    assert_eq!(Client::of(port).says("x"), "udp x");
    portway.stop();
}

/// Each port of a range leads to its own.
#[test]
fn a_range_leads_port_by_port() {
    let neighbours = || loop {
        let (low, high) = (free_port(), free_port());
        if high == low + 1 {
            return low;
        }
    };
    let (from, to) = (neighbours(), neighbours());
    let said = |name: &'static str| move |_: &[u8]| vec![name.as_bytes().to_vec()];
    let _low = Server::on(&format!("127.0.0.1:{to}"), said("low"));
    let _high = Server::on(&format!("127.0.0.1:{}", to + 1), said("high"));
    let text = format!(
        "{LOGGED}[[route]]\nprotocol = \"udp\"\nidle_timeout = \"1s\"\nlisten = \"127.0.0.1:{from}-{}\"\n\
         upstream = \"127.0.0.1:{to}-{}\"\n",
        from + 1,
        to + 1
    );
    let place = Place::with(&text);
    let portway = Portway::run(&place.file());
    assert_eq!(Client::of(from).says("x"), "low");
    assert_eq!(Client::of(from + 1).says("x"), "high");
    portway.stop();
}

/// A name is looked up beside the datagrams: what comes meanwhile is kept, in order.
#[test]
fn a_name_is_looked_up_without_losing_the_first_datagrams() {
    let (port, server) = (free_port(), Server::echo());
    let text = format!(
        "{LOGGED}[[route]]\nprotocol = \"udp\"\nlisten = \"127.0.0.1:{port}\"\nupstream = \"localhost:{}\"\nidle_timeout = \"1s\"\n",
        server.addr.port()
    );
    let place = Place::with(&text);
    let mut portway = Portway::run(&place.file());
    let client = Client::of(port);
    for n in 0..4 {
        client.send(&[n]);
    }
    for n in 0..4 {
        assert_eq!(client.hear(), [n]);
    }
    let record = records(&mut portway, 1).swap_remove(0);
    assert_eq!(record["route"], format!("127.0.0.1:{port}/udp"));
    assert_eq!(record["upstream"], format!("localhost:{}", server.addr.port()));
    portway.stop();
}
