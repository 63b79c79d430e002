//! A client, a server, and what is between them: nothing, or a proxy.

use super::upstream::Family;
use super::{Peer, Proxy, Upstream};

/// How the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The client connects to the server itself.
    Direct,
    /// Through a proxy with `relay = "copy"`.
    Copy,
    /// Through a proxy as it is by default: a buffer for messages, pipes for bulk data.
    Auto,
    /// Through a proxy with `relay = "splice"`.
    Splice,
    /// Through a proxy with a bandwidth, larger than a test needs.
    Bound,
}

/// One way from clients to a server.
pub struct Scene {
    /// The server.
    pub upstream: Upstream,
    /// The proxy, on a way that has one.
    pub proxy: Option<Proxy>,
    /// The families of the clients' and of the server's sockets.
    pub families: (Family, Family),
}

impl Scene {
    /// Starts the server and the proxy; `options` are the proxy's.
    #[track_caller]
    pub fn new(way: Way, client: Family, server: Family, options: &[&str]) -> Self {
        let upstream = Upstream::on(server);
        let through = |relay: &str| {
            let plan = Proxy::in_front_of(&upstream.addr).listening_on(client);
            Some(plan.with(&["--relay", relay]).with(options).start())
        };
        let proxy = match way {
            Way::Direct => None,
            Way::Copy => through("copy"),
            Way::Auto => through("auto"),
            Way::Splice => through("splice"),
            Way::Bound => through("auto --bandwidth 1GiB/s"),
        };
        Scene { upstream, proxy, families: (client, server) }
    }

    /// A connection's two ends.
    #[track_caller]
    pub fn connect(&self) -> (Peer, Peer) {
        let client = self.proxy.as_ref().map_or(&self.upstream.addr, |proxy| &proxy.addr).connect();
        (client, self.upstream.accept())
    }

    /// The gate of [`Proxy::finish`].
    #[track_caller]
    pub fn finish(self) {
        if let Some(proxy) = self.proxy {
            proxy.finish();
        }
    }
}
