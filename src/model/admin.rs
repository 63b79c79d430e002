//! The admin endpoint: where it listens, and who may do what there.

use std::fmt;

use super::{ListenAddr, SocketAccess};

/// The `[admin]` part of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// The address that the endpoint listens on.
    pub listen: ListenAddr,
    /// Who may connect to it, if it is a Unix socket.
    pub access: SocketAccess,
    /// Lets a client that presents it read and change. `None`: there is no such token.
    pub token: Option<Secret>,
    /// Lets a client that presents it read. `None`: there is no such token.
    pub read_token: Option<Secret>,
}

impl AdminSettings {
    /// Each key with its value. Of a secret, only whether it is set.
    pub fn entries(&self) -> [(&'static str, String); 5] {
        let set = |secret: &Option<Secret>| if secret.is_some() { "set" } else { "none" };
        let [mode, group] = self.access.entries();
        [
            ("listen", self.listen.to_string()),
            ("token", set(&self.token).to_owned()),
            ("read_token", set(&self.read_token).to_owned()),
            mode,
            group,
        ]
    }

    /// Whether only programs of this machine, or of this container, can reach it.
    pub fn is_local(&self) -> bool {
        match &self.listen {
            ListenAddr::Unix(_) => true,
            ListenAddr::Ip(addr) => addr.ip().to_canonical().is_loopback(),
            ListenAddr::Any(_) => false,
        }
    }
}

/// A text that no output shows, `Debug` included.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text, so that no output shows it.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// Whether `offered` is the secret. The time that this takes does not reveal how much of it was right.
    pub fn is(&self, offered: &str) -> bool {
        let (own, offered) = (self.0.as_bytes(), offered.as_bytes());
        let differ = own.iter().enumerate().fold(own.len() ^ offered.len(), |differ, (i, byte)| {
            // Repeat the first byte of a shorter offer, so that every offer takes as many steps.
            let other = offered.get(i).or(offered.first()).copied().unwrap_or_default();
            differ | usize::from(byte ^ other)
        });
        std::hint::black_box(differ) == 0
    }

    /// The text, for whoever must show it to another process.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_or_not_and_never_shown() {
        let secret = Secret::new("correct-horse-battery");
        assert!(secret.is("correct-horse-battery"));
        for offered in ["", "c", "correct-horse-batterx", "correct-horse-battery ", "xorrect-horse-battery"] {
            assert!(!secret.is(offered), "{offered}");
        }
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
