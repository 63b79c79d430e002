//! How a connection ended. A value, not an error: the access log, the metrics and `status` all read it.

use std::fmt;

/// How a connection ended, and so who ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Both directions ended with FIN, the client's first.
    ClientClosed,
    /// Both directions ended with FIN, the upstream's first.
    UpstreamClosed,
    /// The client reset the connection; the upstream was reset in turn.
    ClientReset,
    /// The upstream reset the connection; the client was reset in turn.
    UpstreamReset,
    /// The client stopped answering (keepalive, unacknowledged data, an unreachable network).
    ClientLost,
    /// The upstream stopped answering.
    UpstreamLost,
    /// The upstream went down, and `on_down` says to cut its connections.
    UpstreamDown,
    /// The upstream's address left its name, and `on_vanish` says to drain or cut its connections.
    UpstreamGone,
    /// No byte in either direction for `idle_timeout`.
    Idle,
    /// One side had sent FIN and the other no byte for `half_close_timeout`.
    HalfCloseTimeout,
    /// No candidate could be connected.
    ConnectFailed,
    /// Every candidate has the connections that it takes, or the client or its route is over a limit.
    Limited,
    /// The lists of the route do not let the client in (`allow`, `deny`).
    Denied,
    /// A client that must begin with a PROXY header did not, or not in time.
    BadHeader,
    /// The client's TLS handshake came to no good end, or not in time.
    BadTls,
    /// No route of the address serves what the client asks for.
    NoRoute,
    /// Out of a drain's time, or cut by an edit (`on_change`).
    Drained,
    /// Ended by a person, or by a second stop signal.
    Killed,
    /// A fault of Portway itself.
    Internal,
    /// UDP: no answer ever came, and the client fell silent.
    Unanswered,
    /// UDP: `max_replies` answers came.
    Replied,
    /// UDP: it had to make room for a newer session.
    Evicted,
    /// UDP: the upstream refused a datagram (ICMP: nothing listens there), after it had answered others.
    UpstreamRefused,
}

/// Whose doing an outcome is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The client.
    Client,
    /// The upstream.
    Upstream,
    /// A setting of the file, an edit or a person.
    Operator,
    /// Portway.
    Portway,
}

impl Outcome {
    /// Every outcome, for tests and for metrics.
    pub const ALL: [Outcome; 23] = [
        Outcome::ClientClosed,
        Outcome::UpstreamClosed,
        Outcome::ClientReset,
        Outcome::UpstreamReset,
        Outcome::ClientLost,
        Outcome::UpstreamLost,
        Outcome::UpstreamDown,
        Outcome::UpstreamGone,
        Outcome::Idle,
        Outcome::HalfCloseTimeout,
        Outcome::ConnectFailed,
        Outcome::Limited,
        Outcome::Denied,
        Outcome::BadHeader,
        Outcome::BadTls,
        Outcome::NoRoute,
        Outcome::Drained,
        Outcome::Killed,
        Outcome::Internal,
        Outcome::Unanswered,
        Outcome::Replied,
        Outcome::Evicted,
        Outcome::UpstreamRefused,
    ];

    /// The stable label of logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Outcome::ClientClosed => "client-closed",
            Outcome::UpstreamClosed => "upstream-closed",
            Outcome::ClientReset => "client-reset",
            Outcome::UpstreamReset => "upstream-reset",
            Outcome::ClientLost => "client-lost",
            Outcome::UpstreamLost => "upstream-lost",
            Outcome::UpstreamDown => "upstream-down",
            Outcome::UpstreamGone => "upstream-gone",
            Outcome::Idle => "idle",
            Outcome::HalfCloseTimeout => "half-close-timeout",
            Outcome::ConnectFailed => "connect-failed",
            Outcome::Limited => "limited",
            Outcome::Denied => "denied",
            Outcome::BadHeader => "bad-header",
            Outcome::BadTls => "bad-tls",
            Outcome::NoRoute => "no-route",
            Outcome::Drained => "drained",
            Outcome::Killed => "killed",
            Outcome::Internal => "internal",
            Outcome::Unanswered => "unanswered",
            Outcome::Replied => "replied",
            Outcome::Evicted => "evicted",
            Outcome::UpstreamRefused => "upstream-refused",
        }
    }

    /// Whose doing it is.
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
            | Outcome::Denied
            | Outcome::Replied
            | Outcome::Evicted
            | Outcome::Drained
            | Outcome::Killed => Blame::Operator,
            Outcome::Internal => Blame::Portway,
        }
    }
}

impl Blame {
    /// The stable label of logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Blame::Client => "client",
            Blame::Upstream => "upstream",
            Blame::Operator => "operator",
            Blame::Portway => "portway",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// How the bytes of a connection were moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataPath {
    /// No byte was moved: there was no upstream.
    None,
    /// tokio's `copy_bidirectional`.
    Copy,
    /// Through one buffer per thread: it never moved bulk data.
    Buffer,
    /// As [`DataPath::Buffer`], for want of a pipe, although it moved bulk data.
    BufferNoPipe,
    /// As [`DataPath::Buffer`], because the kernel does not splice these sockets, although it moved bulk data.
    BufferNoSplice,
    /// Through kernel pipes, at least in part.
    Splice,
    /// Through one buffer per thread, in which TLS was opened and sealed.
    Tls,
    /// UDP: datagram by datagram.
    Datagram,
}

impl DataPath {
    /// Every path, for tests and for metrics.
    pub const ALL: [DataPath; 8] = [
        DataPath::None,
        DataPath::Copy,
        DataPath::Buffer,
        DataPath::BufferNoPipe,
        DataPath::BufferNoSplice,
        DataPath::Splice,
        DataPath::Tls,
        DataPath::Datagram,
    ];

    /// Why so, for a person.
    pub fn why(self) -> &'static str {
        match self {
            DataPath::None => "no upstream is connected",
            DataPath::Copy => "`relay` or `bandwidth` of the route says so",
            DataPath::Buffer => "no bulk data so far",
            DataPath::BufferNoPipe => "bulk data, but there was no pipe to be had",
            DataPath::BufferNoSplice => "bulk data, but the kernel does not splice these sockets",
            DataPath::Splice => "bulk data, or `relay` of the route says so",
            DataPath::Tls => "TLS ends or begins here (`tls`)",
            DataPath::Datagram => "a UDP session",
        }
    }

    /// The stable label of logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            DataPath::None => "none",
            DataPath::Copy => "copy",
            DataPath::Buffer => "buffer",
            DataPath::BufferNoPipe => "buffer-no-pipe",
            DataPath::BufferNoSplice => "buffer-no-splice",
            DataPath::Splice => "splice",
            DataPath::Tls => "tls",
            DataPath::Datagram => "datagram",
        }
    }
}
