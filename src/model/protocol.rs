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
    }
}
