//! Where a client wanted to go before a rule of the firewall led it here, and whether it may: `upstream =
//! "original-destination"`, and `port_ranges = "rule"`.

use std::net::SocketAddr;

use super::live::LiveRoute;
use super::own_dials::{DialEnds, WhileOpen};
use crate::model::{ListenAddr, Outcome, Peer};

/// Why a client may not go where it wanted to.
#[derive(Debug)]
pub struct Astray {
    /// How its connection or session ends.
    pub outcome: Outcome,
    /// Why, for a person.
    pub why: String,
}

impl LiveRoute {
    /// Where this client goes, which wanted to go to `wanted`. `None`: its route leads elsewhere. Never to Portway itself: whoever
    /// connects there without a rule, or by a rule that does not except Portway, would go round for ever.
    pub fn destination(
        &self,
        client: impl FnOnce() -> Peer,
        wanted: impl FnOnce() -> Option<SocketAddr>,
    ) -> Result<Option<SocketAddr>, Astray> {
        if !self.route.is_original() {
            return Ok(None);
        }
        let astray = |outcome, why| Err(Astray { outcome, why });
        match wanted() {
            None => astray(Outcome::ConnectFailed, "no rule has led the client here".to_owned()),
            Some(to) if self.hop().is_of_ours(to) => astray(
                Outcome::Loop,
                format!("{to}: is Portway itself: did a REDIRECT or TPROXY rule lead here?"),
            ),
            Some(to) if self.ends(client(), to).is_some_and(|ends| self.hop().dials().has(&ends)) => {
                let cure = "leave it out of the rule (meta skuid, or `source` with a mark)";
                astray(Outcome::Loop, format!("{to}: the client is Portway itself: {cure}"))
            }
            Some(to) if !self.access.leads_to(to.ip()) => {
                astray(Outcome::Denied, format!("{to}: is not in `original_destination`"))
            }
            Some(to) => Ok(Some(to)),
        }
    }

    /// How far the port that a client wanted is from the first of its range, where one socket has the range, that of `listener`; else 0.
    pub fn offset(
        &self,
        listener: &ListenAddr,
        wanted: impl FnOnce() -> Option<SocketAddr>,
    ) -> Result<u16, Astray> {
        if !self.route.is_led_by_a_rule() {
            return Ok(0);
        }
        let range = self.route.listen.iter().find(|spec| spec.count() > 1 && spec.at(0) == *listener);
        let Some(range) = range else { return Ok(0) };
        let port = wanted().map_or(0, |to| to.port());
        let first = range.ports().map_or(0, |ports| ports.first());
        port.checked_sub(first).filter(|offset| *offset < range.count()).ok_or_else(|| Astray {
            outcome: Outcome::NoRoute,
            why: format!("port {port} is none of {range}: which rule led here?"),
        })
    }

    /// Notes a connection to where its client wanted to go, which begins at the address `from`.
    pub fn dialled(&self, from: Option<Peer>, to: SocketAddr, open: WhileOpen) {
        if let Some(ends) = from.and_then(|from| self.ends(from, to)) {
            self.hop().dials().add(ends, open);
        }
    }

    fn ends(&self, from: Peer, to: SocketAddr) -> Option<DialEnds> {
        let Peer::Ip(from) = from else { return None };
        Some(DialEnds { protocol: self.route.policy.protocol, from, to })
    }
}
