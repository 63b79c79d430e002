//! F3: an upstream that refuses is noticed, and its sessions end or move.

use super::peers::*;
use crate::harness::instance::*;

#[test]
fn a_session_without_an_answer_moves_on_with_what_it_has_asked() {
    let (port, server) = (free_port(), Server::named("spare"));
    let upstreams = [closed_port(), closed_port(), server.addr];
    let place = Place::with(&one(port, &upstreams, "balance = \"first\"\nidle_timeout = \"1s\""));
    let mut portway = Portway::run(&place.file());
    // One datagram is enough: the client need not ask again.
    assert_eq!(Client::of(port).says("first"), "spare first");
    let record = records(&mut portway, 1).swap_remove(0);
    assert_eq!(record["outcome"], "idle");
    assert_eq!(record["upstream"], server.addr.to_string());
    let detail = record["detail"].as_str().unwrap();
    assert_eq!(detail.matches("connection refused").count(), 2, "{detail}");
    // Three in a row put an upstream down: it is passed over, and that is said.
    for _ in 0..3 {
        assert_eq!(Client::of(port).says("again"), "spare again");
    }
    for _ in 0..2 {
        let down = portway.phase("upstream is down");
        assert_eq!(down["error"], "connection refused", "of this upstream alone: {down}");
    }
    portway.stop();
}

#[test]
fn where_all_refuse_the_session_ends() {
    let port = free_port();
    let upstreams = [closed_port(), closed_port()];
    let place = Place::with(&one(port, &upstreams, "idle_timeout = \"10s\""));
    let mut portway = Portway::run(&place.file());
    Client::of(port).send(b"anybody?");
    let record = records(&mut portway, 1).swap_remove(0);
    assert_eq!((&record["outcome"], &record["blame"]), (&"connect-failed".into(), &"upstream".into()));
    portway.stop();
}

#[test]
fn an_upstream_that_goes_away_ends_its_sessions_and_is_found_when_it_is_back() {
    let (port, server) = (free_port(), Server::named("one"));
    let place = Place::with(&one(port, &[server.addr], "idle_timeout = \"1s\""));
    let mut portway = Portway::run(&place.file());
    let client = Client::of(port);
    assert_eq!(client.says("a"), "one a");
    let addr = server.close();
    client.send(b"b");
    let record = records(&mut portway, 1).swap_remove(0);
    assert_eq!((&record["outcome"], &record["blame"]), (&"upstream-refused".into(), &"upstream".into()));
    let _server = Server::on(&addr.to_string(), |_| vec![b"back".to_vec()]);
    assert_eq!(client.says("c"), "back");
    portway.stop();
}

/// A connected socket hears its upstream only.
#[test]
fn nobody_but_the_upstream_can_answer() {
    let (port, server) = (free_port(), Server::echo());
    let place = Place::with(&one(port, &[server.addr], "idle_timeout = \"1s\""));
    let portway = Portway::run(&place.file());
    let client = Client::of(port);
    client.ask(b"hello");
    let way = server.sources_of(b"hello")[0];
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(b"forged", way).unwrap();
    assert_eq!(client.ask(b"real"), b"real");
    assert!(client.hears_nothing());
    portway.stop();
}

#[test]
fn one_upstream_that_is_gone_does_not_delay_the_others() {
    let (port, server) = (free_port(), Server::named("fine"));
    let more = "balance = \"round-robin\"\nidle_timeout = \"1s\"";
    // Nobody answers for this address, and nobody refuses.
    let silent = Server::silent();
    let place = Place::with(&one(port, &[silent.addr, server.addr], more));
    let portway = Portway::run(&place.file());
    let clients: Vec<Client> = (0..20).map(|_| Client::of(port)).collect();
    for client in &clients {
        client.send(b"x");
    }
    let answered = server.heard().len();
    let mut heard = 0;
    for client in clients {
        heard += usize::from(!client.hears_nothing());
    }
    assert_eq!(heard, 10, "every second client was led to the one that answers ({answered} so far)");
    portway.stop();
}
