//! Peers that vanish without a word: found in about the time that keepalive allows, whatever is on its way (B6).

use std::time::Duration;

use crate::harness::tls::Tls;
use crate::harness::upstream::Addr;
use crate::harness::{End, Netns, Peer, Proxy, Upstream, comes_true, lacks_root, pass, until};

/// A connection to an upstream at the far end of a wire, through a proxy with `keepalive = "1s"`.
struct Wire {
    client: Peer,
    server: Peer,
    proxy: Proxy,
    /// The upstream's end.
    far: Netns,
    _near: Netns,
    _upstream: Upstream,
}

impl Wire {
    /// `tls`: from the client to the proxy, and from there to the upstream. `None`: it needs root.
    fn new(tls: bool) -> Option<Wire> {
        if lacks_root() {
            return None;
        }
        let (near, far) = Netns::pair();
        let mut upstream = far.enter(|| Upstream::at_ip("10.99.0.2:0"));
        upstream.speaks_tls(tls);
        let plan = Proxy::in_front_of(&upstream.addr).with(&["--set keepalive=1s"]).inside(&near);
        let proxy = if tls { plan.ending_tls().beginning_tls() } else { plan }.start();
        let (client, server) = (near.enter(|| proxy.connect()), upstream.accept());
        Some(Wire { client, server, proxy, far, _near: near, _upstream: upstream })
    }
}

#[test]
fn a_dead_upstream_is_found_while_the_link_is_down() {
    for (active, tls) in [(false, false), (true, false), (false, true), (true, true)] {
        let Some(mut wire) = Wire::new(tls) else { return };
        let Wire { client, server, far, .. } = &mut wire;
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
        wire.proxy.finish();
    }
}

/// The second time round: the watch for answers has ended once, and begins anew with the next byte.
#[test]
fn t11_an_upstream_that_dies_after_a_quiet_spell_is_found() {
    for tls in [false, true] {
        let Some(mut wire) = Wire::new(tls) else { return };
        let Wire { client, server, far, .. } = &mut wire;
        for spell in 0..2 {
            client.send(1000);
            server.receive(1000);
            server.send(1000);
            client.receive(1000);
            // Longer than `keepalive`.
            pass(Duration::from_millis(2500));
            assert!(client.has_nothing(), "it ended in quiet spell {spell}");
        }
        far.ip("link set wire down");
        client.send(1000);
        let found = client.fails_within(Duration::from_secs(15));
        assert!(found > Duration::from_secs(3), "given up too early, after {found:?}");
        assert_eq!(client.receive_all(), End::Reset(2000));
        wire.proxy.finish();
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
        let Some(mut wire) = Wire::new(tls) else { return };
        let Wire { client, server, far, .. } = &mut wire;
        far.ip("link set wire down");
        client.send(300_000);
        client.fin();
        pass(Duration::from_secs(3));
        far.ip("link set wire up");
        assert_eq!(server.receive_all(), End::Fin(300_000));
        server.fin();
        assert!(comes_true(Duration::from_secs(5), || client.has_failed() || !client.has_nothing()));
        let Wire { client, server, proxy, .. } = wire;
        drop((client, server));
        proxy.finish();
    }
}
