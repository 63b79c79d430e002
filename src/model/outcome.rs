//! How a connection ended. A value, not an error: the access log, the metrics and `status` all read it.

use super::words::words;

words! {
    /// How a connection ended, and so who ended it. What stands above each is what a person reads: README, OpenAPI and
    /// `portway example outcomes` have it from here.
    pub enum Outcome {
        /// Both ended with FIN, the client first.
        ClientClosed = "client-closed",
        /// Both ended with FIN, the upstream first.
        UpstreamClosed = "upstream-closed",
        /// The client reset; the upstream was reset in turn.
        ClientReset = "client-reset",
        /// The upstream reset; the client was reset in turn.
        UpstreamReset = "upstream-reset",
        /// The client no longer answered.
        ClientLost = "client-lost",
        /// The upstream no longer answered.
        UpstreamLost = "upstream-lost",
        /// The upstream went down, and `on_down` cut it.
        UpstreamDown = "upstream-down",
        /// The address left its name, and `on_vanish` ended it.
        UpstreamGone = "upstream-gone",
        /// No byte moved for `idle_timeout`.
        Idle = "idle",
        /// One side had ended, the other was silent for `half_close_timeout`.
        HalfCloseTimeout = "half-close-timeout",
        /// No upstream could be connected.
        ConnectFailed = "connect-failed",
        /// Every upstream leads back to the listener, or the client to Portway.
        Loop = "loop",
        /// Every upstream has all the connections that it takes.
        Limited = "limited",
        /// `original_destination` does not have where the client wanted to go.
        Denied = "denied",
        /// The PROXY header was missing, wrong or late.
        BadHeader = "bad-header",
        /// The client's TLS handshake failed or was late.
        BadTls = "bad-tls",
        /// No route serves what the client asks for.
        NoRoute = "no-route",
        /// A drain's time was over, or an edit cut it.
        Drained = "drained",
        /// A person ended it, or a second stop signal.
        Killed = "killed",
        /// The new process of an upgrade died, and had moved bytes of it.
        UpgradeFailed = "upgrade-failed",
        /// A fault of Portway itself.
        Internal = "internal",
        /// UDP: no answer ever came, and the client fell silent.
        Unanswered = "unanswered",
        /// UDP: each datagram had its `max_replies` answers.
        Replied = "replied",
        /// It gave way to a newer one: a session, an unfinished hello, a held client.
        Evicted = "evicted",
        /// UDP: refused (ICMP) after answers.
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
    /// What to look at when there are many of them, for a person.
    pub fn look_at(self) -> &'static str {
        match self {
            Outcome::ClientClosed | Outcome::Replied => "nothing: usual",
            Outcome::UpstreamClosed => "nothing; too early: time limits of the upstream",
            Outcome::ClientReset => "the client: gave up, crashed, left data unread",
            Outcome::UpstreamReset => "the upstream's log: restart, crash, other protocol",
            Outcome::ClientLost => "its network; firewalls that forget",
            Outcome::UpstreamLost => "its host and network",
            Outcome::UpstreamDown => "`portway upstreams`: why",
            Outcome::UpstreamGone => "the name's records in DNS",
            Outcome::Idle => "`idle_timeout`; keepalives of the application",
            Outcome::HalfCloseTimeout => "who forgets to end",
            Outcome::ConnectFailed => "`detail`, `portway upstreams`, `portway probe`",
            Outcome::Loop => "`upstream` of the routes; DNS",
            Outcome::Limited => "`detail`; `max_connections` of the upstreams",
            Outcome::Denied => "`detail`; the list",
            Outcome::BadHeader => "`detail`; `trusted`",
            Outcome::BadTls => "`detail`: version, certificate, no TLS",
            Outcome::NoRoute => "`detail`; `sni` and `alpn` of the routes",
            Outcome::Drained => "`drain_timeout`, `max_age`; edits in the log",
            Outcome::Killed => "who used `portway kill` or `disable`",
            Outcome::UpgradeFailed => "the log: why it died",
            Outcome::Internal => "Portway's log; please report it",
            Outcome::Unanswered => "whether the upstream serves UDP; firewalls",
            Outcome::Evicted => "a flood? `max_sessions`, `preread_memory`",
            Outcome::UpstreamRefused => "whether the service still runs",
        }
    }

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
            | Outcome::Killed
            | Outcome::UpgradeFailed => Blame::Operator,
            Outcome::Internal => Blame::Portway,
        }
    }
}

