//! What a route forwards.

use super::words::words;

words! {
    /// What a route forwards.
    #[derive(Default)]
    pub enum Protocol {
        /// Connections.
        #[default]
        Tcp = "tcp",
        /// Datagrams, in sessions.
        Udp = "udp",
        /// Both, on the same ports: as a TCP route and a UDP route of one name.
        TcpUdp = "tcp+udp",
    }
}

impl Protocol {
    /// Whether a route of this protocol forwards `part`, which is TCP or UDP.
    pub fn has(self, part: Protocol) -> bool {
        self == part || self == Protocol::TcpUdp
    }

    /// TCP and UDP, as far as it has them.
    pub fn parts(self) -> impl Iterator<Item = Protocol> {
        [Protocol::Tcp, Protocol::Udp].into_iter().filter(move |part| self.has(*part))
    }
}
