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

#[cfg(test)]
mod tests {
    use super::Protocol::{self, Tcp, TcpUdp, Udp};

    #[test]
    fn both_have_each_and_each_has_itself() {
        let parts = |protocol: Protocol| protocol.parts().collect::<Vec<_>>();
        assert_eq!((parts(Tcp), parts(Udp), parts(TcpUdp)), (vec![Tcp], vec![Udp], vec![Tcp, Udp]));
        assert!(Tcp.has(Tcp) && !Tcp.has(Udp) && Udp.has(Udp) && !Udp.has(Tcp));
        assert!(TcpUdp.has(Tcp) && TcpUdp.has(Udp) && TcpUdp.has(TcpUdp));
    }
}
