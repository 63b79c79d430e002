//! The hint that a gateway hides who the clients are.

use crate::harness::upstream::Addr;
use crate::harness::{Netns, Proxy, Upstream, lacks_root, until};

const HINT: &str = "every client comes from the gateway of this network";

#[test]
fn a_route_whose_clients_all_come_from_the_gateway_says_so_once() {
    if lacks_root() {
        return;
    }
    // The container, and the host that is its gateway.
    let (container, host) = Netns::pair();
    container.ip("route add default via 10.99.0.2");
    host.ip("addr add 10.99.0.3/24 dev wire");
    let upstream = container.enter(|| Upstream::at_ip("127.0.0.1:0"));
    for (others, hints) in [(false, 1), (true, 0)] {
        let proxy =
            Proxy::in_front_of(&upstream.addr).inside(&container).listening_at("10.99.0.1:PORT").start();
        let addr: std::net::SocketAddr = format!("10.99.0.1:{}", proxy.port()).parse().unwrap();
        let client = |from: &str| {
            let to = Addr::Ip(addr);
            let socket = host.enter(|| {
                let socket = to.socket();
                socket.bind(&format!("{from}:0").parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
                socket.connect(&to.raw()).unwrap();
                socket
            });
            drop(upstream.accept());
            drop(socket);
        };
        for n in 0..50 {
            client(if others && n == 10 { "10.99.0.3" } else { "10.99.0.2" });
        }
        proxy.record(49);
        let told = || proxy.log().iter().filter(|line| line.contains(HINT)).count();
        until("all is said", || told() == hints);
        if let Some(line) = proxy.log().iter().find(|line| line.contains(HINT)) {
            assert!(line.contains("\"gateway\":\"10.99.0.2\"") && line.contains("userland-proxy"), "{line}");
        }
        proxy.finish();
    }
}