words! {
    /// How the bytes of a connection were moved.
    pub enum DataPath {
        /// Not at all.
        None = "none",
        /// A buffer of the connection.
        Copy = "copy",
        /// One buffer per thread.
        Buffer = "buffer",
        /// As `buffer`.
        BufferNoPipe = "buffer-no-pipe",
        /// As `buffer`.
        BufferNoSplice = "buffer-no-splice",
        /// Kernel pipes, at least in part.
        Splice = "splice",
        /// One buffer per thread, and TLS.
        Tls = "tls",
        /// Datagram by datagram.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_who_is_to_blame_and_what_to_look_at() {
        for (word, blame, look_at) in [
            ("client-closed", "client", "nothing: usual"),
            ("upstream-closed", "upstream", "nothing; too early: time limits of the upstream"),
            ("client-reset", "client", "the client: gave up, crashed, left data unread"),
            ("upstream-reset", "upstream", "the upstream's log: restart, crash, other protocol"),
            ("client-lost", "client", "its network; firewalls that forget"),
            ("upstream-lost", "upstream", "its host and network"),
            ("upstream-down", "upstream", "`portway upstreams`: why"),
            ("upstream-gone", "upstream", "the name's records in DNS"),
            ("idle", "operator", "`idle_timeout`; keepalives of the application"),
            ("half-close-timeout", "operator", "who forgets to end"),
            ("connect-failed", "upstream", "`detail`, `portway upstreams`, `portway probe`"),
            ("loop", "operator", "`upstream` of the routes; DNS"),
            ("limited", "operator", "`detail`; `max_connections` of the upstreams"),
            ("denied", "operator", "`detail`; the list"),
            ("bad-header", "client", "`detail`; `trusted`"),
            ("bad-tls", "client", "`detail`: version, certificate, no TLS"),
            ("no-route", "client", "`detail`; `sni` and `alpn` of the routes"),
            ("drained", "operator", "`drain_timeout`, `max_age`; edits in the log"),
            ("killed", "operator", "who used `portway kill` or `disable`"),
            ("upgrade-failed", "operator", "the log: why it died"),
            ("internal", "portway", "Portway's log; please report it"),
            ("unanswered", "upstream", "whether the upstream serves UDP; firewalls"),
            ("replied", "operator", "nothing: usual"),
            ("evicted", "operator", "a flood? `max_sessions`, `preread_memory`"),
            ("upstream-refused", "upstream", "whether the service still runs"),
        ] {
            let outcome = Outcome::ALL.into_iter().find(|outcome| outcome.label() == word);
            let found = outcome.map(|outcome| (outcome.blame().label(), outcome.look_at()));
            assert_eq!(found, Some((blame, look_at)), "{word}");
        }
        assert_eq!(Outcome::ALL.len(), 25);
    }

    /// T20: each label with its reason.
    #[test]
    fn each_path_of_data_has_its_reason() {
        let said: Vec<(&str, &str)> =
            DataPath::ALL.into_iter().map(|path| (path.label(), path.why())).collect();
        let wanted = [
            ("none", "no upstream is connected"),
            ("copy", "`relay` or `bandwidth` of the route says so"),
            ("buffer", "no bulk data so far"),
            ("buffer-no-pipe", "bulk data, but no pipe was available"),
            ("buffer-no-splice", "bulk data, but the kernel does not splice these sockets"),
            ("splice", "bulk data, or `relay` of the route says so"),
            ("tls", "TLS ends or begins here (`tls`)"),
            ("datagram", "a UDP session"),
        ];
        assert_eq!(said, wanted);
    }
}
