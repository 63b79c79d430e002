//! A name with several addresses: a dead one costs little, and one connection arrives (RFC 8305).

use std::time::{Duration, Instant};

use crate::harness::proc::SYN_SENT;
use crate::harness::{End, Netns, Proxy, Upstream, lacks_root, until};

// getaddrinfo sorts by the length of the prefix that an address shares with our own, 10.99.0.1 (RFC 6724, rule 9): here
// in the order of the tests.
/// Silent: packets go to an Ethernet address that nobody has. 30 bits.
const SILENT: &str = "10.99.0.3";
/// Its port is closed. 26 bits.
const REFUSING: &str = "10.99.0.40";
/// The server is here. 25 bits.
const GOOD: &str = "10.99.0.66";

/// Where the proxy is, with the name `app` for these addresses; and where these addresses are.
fn app_at(addrs: &[&str]) -> (Netns, Netns) {
    let (near, far) = Netns::pair();
    near.ip(&format!("neigh add {SILENT} lladdr 02:00:00:00:00:66 dev wire nud permanent"));
    for addr in [REFUSING, GOOD] {
        far.ip(&format!("addr add {addr}/24 dev wire"));
    }
    let lines = addrs.iter().map(|addr| format!("{addr} app\n"));
    near.hosts(&lines.collect::<String>());
    (near, far)
}

/// How long a client waits for its server behind the name.
fn time_to_good_among(addrs: &[&str]) -> Duration {
    let (netns, far) = app_at(addrs);
    let upstream = far.enter(|| Upstream::at_ip(&format!("{GOOD}:0")));
    let port = upstream.addr.to_string().rsplit_once(':').unwrap().1.to_owned();
    // In the resolver's order; by default the addresses of a name take turns.
    let plan = Proxy::leading_to(&[&format!("app:{port}")]).with(&["--balance first"]);
    let proxy = plan.inside(&netns).start();
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let begun = Instant::now();
        let mut client = netns.enter(|| proxy.connect());
        let mut server = upstream.accept();
        best = best.min(begun.elapsed());
        // The server speaks first: it must be the one that the client hears.
        server.send(100);
        client.receive(100);
        assert_eq!(proxy.process.count(SYN_SENT), 0, "a losing attempt is left");
        assert!(upstream.accept_within(Duration::from_millis(350)).is_none(), "a second session");
    }
    proxy.finish();
    best
}

#[test]
fn a_silent_address_costs_250_ms() {
    if lacks_root() {
        return;
    }
    let took = time_to_good_among(&[SILENT, GOOD]);
    assert!(took > Duration::from_millis(240) && took < Duration::from_millis(400), "{took:?}");
}

#[test]
fn a_refusing_address_costs_nothing() {
    if lacks_root() {
        return;
    }
    let took = time_to_good_among(&[REFUSING, GOOD]);
    assert!(took < Duration::from_millis(200), "{took:?}");
}

#[test]
fn a_silent_and_a_refusing_address_cost_250_ms_together() {
    if lacks_root() {
        return;
    }
    let took = time_to_good_among(&[SILENT, REFUSING, GOOD]);
    assert!(took > Duration::from_millis(240) && took < Duration::from_millis(400), "{took:?}");
}

#[test]
fn when_all_addresses_fail_the_client_is_reset_after_one_timeout() {
    if lacks_root() {
        return;
    }
    let (netns, _far) = app_at(&[SILENT, REFUSING, GOOD]);
    let plan = Proxy::leading_to(&["app:9"]).with(&["--connect-timeout 600ms"]);
    let proxy = plan.inside(&netns).start();
    let begun = Instant::now();
    let mut client = netns.enter(|| proxy.connect());
    assert_eq!(client.receive_all(), End::Reset(0));
    assert!(begun.elapsed() >= Duration::from_millis(590), "{:?}", begun.elapsed());
    until("every attempt is gone", || proxy.process.count(SYN_SENT) == 0);
    proxy.finish();
}

#[test]
fn an_address_that_is_overtaken_again_and_again_is_not_waited_for() {
    if lacks_root() {
        return;
    }
    let (netns, far) = app_at(&[SILENT, GOOD]);
    let upstream = far.enter(|| Upstream::at_ip(&format!("{GOOD}:0")));
    let port = upstream.addr.to_string().rsplit_once(':').unwrap().1.to_owned();
    let plan = Proxy::leading_to(&[&format!("app:{port}")]).with(&["--balance first"]);
    let proxy = plan.inside(&netns).start();
    let connect = || {
        let begun = Instant::now();
        drop((netns.enter(|| proxy.connect()), upstream.accept()));
        begun.elapsed()
    };
    until("the silent address is down", || {
        connect();
        proxy.log().iter().any(|line| line.contains("upstream is down") && line.contains(SILENT))
    });
    let best = (0..3).map(|_| connect()).min().unwrap();
    assert!(best < Duration::from_millis(200), "{best:?}");
    proxy.finish();
}

#[test]
fn the_record_names_every_address_and_what_it_said() {
    let v4 = Upstream::on(crate::harness::upstream::Family::V4);
    let port = v4.addr.to_string().rsplit_once(':').unwrap().1.to_owned();
    drop(v4);
    let proxy = Proxy::leading_to(&[&format!("localhost:{port}")]).start();
    drop(proxy.addr.try_connect().map(|mut client| client.receive_all()));
    let detail = proxy.record(0)["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(&format!("127.0.0.1:{port}: connection refused (")), "{detail}");
    let addrs = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    if addrs.lines().any(|line| line.starts_with("::1") && line.contains(" localhost")) {
        assert!(detail.contains(&format!("[::1]:{port}: connection refused (")), "{detail}");
    }
    proxy.finish();
}
