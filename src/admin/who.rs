//! Who asks: for what is done by hand, and shown until it is undone.

use crate::model::Peer;
use crate::net::Socket;

/// The peer of a connection of the endpoint.
#[derive(Clone, Debug)]
pub(super) enum Who {
    /// A user of this host, through the Unix socket.
    User(u32),
    /// Somebody at this address.
    Peer(Peer),
}

impl Who {
    /// The peer of an accepted connection.
    pub fn of(socket: &Socket, peer: Peer) -> Who {
        match socket.peer_user() {
            Some(user) => Who::User(user),
            None => Who::Peer(peer),
        }
    }

    /// As a person knows him: the name of the user, or the address.
    pub fn name(&self) -> String {
        match self {
            Who::Peer(peer) => peer.to_string(),
            Who::User(user) => user_name(*user).unwrap_or_else(|| format!("user {user}")),
        }
    }
}

/// The name of a user in `/etc/passwd` (passwd(5)). Reads a small file, and only for what is done by hand.
fn user_name(user: u32) -> Option<String> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    named(&text, user)
}

fn named(text: &str, user: u32) -> Option<String> {
    let lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut found = lines.filter(|fields| fields.get(2).and_then(|id| id.parse().ok()) == Some(user));
    found.next()?.first().map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_first_name_of_his_number() {
        let text = "root:x:0:0:root:/root:/bin/sh\n# comment\nann:x:1000:1000::/:\nbob:x:1000:1::/:\n";
        assert_eq!(named(text, 0).as_deref(), Some("root"));
        assert_eq!(named(text, 1000).as_deref(), Some("ann"));
        assert_eq!(named(text, 1), None);
    }
}
