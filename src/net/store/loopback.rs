//! What nobody signs and nobody encrypts stays on this host, wherever names and redirects lead.

use ureq::Error;
use ureq::unversioned::transport::{ConnectionDetails, Connector};

/// Refuses connections to other hosts.
#[derive(Debug)]
pub(super) struct LoopbackOnly {
    pub on: bool,
}

impl Connector for LoopbackOnly {
    type Out = ();

    fn connect(&self, details: &ConnectionDetails, chained: Option<()>) -> Result<Option<()>, Error> {
        let elsewhere = details.addrs.iter().find(|addr| !addr.ip().is_loopback());
        match elsewhere.filter(|_| self.on) {
            Some(addr) => Err(Error::Other(
                format!("{} is another host: without --key only https may lead there", addr.ip()).into(),
            )),
            None => Ok(chained),
        }
    }
}
