//! Pipes are bounded: an unprivileged user gets a certain number of pages for them, and then pipes of two (A11).

use crate::harness::peer::push_until_blocked;
use crate::harness::{End, Netns, Peer, Proxy, Upstream, lacks_root, raise_descriptor_limit};

const CONNECTIONS: usize = 3000;
/// `relay::MOST_PIPES`, two descriptors each.
const MOST: usize = 2 * 512;

#[test]
fn three_thousand_connections_share_the_pipes_of_an_unprivileged_user() {
    if lacks_root() {
        return;
    }
    raise_descriptor_limit();
    let netns = Netns::new();
    // Small buffers in the kernel, so that a reader that does not read soon blocks its writer.
    netns.sysctl("ipv4/tcp_rmem", "4096 16384 32768");
    netns.sysctl("ipv4/tcp_wmem", "4096 16384 32768");
    let upstream = netns.enter(|| Upstream::at_ip("127.0.0.1:0"));
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"];
    let plan = Proxy::in_front_of(&upstream.addr).with(&["--set relay=splice"]);
    let proxy = plan.inside(&netns).under(&nobody).start();
    let pipes = || proxy.process.fds().get("pipe").copied().unwrap_or_default();
    let before = pipes();
    let (mut clients, mut servers): (Vec<Peer>, Vec<Peer>) =
        netns.enter(|| (0..CONNECTIONS).map(|_| (proxy.connect(), upstream.accept())).unzip());
    // Nobody reads: bytes stay in pipes, until there are no more.
    let pushed = push_until_blocked(&mut servers.iter_mut().collect::<Vec<_>>(), 8 << 20);
    assert!(pushed.iter().all(|&n| n < 8 << 20), "not blocked: {pushed:?}");
    let held = pipes() - before;
    assert!(held > MOST / 2 && held <= MOST, "{held} descriptors of pipes");
    // All of them work, with a pipe or without.
    for (client, server) in clients.iter_mut().zip(&mut servers) {
        client.send(1);
        server.receive(1);
    }
    for ((client, server), pushed) in clients.iter_mut().zip(&mut servers).zip(pushed) {
        server.fin();
        assert_eq!(client.receive_all(), End::Fin(pushed));
        client.fin();
        assert_eq!(server.receive_all(), End::Fin(1));
    }
    drop((clients, servers));
    proxy.finish();
}
