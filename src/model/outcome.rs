//! How a connection ended. A value, not an error: the access log, the metrics and `status` all read it.

use super::words::words;

words! {
    /// How a connection ended, and so who ended it.
    pub enum Outcome {
        /// Both directions ended with FIN, the client's first.
        ClientClosed = "client-closed",
        /// Both directions ended with FIN, the upstream's first.
        UpstreamClosed = "upstream-closed",
        /// The client reset the connection; the upstream was reset in turn.
        ClientReset = "client-reset",
        /// The upstream reset the connection; the client was reset in turn.
        UpstreamReset = "upstream-reset",
        /// The client stopped answering (keepalive, unacknowledged data, an unreachable network).
        ClientLost = "client-lost",
        /// The upstream stopped answering.
        UpstreamLost = "upstream-lost",
        /// The upstream went down, and `on_down` says to cut its connections.
        UpstreamDown = "upstream-down",
        /// The upstream's address left its name, and `on_vanish` says to drain or cut its connections.
        UpstreamGone = "upstream-gone",
        /// No byte in either direction for `idle_timeout`.
        Idle = "idle",
        /// One side had sent FIN and the other no byte for `half_close_timeout`.
        HalfCloseTimeout = "half-close-timeout",
        /// No candidate could be connected.
        ConnectFailed = "connect-failed",
        /// Every upstream leads back to the listener, perhaps through other routes.
        Loop = "loop",
        /// Every candidate has as many connections as it takes, or the client or its route is over a limit.
        Limited = "limited",
        /// The lists of the route do not admit the client (`allow`, `deny`).
        Denied = "denied",
        /// The client had to begin with a PROXY header, and did not, or not in time.
        BadHeader = "bad-header",
        /// The client's TLS handshake failed, or did not finish in time.
        BadTls = "bad-tls",
        /// No route of the address serves what the client asks for.
        NoRoute = "no-route",
        /// A drain's time was over (a stop, `on_change`, `max_age`), or an edit cut the connection.
        Drained = "drained",
        /// Ended by a person, or by a second stop signal.
        Killed = "killed",
        /// A fault of Portway itself.
        Internal = "internal",
        /// UDP: no answer ever came, and the client fell silent.
        Unanswered = "unanswered",
        /// UDP: each datagram of the client had `max_replies` answers.
        Replied = "replied",
        /// UDP: it was removed in favour of a newer session.
        Evicted = "evicted",
        /// UDP: the upstream refused a datagram (ICMP: nothing listens there), after it had answered others.
        UpstreamRefused = "upstream-refused",
    }
}

words! {
    /// Who caused an outcome.
    pub enum Blame {
        /// The client closed, failed, broke a rule, or asked for what no route serves.
        Client = "client",
        /// The upstream closed, failed, refused, or did not answer.
        Upstream = "upstream",
        /// A setting of the file, an edit or a person.
        Operator = "operator",
        /// A bug of Portway.
        Portway = "portway",
    }
}

impl Outcome {
    /// Who caused this outcome.
    pub fn blame(self) -> Blame {
        match self {
            Outcome::ClientClosed
            | Outcome::ClientReset
            | Outcome::ClientLost
            | Outcome::BadHeader
            | Outcome::BadTls
            | Outcome::NoRoute => Blame::Client,
            Outcome::UpstreamClosed
            | Outcome::UpstreamReset
            | Outcome::UpstreamLost
            | Outcome::UpstreamDown
            | Outcome::Unanswered
            | Outcome::UpstreamRefused
            | Outcome::UpstreamGone
            | Outcome::ConnectFailed => Blame::Upstream,
            Outcome::Idle
            | Outcome::HalfCloseTimeout
            | Outcome::Limited
            | Outcome::Loop
            | Outcome::Denied
            | Outcome::Replied
            | Outcome::Evicted
            | Outcome::Drained
            | Outcome::Killed => Blame::Operator,
            Outcome::Internal => Blame::Portway,
        }
    }
}

words! {
    /// How the bytes of a connection were moved.
    pub enum DataPath {
        /// No byte was moved: there was no upstream.
        None = "none",
        /// tokio's `copy_bidirectional`, or buffers with a bandwidth limit.
        Copy = "copy",
        /// Through one buffer per thread: it never moved bulk data.
        Buffer = "buffer",
        /// As [`DataPath::Buffer`], although it moved bulk data: no pipe was available.
        BufferNoPipe = "buffer-no-pipe",
        /// As [`DataPath::Buffer`], although it moved bulk data: the kernel does not splice these sockets.
        BufferNoSplice = "buffer-no-splice",
        /// Through kernel pipes, at least in part.
        Splice = "splice",
        /// Through one buffer per thread, with TLS decrypted or encrypted.
        Tls = "tls",
        /// UDP: datagram by datagram.
        Datagram = "datagram",
    }
}

impl DataPath {
    /// Why the relay took this path, for a person.
    pub fn why(self) -> &'static str {
        match self {
            DataPath::None => "no upstream is connected",
            DataPath::Copy => "`relay` or `bandwidth` of the route says so",
            DataPath::Buffer => "no bulk data so far",
            DataPath::BufferNoPipe => "bulk data, but no pipe was available",
            DataPath::BufferNoSplice => "bulk data, but the kernel does not splice these sockets",
            DataPath::Splice => "bulk data, or `relay` of the route says so",
            DataPath::Tls => "TLS ends or begins here (`tls`)",
            DataPath::Datagram => "a UDP session",
        }
    }
}
