//! The handshake with the upstream is acknowledged with the first data, which saves a segment; where there is none yet, at once:
//! a server that speaks first must know that it has a client.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::upstream::{Addr, Family};
use crate::harness::{Peer, Proxy, Upstream, pass};
use crate::on;

/// Less than the kernel waits with an acknowledgement: 40 ms (`TCP_DELACK_MIN`) to 200 ms.
const AT_ONCE: Duration = Duration::from_millis(38);
/// A busy machine may be late, but not every time.
const TRIES: usize = 20;

/// Segments without data that have come to the upstream's end of its one connection: the SYN, and an acknowledgement if it came
/// alone.
fn empty_segments(upstream: &Addr) -> u32 {
    let filter = ["-tinHO", "state", "established", "src", &upstream.to_string()];
    let shown = Command::new("ss").args(filter).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let number = |key: &str| -> u32 {
        let found = shown.split_whitespace().find_map(|word| word.strip_prefix(key));
        found.unwrap_or_else(|| panic!("no {key} in {shown}")).parse().unwrap()
    };
    number("segs_in:") - number("data_segs_in:")
}

#[test]
fn what_a_client_sends_first_carries_the_acknowledgement() {
    for relay in ["auto", "splice", "copy"] {
        let upstream = Upstream::on(Family::V4);
        let proxy = Proxy::in_front_of(&upstream.addr).with(&[&format!("--set relay={relay}")]).start();
        let carries = || {
            // So its data is there before the proxy has a turn, most often.
            proxy.signal(Signal::STOP);
            let mut client = proxy.connect();
            client.send(1000);
            proxy.signal(Signal::CONT);
            let mut server = upstream.accept();
            server.receive(1000);
            empty_segments(&upstream.addr) == 1
        };
        assert!((0..TRIES).any(|_| carries()), "{relay}");
        proxy.finish();
    }
}

/// From the client's connect until its server has said something.
fn greeted(connect: impl Fn() -> (Peer, Peer), after: Duration) -> Duration {
    let begun = Instant::now();
    let (mut client, mut server) = connect();
    pass(after);
    server.send(10);
    client.receive(10);
    begun.elapsed() - after
}

on! { few_ways:
    fn a_server_that_speaks_first_has_its_client_at_once(scene) {
        assert!((0..TRIES).any(|_| greeted(|| scene.connect(), Duration::ZERO) < AT_ONCE));
    }
}

#[test]
fn one_of_two_servers_that_speaks_first_and_one_that_waits_before_it_speaks() {
    let upstreams = [(); 2].map(|()| Upstream::on(Family::V4));
    let both = upstreams.each_ref().map(|upstream| upstream.addr.to_string());
    let proxy =
        Proxy::leading_to(&[both[0].as_str(), both[1].as_str()]).with(&["--set balance=first"]).start();
    // Here the upstream is watched for an early reset.
    let connect = || {
        let client = proxy.connect();
        (client, upstreams[0].accept())
    };
    for after in [0, 5, 50, 300].map(Duration::from_millis) {
        assert!((0..TRIES).any(|_| greeted(connect, after) < AT_ONCE), "{after:?}");
    }
    proxy.finish();
}

/// A PROXY header is data: it goes at once, whoever speaks first.
#[test]
fn a_header_carries_the_acknowledgement_too() {
    let upstream = Upstream::on(Family::V4);
    let proxy = Proxy::in_front_of(&upstream.addr).with(&["--set proxy_protocol={send=\"v1\"}"]).start();
    let carries = || {
        let begun = Instant::now();
        let _client = proxy.connect();
        let server = upstream.accept();
        let time = begun.elapsed();
        server.socket.peek(&mut [std::mem::MaybeUninit::uninit(); 10]).unwrap();
        time < AT_ONCE && empty_segments(&upstream.addr) == 1
    };
    assert!((0..TRIES).any(|_| carries()));
    proxy.finish();
}
