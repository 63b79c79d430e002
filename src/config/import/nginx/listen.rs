//! `listen`: an address, and what is said of its sockets.

use super::lex::Directive;
use crate::config::import::values;

/// One `listen`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listen {
    /// As Portway writes it.
    pub address: String,
    pub udp: bool,
    pub ssl: bool,
    pub proxy_protocol: bool,
    /// It says that its server is the default one there.
    pub default: bool,
    /// What its server is there.
    pub role: Role,
    /// Parts that are not carried over.
    pub rest: Vec<String>,
}

/// What a server is at one of its addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Role {
    /// It serves its names.
    #[default]
    Named,
    /// It serves its names, and those that nobody has; but some of its names would come to another server if the file did not
    /// say them.
    Mixed,
    /// It serves whatever no other server has.
    Default,
}

/// Reads one. `Err`: why there can be no such address.
pub(super) fn read(directive: &Directive) -> Result<Listen, String> {
    let mut listen = Listen::default();
    let mut dual = false;
    for word in directive.args.iter().skip(1) {
        match word.as_str() {
            "udp" => listen.udp = true,
            "ssl" => listen.ssl = true,
            "proxy_protocol" => listen.proxy_protocol = true,
            "ipv6only=off" => dual = true,
            "default_server" | "default" => listen.default = true,
            "reuseport" | "bind" | "deferred" | "ipv6only=on" | "so_keepalive=on" => {}
            word if ["backlog=", "rcvbuf=", "sndbuf=", "accept_filter="]
                .iter()
                .any(|key| word.starts_with(key)) => {}
            word => listen.rest.push(word.to_owned()),
        }
    }
    let text = directive.arg(0);
    listen.address = values::listen(&match text {
        text if text.starts_with("unix:") => text.to_owned(),
        // nginx means IPv4 where it says no address.
        text if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') => format!("0.0.0.0:{text}"),
        text => match text.strip_prefix("*:").or_else(|| text.strip_prefix("[::]:").filter(|_| dual)) {
            Some(port) if dual => port.to_owned(),
            Some(port) => format!("0.0.0.0:{port}"),
            None => text.to_owned(),
        },
    })?;
    Ok(listen)
}
