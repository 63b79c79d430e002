//! Peers that vanish without a word: found in about the time that keepalive allows, whatever is on its way (B6).

use std::time::Duration;

use crate::harness::tls::Tls;
use crate::harness::upstream::Addr;
use crate::harness::{End, Netns, Proxy, Upstream, comes_true, lacks_root, pass, until};

#[test]
fn a_dead_upstream_is_found_while_the_link_is_down() {
    for (active, tls) in [(false, false), (true, false), (false, true), (true, true)] {
        if lacks_root() {
            return;
        }
        let (near, far) = Netns::pair();
        let mut upstream = far.enter(|| Upstream::at_ip("10.99.0.2:0"));
        upstream.speaks_tls(tls);
        let plan = Proxy::in_front_of(&upstream.addr).with(&["--set keepalive=1s"]).inside(&near);
        let proxy = if tls { plan.ending_tls().beginning_tls() } else { plan }.start();
        let mut client = near.enter(|| proxy.connect());
        let mut server = upstream.accept();
        client.send(1000);
        server.receive(1000);
        until("the upstream has acknowledged all", || server.unacknowledged() == 0);
        far.ip("link set wire down");
        if active {
            // Its kernel never acknowledges this, so no keepalive probe is ever sent.
            client.send(1000);
        }
        let found = client.fails_within(Duration::from_secs(15));
        assert!(found > Duration::from_secs(4), "given up too early, after {found:?}");
        assert_eq!(client.receive_all(), End::Reset(0));
        proxy.finish();
    }
}

#[test]
fn a_dead_client_is_found_while_data_is_on_its_way_to_it() {
    for tls in [false, true] {
        if lacks_root() {
            return;
        }
        let (near, far) = Netns::pair();
        let upstream = near.enter(|| Upstream::at_ip("127.0.0.1:0"));
        let plan = Proxy::in_front_of(&upstream.addr).with(&["--set keepalive=1s"]).inside(&near);
        let plan = if tls { plan.ending_tls() } else { plan };
        let proxy = plan.listening_at("10.99.0.1:PORT").start();
        let addr = format!("10.99.0.1:{}", proxy.port());
        let client = far.enter(|| Addr::Ip(addr.parse().unwrap()).connect());
        let client = if tls { client.over(Tls::client).unwrap() } else { client };
        let mut server = upstream.accept();
        far.ip("link set wire down");
        // It goes on writing until it is blocked, and beyond: the reset reaches it nevertheless.
        server.push_until_blocked(u64::MAX);
        server.fails_within(Duration::from_secs(20));
        proxy.finish();
        drop(client);
    }
}

#[test]
fn a_link_that_is_down_for_less_than_keepalive_allows_loses_nothing() {
    for tls in [false, true] {
        if lacks_root() {
            return;
        }
        let (near, far) = Netns::pair();
        let mut upstream = far.enter(|| Upstream::at_ip("10.99.0.2:0"));
        upstream.speaks_tls(tls);
        let plan = Proxy::in_front_of(&upstream.addr).with(&["--set keepalive=1s"]).inside(&near);
        let proxy = if tls { plan.ending_tls().beginning_tls() } else { plan }.start();
        let (mut client, mut server) = (near.enter(|| proxy.connect()), upstream.accept());
        far.ip("link set wire down");
        client.send(300_000);
        client.fin();
        pass(Duration::from_secs(3));
        far.ip("link set wire up");
        assert_eq!(server.receive_all(), End::Fin(300_000));
        server.fin();
        assert!(comes_true(Duration::from_secs(5), || client.has_failed() || !client.has_nothing()));
        drop((client, server));
        proxy.finish();
    }
}
