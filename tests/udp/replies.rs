//! R16: `max_replies` passes exactly as many answers as were asked for, however they arrive.

use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use rustix::process::Signal;

use super::peers::*;
use crate::harness::instance::*;

/// A server that keeps what it hears: the test answers in its name.
fn asked(
    place: &Place,
    server: &Server,
    port: u16,
    questions: usize,
) -> (Portway, Client, std::net::SocketAddr) {
    let mut portway = Portway::run(&place.file());
    let client = Client::of(port);
    for number in 0..questions {
        client.send(&[number as u8]);
    }
    portway.until("the questions have come", |_| server.heard().len() == questions);
    let from = server.heard()[0].0;
    (portway, client, from)
}

fn ends_after(portway: &mut Portway, client: &Client, answers: usize) {
    for number in 0..answers {
        assert_eq!(client.hear(), [number as u8; 20]);
    }
    let record = records(portway, 1).swap_remove(0);
    assert_eq!(
        (&record["outcome"], &record["down_datagrams"]),
        (&"replied".into(), &answers.into()),
        "{record}"
    );
    assert!(client.hears_nothing());
}

/// What Portway has read and the client does not get is counted. What is left in the kernel goes with the session's socket.
fn surplus_is_said(portway: &mut Portway, surplus: u64) {
    let dropped = |portway: &Portway| {
        let told = portway.seen.iter().find(|line| message(line) == "datagrams were dropped")?;
        Some(told["reasons"].as_str()?.to_owned())
    };
    portway.until("it is said", |portway| dropped(portway).is_some());
    assert_eq!(dropped(portway).unwrap(), format!("surplus {surplus}"));
}

/// All answers wait when Portway looks: one call reads them.
#[test]
fn r16_answers_that_wait_together_are_counted_one_by_one() {
    for (questions, replies, answers) in [(1, 1, 2), (1, 1, 40), (2, 1, 5), (2, 3, 9)] {
        let (port, server) = (free_port(), Server::silent());
        let place = Place::with(&one(port, &[server.addr], &format!("max_replies = {replies}")));
        let (mut portway, client, from) = asked(&place, &server, port, questions);
        portway.signal(Signal::STOP);
        for number in 0..answers {
            server.socket.send_to(&[number as u8; 20], from).unwrap();
        }
        portway.signal(Signal::CONT);
        ends_after(&mut portway, &client, questions * replies);
        portway.stop();
    }
}

/// The server's kernel sends them as one, and ours receives them as one.
#[test]
fn r16_answers_that_the_kernel_merges_are_counted_one_by_one() {
    let (port, server) = (free_port(), Server::silent());
    let place = Place::with(&one(port, &[server.addr], "max_replies = 1"));
    let (mut portway, client, destination) = asked(&place, &server, port, 3);
    let own = server.socket.try_clone().unwrap();
    let state = UdpSocketState::new(UdpSockRef::from(&own)).unwrap();
    if !can("GSO", state.max_gso_segments() >= 32) {
        return;
    }
    let contents: Vec<u8> = (0..30_u8).flat_map(|number| [number; 20]).collect();
    let transmit =
        Transmit { destination, ecn: None, contents: &contents, segment_size: Some(20), src_ip: None };
    state.try_send(UdpSockRef::from(&own), &transmit).unwrap();
    ends_after(&mut portway, &client, 3);
    surplus_is_said(&mut portway, 27);
    portway.stop();
}
