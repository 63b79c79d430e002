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
    /// Through a proxy at which the client's TLS ends.
    TlsEnds,
    /// Through a proxy at which TLS with the server begins.
    TlsBegins,
    /// Both.
    TlsBoth,
    /// Both, with a bandwidth larger than a test needs.
    TlsBound,
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
        let mut upstream = Upstream::on(server);
        let (ends, begins) = match way {
            Way::TlsEnds => (true, false),
            Way::TlsBegins => (false, true),
            Way::TlsBoth | Way::TlsBound => (true, true),
            Way::Direct | Way::Copy | Way::Auto | Way::Splice | Way::Bound => (false, false),
        };
        upstream.speaks_tls(begins);
        let through = |relay: &str| {
            let plan = Proxy::in_front_of(&upstream.addr).listening_on(client);
            let plan = plan.with(&[&format!("--set relay={relay}")]).with(options);
            let plan = if ends { plan.ending_tls() } else { plan };
            Some(if begins { plan.beginning_tls() } else { plan }.start())
        };
        let proxy = match way {
            Way::Direct => None,
            Way::Copy => through("copy"),
            Way::Auto => through("auto"),
            Way::Splice => through("splice"),
            Way::Bound | Way::TlsBound => through("auto --set bandwidth=1GiB/s"),
            Way::TlsEnds | Way::TlsBegins | Way::TlsBoth => through("auto"),
        };
        Scene { upstream, proxy, families: (client, server) }
    }

    /// A connection's two ends.
    #[track_caller]
    pub fn connect(&self) -> (Peer, Peer) {
        let client = self.proxy.as_ref().map_or_else(|| self.upstream.addr.connect(), Proxy::connect);
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
